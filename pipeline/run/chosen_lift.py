"""The lift that a configuration names: what it reads, and what its results depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...configs.schema import MakeConfig


@dataclass(frozen=True)
class ChosenLift:
    """``lift_model`` and ``lift.source`` of a configuration."""

    config: MakeConfig
    allow_pickle: bool = False

    @property
    def name(self) -> str:
        """In ``systems.lift.table``, or a plug-in's: a model's folder is one of the starter's kind."""
        from ...configs.plugins import entries
        from ...systems.lift.table import LIFTS

        wanted = self.config.lift_model
        return wanted if wanted in LIFTS or wanted in entries("lifts", LIFTS) else "starter"

    @property
    def licence(self) -> str:
        """Of its weights; unknown of a plug-in's."""
        from ...systems.lift.table import LIFTS

        return LIFTS[self.name].licence if self.name in LIFTS else "unknown"

    def identity(self, source: Path) -> str:
        """A hash of what it reads there, and whose it is if it is a plug-in's."""
        from ...configs.plugins import version_of
        from ...systems.lift.table import lift_named

        maker = version_of("lifts", self.name)
        return " ".join(part for part in (maker, lift_named(self.name).identity(source)) if part)

    def source(self) -> Path:
        """What a lift other than the starter's reads; ``Path()`` where it reads nothing.

        Raises:
            BadInput: it is not given, or not there.
        """
        from ...systems.lift.table import lift_named
        from ...systems.models.aliases import resolve

        told, lift = self.config.lift.source, lift_named(self.name)
        if not told and lift.alias is not None:
            return resolve(lift.alias, allow_pickle=self.allow_pickle)
        if not told and not lift.needs_source:
            return Path()
        if not told:
            raise BadInput(f"lift_model={self.name} needs lift.source, {lift.source}; give its path")
        path = given_path(told, "lift.source")
        if not path.exists():
            raise BadInput(f"lift.source={told} is not there; give {lift.source}")
        return path
