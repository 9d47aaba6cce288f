"""``slipcast`` with stages that work in small steps, as a program: ``python stoppable_run.py MODE ARGS``.

Modes: ``plain`` steps; ``swallow`` forgets a KeyboardInterrupt that falls into a step, ``break`` makes a NameError of it,
as imports do; ``block`` works without steps for a while; ``pool`` works in processes; ``sleepy`` takes a minute a step.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path


def main(mode: str, arguments: list[str]) -> None:
    """Run the command line with fake stages; the import of the package is part of what signals may meet."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fakes.pipeline_stages import Workshop

    from slipcast.pipeline import make as make_module
    from slipcast.pipeline.cli.app import main as slipcast
    from slipcast.pipeline.run.stage import StageContext

    workshop = Workshop(Path("runs"))

    def step(ctx: StageContext) -> None:
        advance = ctx.progress.task("steps", 40)
        checkpoint = ctx.folder / "checkpoint.txt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for number in range(done, 40):
            _work(mode, number)
            advance()
            checkpoint.write_text(str(number + 1))
        checkpoint.unlink()

    workshop.hooks = dict.fromkeys(("image", "lift", "refine", "mesh", "export"), step)
    make_module.make = lambda prompt, config, **options: workshop.make(config, prompt, **options)  # type: ignore[assignment]
    sys.argv = ["slipcast", *arguments]
    print("ready", file=sys.stderr, flush=True)
    slipcast()


def _work(mode: str, number: int) -> None:
    if mode == "block" and number % 20 == 0:
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            pass
    elif mode == "pool" and number % 20 == 0:
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
