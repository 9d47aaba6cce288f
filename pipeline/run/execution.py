"""Running one stage: its working folder, its clock, and what becomes of its errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors, fingerprint
from ...configs.errors import SlipcastError
from ...configs.stopping import asked_to_stop, check_stop
from .folder import RunFolder
from .keys import Keys
from .manifest import ForcedNote, Manifest
from .measure import Measured
from .progress import Reporter
from .record import StageRecord
from .stage import Stage, StageContext


def run_stage(
    run: RunFolder,
    stage: Stage,
    keys: Keys,
    context: StageContext,
    identities: dict[str, dict[str, Any]],
    console: Reporter,
) -> StageRecord:
    """Run a stage in its partial folder and commit it.

    A stopped or failed stage keeps its partial folder, so that the same keys go on from what is in there.

    Raises:
        SlipcastError: the stage failed; the manifest says so too.
    """
    key = keys[0]
    _, resumed = run.begin(stage, keys)
    run.mark(stage, "running", key=key, resumed=resumed)
    try:
        check_stop()
        console.stage_started(stage.name)
        with Measured() as measured, explain_os_errors(run.partial(stage), f"stage {stage.name}"):
            facts = dict(stage.function(context))
        _check_given(stage, run.partial(stage))
        _check_facts(stage, facts)
    except KeyboardInterrupt:
        run.mark(stage, "interrupted", key=key)
        raise
    except Exception as error:
        if asked_to_stop():  # what fails after a signal fails because of it: a program that was ended, a pool
            run.mark(stage, "interrupted", key=key)
            check_stop()
        failure = error if isinstance(error, SlipcastError) else _explained(stage, error)
        _mark_failed(run, stage, key, failure)
        raise failure from error
    record = run.commit(
        stage,
        key=key,
        facts=facts,
        seconds=round(measured.seconds, 3),
        peak_memory_mb=round(measured.peak_memory_mb, 1),
        resumed=resumed,
        models=identities,
    )
    console.stage_ended(stage.name, f"{measured.seconds:.1f} s")
    return record


def _explained(stage: Stage, error: Exception) -> SlipcastError:
    if isinstance(error, MemoryError):
        return SlipcastError(
            f"stage {stage.name} ran out of memory; lower its resolution or size and run again"
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    return SlipcastError(f"stage {stage.name} failed ({type(error).__name__}: {reason}); --debug shows where")


def _mark_failed(run: RunFolder, stage: Stage, key: str, failure: SlipcastError) -> None:
    try:
        run.mark(stage, "failed", key=key, error=str(failure))
    except SlipcastError as error:
        # On a full disk the manifest cannot be written either; the stage's own failure is the one to tell.
        failure.add_note(f"(nor could this be noted in the manifest: {error})")


def _check_given(stage: Stage, folder: Path) -> None:
    missing = [name for name in stage.gives if not (folder / name).is_file()]
    if missing:
        raise SlipcastError(f"stage {stage.name} left no {' and no '.join(missing)}, which later stages read")


def _check_facts(stage: Stage, facts: Mapping[str, Any]) -> None:
    for name, value in facts.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SlipcastError(f"stage {stage.name} measured {name} = {value}, so its result is unusable")
    try:
        fingerprint(facts)
    except (TypeError, ValueError) as error:
        raise SlipcastError(
            f"stage {stage.name} returned facts that cannot be written as JSON ({error})"
        ) from error


class Forced:
    """Which stages ``--from`` still has to run anew; remembered in the manifest.

    Without the memory, a stopped ``--from lift`` would lift again when the same command goes on. What was half done
    before the command was first given is not resumed: ``stages``, the forced ones, begin anew.
    """

    def __init__(self, run: RunFolder, from_stage: str | None, stages: Sequence[Stage]) -> None:
        self._run, self._from = run, from_stage
        note = run.manifest.forced
        if from_stage is None:
            run.manifest.forced = None
        elif note is None or note["stage"] != from_stage:
            for stage in stages:
                run.discard_partial(stage)
            run.manifest.forced = ForcedNote(stage=from_stage, done=[])

    def wants(self, stage: Stage) -> bool:
        """Whether this stage must run even if it is finished."""
        return still_forced(self._run.manifest, self._from, stage)

    def done(self, stage: Stage) -> None:
        """Remember that the stage ran."""
        if self._run.manifest.forced is not None:
            self._run.manifest.forced["done"].append(stage.name)
            self._run.save_manifest()

    def clear(self) -> None:
        """The command is complete: the same one would force everything again."""
        if self._run.manifest.forced is not None:
            self._run.manifest.forced = None
            self._run.save_manifest()


def still_forced(manifest: Manifest | None, from_stage: str | None, stage: Stage) -> bool:
    """Whether ``--from`` has yet to run a stage anew, by what the manifest remembers of it."""
    if from_stage is None:
        return False
    note = None if manifest is None else manifest.forced
    return note is None or note["stage"] != from_stage or stage.name not in note["done"]
