"""``slipcast make --dry-run``: what would run and why, with which models, for how long; nothing is made or loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..configs.errors import BadInput, SlipcastError
from ..configs.names import shown
from ..configs.schema import MakeConfig
from .make import as_began, filled_in
from .request import checked_request
from .run.estimate import Estimate, earlier_runs, estimate
from .run.execution import still_forced
from .run.folder import check_same_run
from .run.inventory import Needed, inventory
from .run.keys import Keys, stage_keys
from .run.manifest import MANIFEST, Manifest, read_manifest
from .run.measure import machine
from .run.models import ModelStore, open_models
from .run.record import RECORD, StageRecord, changed_outputs, read_record
from .run.stage import Stage


@dataclass(frozen=True)
class StagePlan:
    """A stage that is kept or would run, and why."""

    name: str
    folder: str
    runs: bool
    why: str
    models: tuple[str, ...]
    estimate: Estimate | None


@dataclass(frozen=True)
class DryRun:
    """What a ``make`` would do. ``notes`` are sentences that it would say first."""

    run: Path
    device: str
    dtype: str
    stages: list[StagePlan]
    models: list[Needed]
    notes: list[str]

    @property
    def seconds(self) -> float | None:
        """Of all that would run; None if a part of it is unknown."""
        told = [one.estimate.seconds for one in self.stages if one.estimate is not None]
        return None if None in told else round(sum(one for one in told if one is not None), 1)

    @property
    def memory_mb(self) -> float | None:
        """The largest of what would run; None if a part of it is unknown."""
        told = [one.estimate.memory_mb for one in self.stages if one.estimate is not None]
        return None if None in told else max((one for one in told if one is not None), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        told = asdict(self) | {"run": str(self.run), "seconds": self.seconds, "memory_mb": self.memory_mb}
        for one in told["models"]:
            one["revision"] = (one.pop("identity") or {}).get("revision")
        return told

    def as_text(self) -> str:
        """For people."""
        lines = [f"run     {self.run} (on {self.device}, {self.dtype}); nothing is made now", ""]
        for one in self.stages:
            does = "runs" if one.runs else "kept"
            cost = f"  {_cost(one.estimate)}" if one.estimate else ""
            lines.append(f"{does:7} {one.name:8} {one.why}{cost}")
            if one.estimate and one.estimate.basis:
                lines.append(f"{'':16} by {one.estimate.basis}")
        total = Estimate(self.seconds, self.memory_mb, "")
        lines += ["", f"in all  {_cost(total)}", ""]
        for one in self.models:
            about = "about " if one.problem is not None else ""
            size = "size unknown" if one.size is None else f"{about}{one.size / 1e6:,.1f} MB"
            lines.append(f"model   {one.role:10} {one.name}, {size}, {one.licence}: {_at_hand(one)}")
        return "\n".join([*lines, *(f"note    {note}" for note in self.notes)])


def _at_hand(model: Needed) -> str:
    if model.problem is None:
        return "at hand"
    return f"not at hand; `{model.fetch}`" if model.fetch else model.problem


def _cost(one: Estimate) -> str:
    time = "time unknown" if one.seconds is None else f"about {_duration(one.seconds)}"
    memory = "memory unknown" if one.memory_mb is None else f"{one.memory_mb / 1024:.1f} GiB"
    return f"{time}, {memory}"


def _duration(seconds: float) -> str:
    """In the unit that a person would say it in."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:g} s"


def dry_run(
    prompt: str,
    config: MakeConfig,
    *,
    out: Path = Path("runs"),
    seed: int = 0,
    resume: Path | None = None,
    from_stage: str | None = None,
    until_stage: str | None = None,
    stages: Sequence[Stage] | None = None,
    open_models: Callable[[MakeConfig], ModelStore] = open_models,
    elsewhere: Callable[[Stage, str], tuple[Path, StageRecord] | None] = lambda stage, key: None,
) -> DryRun:
    """What ``make`` with the same arguments would do. No file is written, no model need be at hand.

    Args:
        elsewhere: (folder, record) of a stage of this key that another run has finished, and that would be copied.
    Raises:
        BadInput: what ``make`` would refuse before it does anything, other than models that are not here.
    """
    request = checked_request(
        prompt,
        config,
        out=out,
        seed=seed,
        resume=resume,
        from_stage=from_stage,
        until_stage=until_stage,
        stages=stages,
    )
    prompt, config, run = request.prompt, request.config, request.run
    manifest = read_manifest(run) if (run / MANIFEST).is_file() else None
    if manifest is not None:
        check_same_run(run, manifest, prompt, seed)
    store, notes = open_models(config), list[str]()
    needed = inventory(store, request.roles)
    known = {one.role: one.identity for one in needed if one.identity is not None}
    missing = {one.role.partition(" ")[0] for one in needed if one.identity is None}
    if "domain" not in missing:
        config = filled_in(config, store, notes.append)
    config = as_began(config, manifest)
    files = request.named_files()
    runs, threads = earlier_runs(run.parent, machine()), _threads()
    plans: list[StagePlan] = []
    records: dict[str, StageRecord] = {}
    for index, stage in enumerate(request.until_last):
        case = _look(run, stage, manifest)
        why = None if index >= request.first else "taken as it lies (--from)"
        if why and case.record is None:
            raise BadInput(f"--from needs stage {stage.name} finished in {run}; run without --from first")
        if why is None:
            identities = stage.identities(known)
            case.waits = [one.name for one in plans if one.runs and one.name in stage.follows]
            case.absent = sorted(missing & set(stage.roles))
            case.forced = still_forced(manifest, from_stage, stage)
            if not case.waits and not case.absent:
                case.keys = stage_keys(stage, prompt, seed, config, records, identities, files[stage.name])
                case.changes = _changes(stage, manifest, config, case.record, identities)
        reason = None if why else case.reason()
        found = elsewhere(stage, case.keys[0]) if reason and case.keys and from_stage is None else None
        if found is not None:
            reason, why, case.record = None, f"finished already in {found[0].parent}, copied", found[1]
        if case.record is not None:
            records[stage.name] = case.record
        cost = estimate(stage, config, threads, runs) if reason else None
        used = tuple(one.role for one in needed if one.role.partition(" ")[0] in stage.roles)
        said = why or reason or "finished already"
        plans.append(StagePlan(stage.name, stage.folder, reason is not None, said, used, cost))
    return DryRun(run, config.device, config.dtype, plans, needed, notes)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


@dataclass
class _Case:
    """What decides whether a stage would run.

    Attributes:
        record: of what is finished; ``damage`` says what is wrong with it.
        stopped: status of an attempt that was left half done.
        waits: stages that run before it and whose files it reads.
        absent: roles of models that are not at hand, without which there are no keys.
        changes: what is other than when it was made.
    """

    record: StageRecord | None
    damage: str | None
    stopped: str | None
    waits: Sequence[str] = ()
    absent: Sequence[str] = ()
    keys: Keys | None = None
    forced: bool = False
    changes: str = ""

    def reason(self) -> str | None:
        """Why the stage would run; None if it is kept."""
        if self.forced:
            return "asked for anew (--from)"
        if self.damage is not None:
            return self.damage
        if self.record is None:
            return f"{self.stopped}; goes on if nothing changed" if self.stopped else "not made yet"
        if self.waits:
            return f"follows {' and '.join(self.waits)}; kept if that comes out as it was"
        if self.keys is None:
            return f"whether it is finished cannot be said without {' and '.join(self.absent)}"
        if self.record.key not in self.keys:
            return self.changes or "was made of something else"
        return "some formats are missing" if self.record.failed else None


def _look(run: Path, stage: Stage, manifest: Manifest | None) -> _Case:
    """What lies in a run's folder, also where a process died between two steps of finishing the stage."""
    line = None if manifest is None else manifest.stages.get(stage.name)
    partial = run / f"{stage.folder}.partial"
    for folder in (partial, run / stage.folder, run / f"{stage.folder}.old"):
        if (folder / RECORD).is_file():
            try:
                record = read_record(folder)
                changed = changed_outputs(folder, record)
            except SlipcastError as error:
                return _Case(None, str(error), None)
            damage = f"files of it are gone or changed: {', '.join(changed)}" if changed else None
            return _Case(record, damage, None)
    return _Case(None, None, line.status if line is not None and partial.is_dir() else None)


def _changes(
    stage: Stage,
    manifest: Manifest | None,
    config: MakeConfig,
    record: StageRecord | None,
    identities: Mapping[str, Mapping[str, Any]],
) -> str:
    """What is other than when the stage was made, as far as the manifest and the record tell."""
    models = {} if record is None else record.models
    said = [f"another {role}" for role, told in identities.items() if models and models.get(role) != told]
    before = (None if manifest is None else manifest.settled) or {}
    for name in stage.settings(config):
        name = name if name in stage.reads else f"{stage.name}.{name}"
        was: Any = before
        for part in name.split("."):
            was = was.get(part, _UNTOLD) if isinstance(was, dict) else _UNTOLD
        now = attrgetter(name)(config)
        if was is not _UNTOLD and was != now:
            said.append(f"{name} is {shown(now)}, was {shown(was)}")
    return ", ".join(said)


_UNTOLD = object()
