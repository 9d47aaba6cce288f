"""The image-to-3D network alone, on unseen generator objects whose solid is known.

    python -m benchmarks.lift [--objects 320] [--data DIR] [--out benchmarks/results]

Objects are made by the starter's generator from a seed of their own (2002); IoU at occupancy one half on a 64^3 grid,
from the near-canonical picture of each object, averaged per noun first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from slipcast.starter.build import DataSet, make_data
from slipcast.starter.generator.families import POTTERY
from slipcast.starter.train_lift import evaluate_lift
from slipcast.systems.lift.starter import load_lift
from slipcast.systems.models.known import WEIGHTS

from .machine import report


def main() -> None:
    """Make the objects, lift their pictures, print the IoU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=320)
    parser.add_argument("--data", type=Path, help="a folder to keep the objects in")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or Path(scratch) / "objects"
        make_data(folder, DataSet("judge", given.objects, 4, 2002), workers=2)
        scores = evaluate_lift(load_lift(WEIGHTS / "lift"), folder, POTTERY)
    report("lift", {key: round(value, 3) for key, value in scores.items()}, given.out)


if __name__ == "__main__":
    main()
