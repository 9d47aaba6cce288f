"""The models of a run, by role: looked up by alias or folder, named for the manifest, loaded when first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.paths import given_path
from ...configs.schema import MakeConfig

if TYPE_CHECKING:
    from ...systems.domain.model import Domain
    from ...systems.lift.starter import LiftNetwork
    from ...systems.models.base import Base

STARTER = Path(__file__).resolve().parents[2] / "starter" / "weights"
STARTER_ROUGHNESS = 0.2
_FOLDERS = {"base": "prior", "domain": "domain", "lift_model": "lift"}
_MARKERS = {"base": "model_index.json", "domain": "domain.json", "lift_model": "config.json"}


@dataclass(frozen=True)
class ModelStore:
    """``base``, ``domain`` and ``lift`` of one configuration."""

    config: MakeConfig
    allow_pickle: bool = False

    def folder(self, role: str) -> Path:
        """Where a role's model lies: ``starter``, a folder, or for the base an alias. BadInput when it is not there."""
        from ...systems.models.aliases import resolve

        wanted = getattr(self.config, role)
        if wanted == "starter":
            path = STARTER / _FOLDERS[role]
        elif role == "base":
            return resolve(wanted, allow_pickle=self.allow_pickle)
        else:
            path = given_path(wanted, role)
        if not given_path(path / _MARKERS[role], role).is_file():
            where = (
                "the starter models are not installed"
                if wanted == "starter"
                else f"{wanted!r} is no model folder"
            )
            raise BadInput(f"{role} expects 'starter' or a folder with {_MARKERS[role]}; {where} ({path})")
        return path

    def identities(self, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
        """{role: {id, revision, licence}}; the revision is a hash of all files that are read: a changed one is noticed.

        A domain whose domain.json says how glossy its things are also has "roughness".
        """
        from ...systems.models.identity import model_identity

        told = {}
        for role in roles:
            folder = self.folder(role)
            licence = "Apache-2.0" if getattr(self.config, role) == "starter" else "unknown"
            content = self.card() if role == "domain" else {}
            told[role] = {
                "id": getattr(self.config, role),
                "revision": model_identity(folder),
                "licence": content.get("licence", licence),
            }
            if role == "domain":
                told[role] |= self.look()
        return told

    def card(self) -> dict[str, Any]:
        """What domain.json says. BadInput when it is damaged."""
        from ...systems.domain.model import read_card

        return read_card(self.folder("domain"))

    def look(self) -> dict[str, float]:
        """{"roughness": 0 to 1} of the domain's things; empty where its domain.json does not say.

        Raises:
            BadInput: no such domain, or its card says something else than a number from 0 to 1.
        """
        # The starter's things are porcelain, which is glossy.
        default = STARTER_ROUGHNESS if self.config.domain == "starter" else None
        roughness = self.card().get("roughness", default)
        if roughness is None:
            return {}
        if isinstance(roughness, bool) or not isinstance(roughness, int | float) or not 0 <= roughness <= 1:
            card = self.folder("domain") / "domain.json"
            raise BadInput(f"roughness in {card} expects a number from 0 to 1, not {shown(roughness)}")
        return {"roughness": float(roughness)}

    @cached_property
    def base(self) -> Base:
        """The frozen prior."""
        from ...systems.models.base import load_base

        return load_base(self.folder("base"), name=self.config.base, dtype=self.config.dtype)

    @cached_property
    def domain(self) -> Domain:
        """The null-text domain of that base."""
        from ...systems.domain.model import load_domain

        return load_domain(self.folder("domain"), self.base)

    @cached_property
    def lift(self) -> LiftNetwork:
        """The image-to-3D network."""
        from ...systems.lift.starter import load_lift

        return load_lift(self.folder("lift_model"))


def open_models(config: MakeConfig) -> ModelStore:
    """The models of a config; nothing is loaded yet."""
    return ModelStore(config)
