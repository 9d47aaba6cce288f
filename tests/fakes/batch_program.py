"""``slipcast`` as a program whose batches have workers with fake stages: ``python batch_program.py batch JOBS ...``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from fakes import batch_work

    from slipcast.pipeline.batch import running
    from slipcast.pipeline.cli.app import main as slipcast

    running.WORK = batch_work.make_job
    sys.argv[0] = "slipcast"
    slipcast()


if __name__ == "__main__":
    main()
