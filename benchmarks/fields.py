"""The fields that can be refined, beside each other: how well they show the picture, and what they take.

    python -m benchmarks.fields [--nouns teapot vase mug] [--steps N] [--set KEY=VALUE ...]
                                [--runs runs-benchmark] [--out benchmarks/results]

A front of each noun, drawn by the starter's generator (truths' seed 202, elevation 15), is lifted by the starter and
refined in each field with the preset's settings; ``--steps`` takes fewer. Of what the mesh stage gets: IoU of its front
with the picture, PSNR of its front on grey, 128 px. Seconds and processor seconds are of the refinement alone, from its
first step on; on a busy machine only the latter compare. Levels: vertices of each near the lifted surface, and how many
of them do not have a row of the hash grid's table alone. RUNS should hold none of these runs: what is finished takes no
time.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.make import make
from slipcast.pipeline.run.models import open_models
from slipcast.starter.generator.objects import make_object
from slipcast.starter.generator.renderer import render_rgba
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.hash_levels import GridShape, sharing
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, VoxelField, cell_centres
from slipcast.systems.images.files import read_subject
from slipcast.systems.refine.hash_fit import near_surface
from slipcast.systems.refine.trainable import FIELDS
from slipcast.systems.refine.warm_start import warm_start

from .machine import report
from .prompts import prompt

SEED, SIZE, GREY = 202, 128, 0.5
ELEVATION_RAD = math.radians(15)


def main() -> None:
    """Refine, compare, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nouns", nargs="+", default=["teapot", "vase", "mug"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings, of both")
    parser.add_argument("--runs", type=Path, default=Path("runs-benchmark"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "set": given.set}
    settings = [*given.set, *([] if given.steps is None else [f"refine.steps={given.steps}"])]
    for noun in given.nouns:
        picture = draw(noun, given.runs)
        figures[noun] = {
            name: refined(noun, name, picture, given.runs / f"fields-{name}", settings) for name in FIELDS
        }
        report("fields", figures, given.out)  # after every noun: what was measured stays


def draw(noun: str, folder: Path) -> Path:
    """A picture of the noun with transparency; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    thing = make_object(np.random.default_rng([SEED, 0, len(noun), True]), domain=True, noun=noun)
    path = (folder / f"fields-{noun}.png").resolve()
    Image.fromarray(render_rgba(thing, 0.0, ELEVATION_RAD, 256)[0]).save(path)
    return path


def refined(noun: str, name: str, picture: Path, out: Path, settings: list[str]) -> dict[str, Any]:
    """One field's figures."""
    config = load_config("starter", [f"image.picture=[{picture}]", f"refine.field={name}", *settings])
    store = open_models(config)

    def run(stage: str) -> Path:
        made = make(prompt(noun), config, out=out, until_stage=stage, open_models=lambda _: store)
        return made.run

    folder = run("lift")
    wall, cpu = time.perf_counter(), time.process_time()
    run("refine")
    figures = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    subject = read_subject(folder / "10-image/image.png").premultiplied(SIZE)
    camera = orbit_camera(0.0, math.radians(config.image.elevation_deg))
    field = VoxelField.load(folder / "30-refine/field.safetensors").requires_grad_(False)
    rgb, opacity, _ = render_image(field, camera, SIZE, background=(GREY, GREY, GREY))
    alpha = torch.from_numpy(subject[..., 3])
    wanted = torch.from_numpy(subject[..., :3]) + (1 - alpha[..., None]) * GREY
    one, other = opacity > 0.5, alpha > 0.5
    figures["front_iou"] = ((one & other).sum() / (one | other).sum()).item()
    figures["front_psnr_db"] = -10 * math.log10((rgb - wanted).square().mean().item())
    told = {key: round(value, 3) for key, value in figures.items()}
    if name == "hashgrid":
        return told | {"levels": shared(folder, config.refine)}
    return told


def shared(folder: Path, settings: Any) -> list[dict[str, int]]:
    """How far the grid is hashed at the lifted surface, one entry a level."""
    start = warm_start(FrozenGrid.load(folder / "20-lift/field.safetensors"), settings.resolution)
    places = cell_centres(settings.resolution)[near_surface(start.raw_density).reshape(-1)]
    shape = GridShape(settings.hash_levels, settings.hash_features, settings.hash_log2_size)
    return [level._asdict() for level in sharing(shape, (places.numpy() + 1) / 2)]


if __name__ == "__main__":
    main()
