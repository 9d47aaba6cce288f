"""The main path: a prompt goes through the six stages and comes out as a textured GLB.

``make`` is the whole story. For each stage: compute the key of what it would make; if the run folder already holds
exactly that, keep it; otherwise run the stage in a partial folder and give the folder its name when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..configs.schema import MakeConfig
from .report.writing import reported
from .request import checked_request
from .run.execution import Forced, run_stage
from .run.folder import RunFolder, open_run
from .run.keys import inputs, stage_keys
from .run.manifest import Manifest, versions
from .run.measure import machine
from .run.progress import Quiet, Reporter
from .run.record import StageRecord
from .run.stage import Models, Stage, StageContext


@dataclass(frozen=True)
class MakeResult:
    """What a run left behind. ``made`` names the stages that ran now; the others were kept."""

    run: Path
    folder: Path
    glb: Path | None
    made: tuple[str, ...]
    records: dict[str, StageRecord]

    @property
    def primary(self) -> Path:
        """The GLB, or the last stage's folder if the run stopped before there was one."""
        return self.glb or self.folder

    @property
    def failed(self) -> dict[str, str]:
        """{what a stage could not write although it finished: why}; the same command tries it again."""
        return {what: why for record in self.records.values() for what, why in record.failed.items()}


def make(
    prompt: str,
    config: MakeConfig,
    *,
    out: Path = Path("runs"),
    seed: int = 0,
    resume: Path | None = None,
    from_stage: str | None = None,
    until_stage: str | None = None,
    console: Reporter | None = None,
    stages: Sequence[Stage] | None = None,
    open_models: Callable[[MakeConfig], Models] | None = None,
) -> MakeResult:
    """Run what is not finished yet of prompt -> image -> lift -> refine -> mesh -> paint -> export.

    Args:
        prompt: what to make; may be empty where ``image.picture`` names pictures of it.
        resume: the folder of this prompt's and seed's run, whatever it is called; by default it is found in ``out``.
        from_stage: take the stages before this one as they lie in the run folder, even if edited or made with other
            settings, and run this one and the later ones anew.
        until_stage: stop after this stage.
        console: shows progress; nothing is shown without one.
        stages: in their order; by default ours and those of other packages (``stages.table.all_stages``).
        open_models: makes the models of a config; ``pipeline.run.models`` by default.

    Raises:
        BadInput: an unusable prompt, stage name or run folder.
        SlipcastError: a stage failed; what was finished before stays.
    """
    request = checked_request(
        prompt,
        config,
        out=Path(out),
        seed=seed,
        resume=resume,
        from_stage=from_stage,
        until_stage=until_stage,
        stages=stages,
    )
    prompt, asked, stages = request.prompt, request.config, request.until_last
    console = console or Quiet()
    open_models = open_models or _real_models
    # All at once and first, so that a missing model is told before any work is done.
    store = open_models(asked)
    config = filled_in(asked, store, console.notice) if "domain" in request.roles else asked
    known, files = open_models(config).identities(request.roles), request.named_files()
    made: list[str] = []
    with open_run(request.run, prompt, seed, console.notice) as run, reported(request.run, console.notice):
        config = as_began(config, run.manifest)
        models = open_models(config)
        # What was asked is what a resumed run begins with: its nulls must follow another base or domain.
        asked = replace(asked, device=config.device, dtype=config.dtype)
        run.manifest.config, run.manifest.settled = asdict(asked), asdict(config)
        run.manifest.versions, run.manifest.machine = versions(), machine()
        run.save_manifest()
        forced = Forced(run, from_stage, request.chosen)
        records: dict[str, StageRecord] = {}
        for index, stage in enumerate(stages):
            if index < request.first:
                records[stage.name] = run.as_it_is(stage)
                continue
            identities = stage.identities(known)
            keys = stage_keys(stage, prompt, seed, config, records, identities, files[stage.name])
            record = None if forced.wants(stage) else run.finished(stage, keys)
            if record is None or record.failed:
                if not made and any(later.name == "export" for later in stages[index:]):
                    _tell_missing(config.export.formats, console)
                read = inputs(stage, records, {other.name: run.folder(other) for other in stages})
                context = StageContext(
                    prompt, config, run.partial(stage), read, seed, stage.name, console, models
                )
                _note_threads(run, console)
                record = run_stage(run, stage, keys, context, identities, console)
                made.append(stage.name)
                _mark_outdated(run, request.stages[index + 1 :])
            else:
                console.stage_ended(stage.name, "kept, it is finished already")
            run.mark(stage, "finished", **asdict(record))
            forced.done(stage)
            records[stage.name] = record
        forced.clear()
        glbs = [run.folder(one) / name for one in request.chosen if (name := records[one.name].glb)]
        glb = glbs[-1] if glbs else None
        return MakeResult(run.path, run.folder(stages[-1]), glb, tuple(made), records)


def filled_in(config: MakeConfig, models: Models, notice: Callable[[str], None]) -> MakeConfig:
    """The settings with what base and domain say in the place of every null."""
    from ..systems.guided.settled import settled

    return settled(config, models.uses(), notice)


def as_began(config: MakeConfig, manifest: Manifest | None) -> MakeConfig:
    """With device and dtype for ``auto``: what the run began with, or else what this machine is best at."""
    from ..systems.models.precision import resolve_device, resolve_dtype

    began = (None if manifest is None else manifest.config) or {}
    # Runs made before there was a choice of device were made on the CPU.
    before = began.get("device", "cpu" if began else "auto")
    device = resolve_device(before if config.device == "auto" else config.device)
    dtype = began.get("dtype", "auto") if config.dtype == "auto" else config.dtype
    return replace(config, device=device, dtype=resolve_dtype(dtype, device))


def _note_threads(run: RunFolder, console: Reporter) -> None:
    """Write down how many threads compute; torch adds up in another order with another number of them."""
    import torch

    before, now = run.manifest.threads, torch.get_num_threads()
    if before not in (None, now):
        console.notice(
            f"this run was made with {before} threads so far and goes on with {now}: results may differ in the last "
            f"bits from those of one number throughout (OMP_NUM_THREADS={before} keeps it)"
        )
    run.manifest.threads = now


def _tell_missing(formats: Sequence[str], console: Reporter) -> None:
    """Before the first stage that runs: which formats its last one will not be able to write."""
    from .exporters.writing import missing_for

    for name, sentence in missing_for(formats).items():
        console.notice(f"{name} will not be written: {sentence}")


def _real_models(config: MakeConfig) -> Models:
    from .run.models import open_models

    return open_models(config)


def _mark_outdated(run: RunFolder, later: Sequence[Stage]) -> None:
    for stage in later:
        line = run.manifest.stages.get(stage.name)
        if line is not None and line.status == "finished":
            line.status = "outdated"
