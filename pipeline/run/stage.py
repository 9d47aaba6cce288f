"""What a stage is: what it is called, reads, is set by, and which function runs it.

A stage is a function ``run(ctx: StageContext) -> dict``. It writes its files into ``ctx.folder`` and returns a few
JSON-able facts for the manifest. To change what a stage makes, raise its ``version``: finished runs then know that
their files are of an older make. The table of stages is ``pipeline.stages.table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...configs.errors import BadInput
from ...configs.names import settings_of
from ...configs.schema import ExtraCondition, MakeConfig
from .progress import Progress

if TYPE_CHECKING:
    import torch

    from ...systems.models.uses import Uses


DRAWING_ROLES = ("base", "vae", "domain", "model", "loras", "embeddings", "image_prompt")
"""The settings that name the models of the guided denoiser, whatever stage asks it."""
ROLES = (
    *DRAWING_ROLES,
    "lift_model",
    "image.control",
    "image.conditions",
    "image.matting",
    "refine.conditions",
    "refine.encoder",
    "paint.control",
)
"""The settings that name a run's models."""


class Models(Protocol):
    """The models of a run, loaded when first used. ``pipeline.run.models`` holds the real ones."""

    def identities(self, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
        """{role: {"id", "revision" (hash of the weights), "licence", ...}} without loading anything.

        The domain may add "roughness", how glossy its things are.

        A role is the name of a model setting, see ``ROLES``; one that names no model is left out, and one that names
        several tells them as ``image.control canny``.
        """
        ...

    def uses(self) -> Uses:
        """How base and domain want to be used, without loading anything."""
        ...


@dataclass(frozen=True)
class StageContext:
    """All that a stage may look at. Every random draw comes from ``generator``.

    ``inputs`` holds the files that the stage ``needs``, {"image/image.png": path}, and no other.
    """

    prompt: str
    config: MakeConfig
    folder: Path
    inputs: Mapping[str, Path]
    seed: int
    stage: str
    progress: Progress
    models: Any

    def generator(self, step: int | str = 0) -> torch.Generator:
        """A CPU generator that depends on (seed, stage, step) alone, so that a resumed stage draws the same numbers."""
        from ...guidance.noise import named_generator

        return named_generator(self.seed, self.stage, step)


StageFunction = Callable[[StageContext], Mapping[str, Any]]


@dataclass(frozen=True)
class Stage:
    """One line of the table.

    Attributes:
        name: as in ``--from`` and ``--until``, and the name of its settings in ``MakeConfig``.
        folder: sub-folder of the run.
        function: runs it, importing what it needs when it is called.
        needs: files of earlier stages that it reads, as ``stage/file``; with a * in its name, a file that may be absent
            or there several times.
        gives: files that it leaves in its folder whatever its settings; a stage without them has failed.
        makes: names, or patterns of them, of all that it may leave there or keep while it works. Whatever else lies in
            the folder before it begins is somebody's own.
        roles: models that it uses.
        reads: settings of other stages that it looks at, as dotted names.
        card: entries of the models' cards that it looks at, beside identity and licence.
        version: raised when the same settings would make something else.
        revised: (("refine.field=hashgrid", 2),): versions of what one value of a setting makes, raised when only that
            changes; runs without it stay finished.
        work: settings, as dotted names, to whose product its time is proportional.
        choice: a setting of its own, null by default, that only chooses among what the stage has made first: ``drawn``,
            names of those files, which a run that left it open holds too (``batch.reuse``).
    """

    name: str
    folder: str
    function: StageFunction
    needs: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    makes: tuple[str, ...] = ("*",)
    roles: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    card: tuple[str, ...] = ()
    version: int = 1
    revised: tuple[tuple[str, int], ...] = ()
    work: tuple[str, ...] = ()
    choice: str | None = None
    drawn: tuple[str, ...] = ()

    @property
    def follows(self) -> tuple[str, ...]:
        """Names of the stages whose files it reads."""
        return tuple(dict.fromkeys(name.partition("/")[0] for name in self.needs))

    def settings(self, config: MakeConfig) -> dict[str, Any]:
        """The settings that change what the stage makes: its own, less book-keeping, and those it ``reads``."""
        chosen = {}
        own = getattr(config, self.name, None)  # another package's stage has no settings of its own
        if own is not None:
            chosen = {
                item.name: _plain(getattr(own, item.name))
                for item in fields(own)
                if _counts(item, getattr(own, item.name))
            }
        plain, known = MakeConfig(), settings_of(MakeConfig)
        for name in self.reads:
            value = attrgetter(name)(config)
            later = name in known and known[name].metadata.get("added_later", False)
            if not (later and value == attrgetter(name)(plain)):
                chosen[name] = _plain(value)
        return chosen

    def revisions(self, config: MakeConfig) -> dict[str, int]:
        """Those of ``revised`` whose value the settings have."""
        found = {}
        for said, version in self.revised:
            name, _, value = said.partition("=")
            if attrgetter(name)(config) == value:
                found[said] = version
        return found

    def identities(self, known: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Out of all that is known of the models, by role, what changes what this stage makes."""
        counts = ("id", "revision", "licence", *self.card)
        return {
            role: {key: told[key] for key in counts if key in told}
            for role, told in known.items()
            if role.partition(" ")[0] in self.roles
        }


def _counts(item: Field[Any], value: Any) -> bool:
    """Whether a setting changes what is made; the content of files counts elsewhere, see ``keys.named_files``."""
    default = item.default if item.default_factory is MISSING else item.default_factory()
    told = item.metadata
    book_keeping = not told.get("affects_result", True) or told.get("files", False)
    return not book_keeping and not (told.get("added_later", False) and value == default)


def _plain(value: Any) -> Any:
    """A setting's value as JSON has it: conditions are objects of their own."""
    if isinstance(value, dict):
        return {
            name: _condition(one) if isinstance(one, ExtraCondition) else one for name, one in value.items()
        }
    return value


def _condition(one: ExtraCondition) -> dict[str, Any]:
    later = {item.name for item in fields(one) if item.metadata["added_later"]}
    plain = ExtraCondition()
    return {
        name: value
        for name, value in asdict(one).items()
        if name not in later or value != getattr(plain, name)
    }


def in_order(stages: Sequence[Stage], added: Sequence[Stage]) -> tuple[Stage, ...]:
    """Our stages and others among them: each right after the last of those whose files it needs.

    Raises:
        BadInput: a stage that needs nothing of ours, or a file that no stage is sure to give.
    """
    ordered = list(stages)
    for stage in added:
        check_needs(stage, ordered)
        ordered.insert(1 + max(i for i, other in enumerate(ordered) if other.name in stage.follows), stage)
    return tuple(ordered)


def check_needs(stage: Stage, earlier: Sequence[Stage]) -> None:
    """BadInput if a stage needs no file, or one that no earlier stage is sure to give."""
    given = [f"{other.name}/{name}" for other in earlier for name in other.gives]
    names = {other.name for other in earlier}
    absent = [
        need
        for need in stage.needs
        if need not in given and not ("*" in need and need.split("/")[0] in names)
    ]
    if absent or not stage.needs:
        raise BadInput(
            f"the stage {stage.name!r} should need one or more of {', '.join(given)}, "
            f"not {', '.join(absent) or 'none'}; mend its package or uninstall it"
        )


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
