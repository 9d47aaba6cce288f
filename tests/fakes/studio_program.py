"""``slipcast studio`` whose workers have fake stages: ``serve RUNS PORT``; what works off its queue: ``work RUNS``."""

from __future__ import annotations

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Serve, or work off the queue."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    what, runs, *more = words
    if what == "serve":
        from slipcast.pipeline.cli.app import main as slipcast
        from slipcast.pipeline.studio import keeper

        keeper.PROGRAM = (sys.executable, __file__, "work")
        sys.argv = ["slipcast", "studio", "--no-open", "--runs", runs, "--port", *more]
        slipcast()
        return
    from fakes.batch_work import make_job

    from slipcast.pipeline.batch.verdicts import Limits
    from slipcast.pipeline.studio.working import work_off

    work_off(Path(runs), int(more[0]) if more else 1, work=make_job, limits=Limits(backoff_s=0.1))


if __name__ == "__main__":
    main(sys.argv[1:])
