"""The fields that can be refined, beside each other: how well they show the picture, and what they take.

    python -m benchmarks.fields [--nouns teapot vase ...] [--start mesh|picture] [--steps N] [--set KEY=VALUE ...]
                                [--runs runs-benchmark] [--out benchmarks/results]

A front of each noun, drawn by the starter's generator (truths' seed 202, elevation 15), is refined in each field with
the preset's settings, from the object's own mesh (``true_mesh``; ``--start picture``: from what the starter lifts of
the picture); ``--steps`` takes fewer. Of what the mesh stage gets: IoU of its front with the picture, PSNR of its front
on grey, 128 px, and, of all nine nouns together, FD48 and recognition of eight views each by networks that others
trained (``benchmarks.fidelity``). Seconds and processor seconds are of the refinement alone, from its first step on; on
a busy machine only the latter compare. Levels: vertices of each near the lifted surface, and how many of them do not
have a row of the hash grid's table alone. RUNS should hold none of these runs: what is finished takes no time.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.exporters.preview import ring_cameras
from slipcast.pipeline.make import make
from slipcast.pipeline.run.models import open_models
from slipcast.starter.generator.objects import GeneratedObject, make_object
from slipcast.starter.generator.renderer import render_rgba
from slipcast.systems.evaluation.imagenet import NETWORKS
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.hash_levels import GridShape, sharing
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, VoxelField, cell_centres
from slipcast.systems.images.files import read_subject
from slipcast.systems.refine.hash_fit import near_surface
from slipcast.systems.refine.trainable import FIELDS
from slipcast.systems.refine.warm_start import warm_start

from . import truths
from .fidelity import Jury
from .fidelity_pools import pool_of
from .machine import report
from .prompts import prompt
from .true_mesh import write_true_mesh

SEED, SIZE, GREY = 202, 128, 0.5
ELEVATION_RAD = math.radians(15)


def main() -> None:
    """Refine, compare, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nouns", nargs="+", default=list(truths.NOUNS))
    parser.add_argument("--start", choices=("mesh", "picture"), default="mesh")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other settings, of both")
    parser.add_argument("--runs", type=Path, default=Path("runs-benchmark"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    figures: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "start": given.start,
        "set": given.set,
        "nouns": {},
    }
    settings = [*given.set, *([] if given.steps is None else [f"refine.steps={given.steps}"])]
    views: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    for noun in given.nouns:
        own = started(noun, given.start, given.runs)
        figures["nouns"][noun] = {}
        for name in FIELDS:
            out, chosen = given.runs / f"fields-{name}", [*own, f"refine.field={name}", *settings]
            figures["nouns"][noun][name], field = refined(noun, out, chosen)
            views[name].append(views_of(field))
        report("fields", figures, given.out)  # after every noun: what was measured stays
    if tuple(given.nouns) == truths.NOUNS:
        figures["mean"] = {name: mean(figures["nouns"], name) for name in FIELDS}
        jury = Jury()
        for name, pictures in views.items():
            found = jury.rows(pool_of("views", name, [np.concatenate(pictures)]))[name]
            for network, figure in itertools.product(NETWORKS, ("fd48", "recognised")):
                figures["mean"][name][f"{network} {figure}"] = found[network][figure]
        report("fields", figures, given.out)


def mean(nouns: dict[str, Any], name: str) -> dict[str, float]:
    """Of all nouns, of each figure that is a number."""
    rows = [fields[name] for fields in nouns.values()]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "levels"}


def thing_of(noun: str) -> GeneratedObject:
    """The generator's object of a noun."""
    return make_object(np.random.default_rng([SEED, 0, len(noun), True]), domain=True, noun=noun)


def draw(noun: str, folder: Path) -> Path:
    """A picture of the noun with transparency; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / f"fields-{noun}.png").resolve()
    Image.fromarray(render_rgba(thing_of(noun), 0.0, ELEVATION_RAD, 256)[0]).save(path)
    return path


def started(noun: str, start: str, folder: Path) -> list[str]:
    """Settings of a run on the noun's picture that begins from what the starter lifts of it, or from its own mesh."""
    settings = [f"image.picture=[{draw(noun, folder)}]"]
    if start == "mesh":
        mesh = write_true_mesh(thing_of(noun), folder / f"fields-{noun}.ply")
        settings += ["lift_model=mesh", f"lift.source={mesh}"]
    return settings


def made_until(stage: str, noun: str, config: MakeConfig, out: Path, store: Any) -> Path:
    """The noun's run with these settings, up to a stage."""
    return make(prompt(noun), config, out=out, until_stage=stage, open_models=lambda _: store).run


def views_of(field: VoxelField) -> np.ndarray:
    """Eight views round a field on the truth's background, uint8 [8, 256, 256, 3]."""
    ground = truths.GROUND / 255
    pictures = []
    for camera in ring_cameras(truths.VIEWS, ELEVATION_RAD):
        rgb, _, _ = render_image(field, camera, truths.VIEW_SIZE, background=(ground, ground, ground))
        pictures.append((rgb.numpy() * 255).clip(0, 255).astype(np.uint8))
    return np.stack(pictures)


def refined(noun: str, out: Path, settings: list[str]) -> tuple[dict[str, Any], VoxelField]:
    """One field's figures, and what the mesh stage gets."""
    config = load_config("starter", settings)
    store = open_models(config)
    made_until("lift", noun, config, out, store)
    wall, cpu = time.perf_counter(), time.process_time()
    folder = made_until("refine", noun, config, out, store)
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
    told: dict[str, Any] = {key: round(value, 3) for key, value in figures.items()}
    if config.refine.field == "hashgrid":
        told["levels"] = shared(folder, config.refine)
    return told, field


def shared(folder: Path, settings: Any) -> list[dict[str, int]]:
    """How far the grid is hashed at the lifted surface, one entry a level."""
    start = warm_start(FrozenGrid.load(folder / "20-lift/field.safetensors"), settings.resolution)
    places = cell_centres(settings.resolution)[near_surface(start.raw_density).reshape(-1)]
    shape = GridShape(settings.hash_levels, settings.hash_features, settings.hash_log2_size)
    return [level._asdict() for level in sharing(shape, (places.numpy() + 1) / 2)]


if __name__ == "__main__":
    main()
