"""Domains for programs and notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...configs.schema import MakeConfig
from ..report.notebook import domain_html
from ..run.models import open_models


@dataclass(frozen=True)
class Domain:
    """A visual domain that was learned from pictures: a folder to share. Opening one loads no network.

    ``Domain.open("starter")`` is the one that ships; ``make(..., domain=Domain.open("my/vases"))`` uses yours.
    """

    name: str
    folder: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, where: str | Path = "starter") -> Self:
        """The domain of that name or folder.

        Raises:
            BadInput: there is none, or its domain.json is damaged.
        """
        models = open_models(MakeConfig(domain=str(where)))
        card = models.card()
        return cls(card["name"], models.folder("domain"), card)

    @property
    def licence(self) -> str:
        """As its card says."""
        return str(self.card.get("licence", "unknown"))

    def _repr_html_(self) -> str:
        told = {"base": self.card.get("base", "unknown"), "licence": self.licence, "folder": self.folder}
        return domain_html(self.name, {name: str(value) for name, value in told.items()})


def domain_setting(domain: Domain | str) -> str:
    """As ``domain`` is written in settings."""
    return str(domain.folder) if isinstance(domain, Domain) else domain
