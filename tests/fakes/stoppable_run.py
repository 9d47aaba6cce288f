"""``slipcast`` with stages that work in small steps, as a program: ``python stoppable_run.py MODE ARGUMENTS``.

Modes: ``plain`` steps; ``swallow`` forgets a KeyboardInterrupt that falls into a step, ``break`` makes a NameError of
it, as imports do; ``block`` works without steps for a while; ``pool`` works in processes; ``sleepy`` takes a minute a
step; ``importing`` imports on its way what ``make`` does, torch and numba among it. The other modes leave that out: a
signal then falls into a step, and a process starts quickly.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

STEPS = 40


def main(mode: str, arguments: list[str]) -> None:
    """Run the command line with fake stages, after saying ``ready`` on stderr."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fakes.pipeline_stages import FakeModels

    from slipcast.pipeline import make as make_module
    from slipcast.pipeline.cli.app import main as slipcast
    from slipcast.pipeline.run.stage import StageContext
    from slipcast.pipeline.stages.table import STAGES

    def run(ctx: StageContext) -> dict[str, Any]:
        advance = ctx.progress.task("steps", STEPS)
        checkpoint = ctx.folder / "steps.txt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for number in range(done, STEPS):
            _work(mode, number)
            advance()
            checkpoint.write_text(str(number + 1))
        (ctx.folder / "asset.glb").write_text(ctx.stage)
        return {"glb": "asset.glb"}

    real = make_module.make
    make_module.as_began = lambda config, manifest: replace(config, dtype="float32", device="cpu")
    if mode != "importing":
        make_module.filled_in = lambda config, models, notice: config
        make_module._tell_missing = lambda formats, console: None
        make_module._note_threads = lambda run, console: None
    opened: Any = {"open_models": lambda config: FakeModels()}
    make_module.make = lambda prompt, config, **options: real(
        prompt,
        config,
        stages=tuple(
            replace(stage, function=run, needs=tuple(f"{name}/asset.glb" for name in stage.follows), gives=())
            for stage in STAGES
        ),
        **options | opened,
    )
    sys.argv = ["slipcast", *arguments]
    print("ready", file=sys.stderr, flush=True)
    slipcast()


def _work(mode: str, number: int) -> None:
    if mode == "block" and number % 20 == 0:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
    elif mode == "pool" and number == 20:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(time.sleep, 0.3).result()
    elif mode == "sleepy":
        time.sleep(60)
    try:
        time.sleep(0.005)
    except KeyboardInterrupt:
        if mode == "swallow":
            return
        if mode == "break":
            raise NameError("name '_ndimage_api' is not defined") from None
        raise


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
