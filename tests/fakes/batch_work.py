"""A worker's work with fake stages, importable by name in another process; nothing of it imports torch.

What a job does is said by its prompt: "sleep 0.2" (a stage), "fail", "refuse", "die", "starve" (MemoryError, but not
with little memory), "big" (takes 300 MB), "flaky N" (fails N times). The counts of attempts lie beside the runs.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from fakes.pipeline_stages import FakeModels

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline import make as make_module
from slipcast.pipeline.batch import work
from slipcast.pipeline.batch.work import ModelShelf, Task
from slipcast.pipeline.run.progress import Reporter
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages import table
from slipcast.pipeline.stages.table import STAGES

REAL = work.make_job


class Shelf(ModelShelf):
    """Fake models, "loaded" once."""

    def open(self, config: Any) -> Any:
        return FakeModels()


def make_job(task: Task, console: Reporter, shelf: ModelShelf) -> dict[str, Any]:
    """``work.make_job`` with stages that write a line each."""
    without_torch()
    if "refuse" in task.prompt:
        raise BadInput("this cannot be made of anything")
    told = REAL(task, console, Shelf())
    return told | {"score": float(task.seed % 3)}


def without_torch() -> None:
    """Let ``make`` run stages that cost nothing, without the import of torch."""
    make_module.filled_in = lambda config, store, notice: config
    make_module.as_began = lambda config, manifest: replace(config, dtype="float32", device="cpu")
    make_module.reported = lambda path, notice: nullcontext()
    make_module._note_threads = lambda run, console: None
    make_module._tell_missing = lambda formats, console: None
    table.all_stages = lambda: tuple(replace(stage, function=_stage) for stage in STAGES)


def _stage(ctx: StageContext) -> dict[str, Any]:
    steps, asleep = 10, _number("sleep", ctx.prompt)
    advance = ctx.progress.task("steps", steps)
    for _ in range(steps):
        time.sleep(asleep / steps)
        advance()
    _misbehave(ctx)
    folders = {path if path.is_dir() else path.parent for path in ctx.inputs.values()}
    read = sorted((folder / "made.txt").read_text() for folder in folders)
    text = f"{ctx.stage} {ctx.prompt} {ctx.seed} {getattr(ctx.config, ctx.stage)} {read}"
    gives = next(stage.gives for stage in STAGES if stage.name == ctx.stage)
    for name in ("made.txt", *gives):
        (ctx.folder / name).write_text(text)
    with open(ctx.folder.parent.parent / "stages.log", "a", encoding="utf-8") as log:
        log.write(f"{ctx.folder.parent.name} {ctx.stage} {os.getpid()}\n")
    if ctx.stage == "export":
        (ctx.folder / "asset.glb").write_bytes(text.encode())
        return {"glb": "asset.glb"}
    return {}


def _misbehave(ctx: StageContext) -> None:
    if ctx.stage != "lift":
        return
    counter = ctx.folder.parent.parent / f"{ctx.folder.parent.name}.count"
    tried = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(tried + 1))
    if "fail" in ctx.prompt or tried < _number("flaky", ctx.prompt):
        raise SlipcastError("it would not")
    if "die" in ctx.prompt:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "starve" in ctx.prompt and tried == 0:
        raise MemoryError
    if "big" in ctx.prompt:
        taken = bytearray(300 * 2**20)
        taken[:: 2**12] = b"x" * len(taken[:: 2**12])
        time.sleep(5.0)


def _number(word: str, prompt: str) -> float:
    found = re.search(rf"{word} ([\d.]+)", prompt)
    return float(found[1]) if found else 0.0
