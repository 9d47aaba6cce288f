"""What a stage is: what it is called, reads, is set by, and which function runs it.

A stage is a function ``run(ctx: StageContext) -> dict``. It writes its files into ``ctx.folder`` and returns a few
JSON-able facts for the manifest. To change what a stage makes, raise its ``version``: finished runs then know that
their files are of an older make. The table of stages is ``pipeline.stages.table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...configs.errors import BadInput
from ...configs.schema import MakeConfig
from .progress import Progress

if TYPE_CHECKING:
    import torch

    from ...systems.models.known import Uses


class Models(Protocol):
    """The models of a run, loaded when first used. ``pipeline.run.models`` holds the real ones."""

    def identities(self, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
        """{role: {"id", "revision" (hash of the weights), "licence", ...}} without loading anything.

        The domain may add "roughness", how glossy its things are.

        A role is the name of a model setting: ``base``, ``vae``, ``domain``, ``model``, ``lift_model``; one that names
        no model is left out.
        """
        ...

    def uses(self) -> Uses:
        """How base and domain want to be used, without loading anything."""
        ...


@dataclass(frozen=True)
class StageContext:
    """All that a stage may look at. Every random draw comes from ``generator``."""

    prompt: str
    config: MakeConfig
    folder: Path
    inputs: dict[str, Path]
    seed: int
    stage: str
    progress: Progress
    models: Any

    def generator(self, step: int | str = 0) -> torch.Generator:
        """A CPU generator that depends on (seed, stage, step) alone, so that a resumed stage draws the same numbers."""
        from ...guidance.noise import named_generator

        return named_generator(self.seed, self.stage, step)


StageFunction = Callable[[StageContext], dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """One line of the table.

    Attributes:
        name: as in ``--from`` and ``--until``, and the name of its settings in ``MakeConfig``.
        folder: sub-folder of the run.
        function: runs it, importing what it needs when it is called.
        needs: earlier stages whose files it reads.
        gives: files that it leaves in its folder whatever its settings; a stage without them has failed.
        roles: models that it uses.
        reads: settings of other stages that it looks at, as dotted names.
        card: entries of the models' cards that it looks at, beside identity and licence.
        version: raised when the same settings would make something else.
    """

    name: str
    folder: str
    function: StageFunction
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    card: tuple[str, ...] = ()
    version: int = 1

    def settings(self, config: MakeConfig) -> dict[str, Any]:
        """The settings that change what the stage makes: its own, less book-keeping, and those it ``reads``."""
        chosen = {}
        own = getattr(config, self.name, None)  # another package's stage has no settings of its own
        if own is not None:
            book_keeping = {
                item.name for item in fields(own) if not item.metadata.get("affects_result", True)
            }
            chosen = {name: value for name, value in asdict(own).items() if name not in book_keeping}
        return chosen | {name: attrgetter(name)(config) for name in self.reads}

    def identities(self, known: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Out of all that is known of the models, by role, what changes what this stage makes."""
        counts = ("id", "revision", "licence", *self.card)
        return {
            role: {key: known[role][key] for key in counts if key in known[role]}
            for role in self.roles
            if role in known
        }


def in_order(stages: Sequence[Stage], added: Sequence[Stage]) -> tuple[Stage, ...]:
    """Our stages and others among them: each right after the last of those that it needs.

    Raises:
        BadInput: a stage that needs none of ours, or one that there is not.
    """
    ordered = list(stages)
    for stage in added:
        names = [other.name for other in ordered]
        if not stage.needs or not set(stage.needs) <= set(names):
            raise BadInput(
                f"the stage {stage.name!r} should need one or more of {', '.join(names)}, "
                f"not {', '.join(stage.needs) or 'none'}; mend its package or uninstall it"
            )
        ordered.insert(1 + max(names.index(name) for name in stage.needs), stage)
    return tuple(ordered)


def selected(stages: Sequence[Stage], from_stage: str | None, until_stage: str | None) -> tuple[int, int]:
    """(index of the first forced stage or 0, index of the last stage to run).

    Raises:
        BadInput: a name that is no stage, or ``--from`` after ``--until``.
    """
    names = [stage.name for stage in stages]
    for option, name in (("--from", from_stage), ("--until", until_stage)):
        if name is not None and name not in names:
            raise BadInput(f"{option} expects one of {', '.join(names)}, not {name!r}")
    first = names.index(from_stage) if from_stage else 0
    last = names.index(until_stage) if until_stage else len(names) - 1
    if first > last:
        raise BadInput(f"--from {from_stage} comes after --until {until_stage}, so there is nothing to run")
    return first, last
