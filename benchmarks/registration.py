"""How well true meshes lie on true pictures of the same things: framed in space, and registered.

    python -m benchmarks.registration [--out DIR]   (a minute on one core)

For every noun the outline of the generator's own mesh, as the lift ``mesh`` makes a field of it, beside that of its
picture, framed as every picture of a user's is: intersection over union before and after ``lift.registration``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.images.files import read_subject
from slipcast.systems.images.foreground import in_common_framing
from slipcast.systems.lift.mesh_file import read_surface
from slipcast.systems.lift.registration import opaque, registration
from slipcast.systems.lift.solid import field_of_surface
from slipcast.systems.lift.surface import framed
from slipcast.systems.lift.turned import Turned
from slipcast.systems.mesh.report import silhouette_iou

from . import truths
from .fields import ELEVATION_RAD, SIZE, draw, thing_of
from .machine import report
from .true_mesh import write_true_mesh

_CELLS, _SAMPLES = 64, 192


def measured(noun: str, folder: Path) -> dict[str, float]:
    """Of one noun: IoU before and after, and how far it was scaled."""
    picture = in_common_framing(read_subject(draw(noun, folder)))
    mesh = write_true_mesh(thing_of(noun), folder / f"{noun}.ply")
    field = field_of_surface(framed(read_surface(mesh)), _CELLS)
    middle, scale = registration(field, picture, ELEVATION_RAD)
    wanted = picture.premultiplied(SIZE)[..., 3]

    def overlap(placed: Turned) -> float:
        _, opacity, _ = render_image(placed, orbit_camera(0.0, ELEVATION_RAD), SIZE, samples=_SAMPLES)
        return round(silhouette_iou(opacity.numpy(), wanted), 3)

    hard = opaque(field)
    before = overlap(Turned(hard, 0.0, torch.zeros(3), 1.0))
    return {"before": before, "after": overlap(Turned(hard, 0.0, middle, scale)), "scale": round(scale, 3)}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        nouns = {noun: measured(noun, Path(folder)) for noun in truths.NOUNS}
    mean = {
        key: round(float(np.mean([one[key] for one in nouns.values()])), 3) for key in ("before", "after")
    }
    report("registration", {"nouns": nouns, "mean": mean}, given.out)


if __name__ == "__main__":
    main()
