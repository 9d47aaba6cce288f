"""Domain Guidance against classifier-free guidance on a plane where every score is known.

    python -m benchmarks.toy [--out docs/pictures/toy.png]   (under a minute on one thread)

Draws samples of class A of ``domain_toy`` with the recipes and the sampling loop that make pictures, for three states
of the fine-tuned model: exact; a conditional branch that is too wide; and the same with a broader null branch. Prints,
for each weight, the share out of the domain, the share at each mode of class A and the distance from it. With --out,
it draws the samples of the second state.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from slipcast.guidance import from_diffusers
from slipcast.guidance.mixture import CLASS_A, SD, MixturePredictor, ToyFigures, domain_toy, toy_figures
from slipcast.guidance.toy import CASES, STEPS, WEIGHTS, draw_samples, heun

from .machine import provenance
from .toy_figure import draw_figure

DRAWN_WEIGHTS = (1.0, 2.0, 3.0)
COUNT, SEED = 4000, 0


DRAWN = {
    "Classifier-free guidance: away from the null branch of the fine-tuned model": "wide: CFG",
    "Domain Guidance: away from the pre-trained model": "wide: DoG",
}
"""The rows of the picture."""


def table(title: str, rows: Mapping[float, list[str]]) -> str:
    """One line per weight, one column per case."""
    widths = [max(len(name), 14) for name in CASES]
    lines = [("w", [*CASES]), *((f"{weight:g}", cells) for weight, cells in rows.items())]
    told = [
        f"{first:>4}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for first, cells in lines
    ]
    return "\n".join([title, *told])


SHOWN: dict[str, Callable[[ToyFigures], str]] = {
    f"Share farther than 3 sd from every mode of class A (true points: {math.exp(-4.5):.1%})": (
        lambda found: f"{found.outside:.1%}"
    ),
    f"Share nearest to each of the modes {', '.join(f'({x:g}, {y:g})' for x, y in CLASS_A)}": (
        lambda found: " ".join(f"{share:.2f}" for share in found.modes)
    ),
    f"Median distance from the nearest mode, in sd of {SD} (true points: 1.18)": (
        lambda found: f"{found.distance / SD:.2f}"
    ),
}


def main() -> None:
    """Sample, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="a PNG file for the picture")
    given = parser.parse_args()
    points = {
        w: {name: draw_samples(case, w, count=COUNT, seed=SEED) for name, case in CASES.items()}
        for w in WEIGHTS
    }
    figures = {w: [toy_figures(found) for found in row.values()] for w, row in points.items()}
    print(json.dumps({"benchmark": "toy", **provenance(), "samples": COUNT, "steps": STEPS, "seed": SEED}))
    for title, shown in SHOWN.items():
        print("\n" + table(title, {w: [shown(found) for found in row] for w, row in figures.items()}))
    if given.out:
        prior = domain_toy(from_diffusers(heun())).pretrained.predictor
        assert isinstance(prior, MixturePredictor)
        rows = {title: {w: points[w][name] for w in DRAWN_WEIGHTS} for title, name in DRAWN.items()}
        draw_figure(rows, prior, given.out)


if __name__ == "__main__":
    main()
