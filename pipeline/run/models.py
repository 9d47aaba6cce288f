"""The models of a run, by role: looked up by alias or folder, named for the manifest, loaded when first used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...configs.schema import MakeConfig

if TYPE_CHECKING:
    from ...systems.domain.model import Domain
    from ...systems.models.base import Base

STARTER = Path(__file__).resolve().parents[2] / "starter" / "weights"
STARTER_ROUGHNESS = 0.2
_FOLDERS = {"base": "prior", "domain": "domain", "lift_model": "lift"}
_MARKERS = {"base": "model_index.json", "domain": "domain.json", "lift_model": "config.json"}


@dataclass(frozen=True)
class ModelStore:
    """``base`` and ``domain`` of one configuration, and which ``lift`` it names."""

    config: MakeConfig
    allow_pickle: bool = False

    @cached_property
    def device(self) -> str:
        """Where the networks compute: the config's device, ``auto`` made out. BadInput for one not in this machine."""
        from ...systems.models.precision import resolve_device

        return resolve_device(self.config.device)

    def folder(self, role: str) -> Path:
        """Where a role's model lies: ``starter``, a folder, or for the base an alias. BadInput when it is not there."""
        from ...systems.models.aliases import resolve

        wanted = getattr(self.config, role)
        if role == "lift_model" and self.lift != "starter":
            return self._lift_source()
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
                "revision": self._lift_identity(folder) if role == "lift_model" else model_identity(folder),
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
            raise BadInput(f"roughness in {card} expects a number from 0 to 1, not {roughness!r}")
        return {"roughness": float(roughness)}

    @cached_property
    def base(self) -> Base:
        """The frozen prior."""
        from ...systems.models.base import load_base

        return load_base(
            self.folder("base"), name=self.config.base, device=self.device, dtype=self.config.dtype
        )

    @cached_property
    def domain(self) -> Domain:
        """The null-text domain of that base."""
        from ...systems.domain.model import load_domain

        return load_domain(self.folder("domain"), self.base, device=self.device)

    @property
    def lift(self) -> str:
        """Name of the lift (``systems.lift.table``): a model's folder is one of the starter's kind."""
        from ...configs.plugins import entries
        from ...systems.lift.table import LIFTS

        wanted = self.config.lift_model
        return wanted if wanted in LIFTS or wanted in entries("lifts", LIFTS) else "starter"

    def _lift_identity(self, source: Path) -> str:
        """A hash of what the lift reads, and whose it is if it is a plug-in's."""
        from ...configs.plugins import version_of
        from ...systems.lift.table import lift_named

        maker = version_of("lifts", self.lift)
        return " ".join(part for part in (maker, lift_named(self.lift).identity(source)) if part)

    def _lift_source(self) -> Path:
        """What a lift other than the starter's reads."""
        from ...systems.lift.table import lift_named

        told = self.config.lift.source
        if not told:
            raise BadInput(
                f"lift_model={self.lift} needs lift.source, {lift_named(self.lift).source}; give its path"
            )
        path = given_path(told, "lift.source")
        if not path.exists():
            raise BadInput(f"lift.source={told} is not there; give {lift_named(self.lift).source}")
        return path


def open_models(config: MakeConfig) -> ModelStore:
    """The models of a config; nothing is loaded yet."""
    return ModelStore(config)
