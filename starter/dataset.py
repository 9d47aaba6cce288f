"""Shards of pictures and solids of the starter's world: the training sets of all starter models.

``python -m slipcast.starter.dataset --split prior --count 2000 --out DIR`` (run again to go on). A folder holds
dataset.json (names behind the ids, the recipe) and shard_00000.safetensors ... of 64 objects, with per picture

    rgba [N, S, S, 4] uint8 (sRGB, straight alpha), azimuth_rad, elevation_rad [N] float32, object [N] int32

and per object (object k owns the pictures k * views ... (k + 1) * views - 1)

    noun, material [O] int32, domain [O] uint8, occupancy [O, 32768] uint8 (packed bits of [64, 64, 64], x y z),
    points [O, 4096, 3] float16, albedo [O, 4096, 3] uint8 (sRGB).

Every object has its own seed, so the bytes depend neither on the number of workers nor on interruptions.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.numpy import save_file

from ..configs.errors import BadInput, SlipcastError
from .generator.captions import BACKGROUNDS
from .generator.families import FAMILIES
from .generator.materials import MATERIALS
from .generator.objects import PORCELAIN, make_object
from .generator.renderer import light_object, render_rgba
from .generator.volume import solid_occupancy, surface_samples

SPLITS = ("prior", "domain", "judge")
SHARD_OBJECTS = 64
NOUNS = tuple(FAMILIES)
MATERIAL_NAMES = (*MATERIALS, PORCELAIN)


@dataclass(frozen=True)
class Recipe:
    """What decides a data set's bytes, but for the number of objects."""

    split: str
    views: int
    seed: int
    size: int = 128


def draw_views(rng: np.random.Generator, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Azimuths and elevations [views] in radians: the first near the canonical picture, half in the front half.

    Elevations follow N(17, 7) in [-5, 40] degrees for four views of five, and spread over [-10, 70] for the rest.
    """
    front = max(1, (views + 1) // 2)
    azimuth = np.concatenate([rng.uniform(-60, 60, front), rng.uniform(-180, 180, views - front)])
    usual, wide = rng.normal(17, 7, views).clip(-5, 40), rng.uniform(-10, 70, views)
    elevation = np.where(rng.random(views) < 0.8, usual, wide)
    azimuth[0], elevation[0] = rng.uniform(-8, 8), rng.uniform(11, 19)
    return np.radians(azimuth).astype(np.float32), np.radians(elevation).astype(np.float32)


def _object_arrays(recipe: Recipe, index: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([recipe.seed, SPLITS.index(recipe.split), index])
    if recipe.split == "judge":
        obj = make_object(rng, domain=bool(rng.random() < 0.5), noun=NOUNS[int(rng.integers(len(NOUNS)))])
    else:
        obj = make_object(rng, domain=recipe.split == "domain")
    azimuth, elevation = draw_views(rng, recipe.views)
    lighting = light_object(obj)
    pictures = [
        render_rgba(obj, a, e, recipe.size, lighting)[0]
        for a, e in zip(azimuth.tolist(), elevation.tolist(), strict=True)
    ]
    solid = solid_occupancy(obj.vertices, obj.faces)
    points, albedo = surface_samples(obj, rng, solid=solid)
    return {
        "rgba": np.stack(pictures),
        "azimuth_rad": azimuth,
        "elevation_rad": elevation,
        "object": np.full(recipe.views, index, np.int32),
        "noun": np.array([NOUNS.index(obj.noun)], np.int32),
        "material": np.array([MATERIAL_NAMES.index(obj.material)], np.int32),
        "domain": np.array([obj.domain], np.uint8),
        "occupancy": np.packbits(solid.reshape(1, -1), axis=1),
        "points": points[None],
        "albedo": albedo[None],
    }


def _write_shard(path: Path, recipe: Recipe, first: int, count: int) -> int:
    """Make one shard and put it in place at once; returns the number of its objects."""
    objects = [_object_arrays(recipe, first + k) for k in range(count)]
    unfinished = path.with_suffix(f".tmp{os.getpid()}")
    save_file({key: np.concatenate([o[key] for o in objects]) for key in objects[0]}, unfinished)
    os.replace(unfinished, path)
    return count


def _objects_in(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with safe_open(path, "numpy") as shard:
            return shard.get_slice("noun").get_shape()[0]
    except Exception as error:
        raise SlipcastError(f"{path} is not a readable shard ({error}); delete it and build again") from error


def _settle_recipe(out_dir: Path, recipe: Recipe, count: int) -> None:
    """Write dataset.json, or refuse to mix two recipes in one folder."""
    path = out_dir / "dataset.json"
    told = {
        "recipe": asdict(recipe),
        "nouns": list(NOUNS),
        "materials": list(MATERIAL_NAMES),
        "phrases": {name: list(material.phrases) for name, material in MATERIALS.items()},
        "backgrounds": BACKGROUNDS,
    }
    told = json.loads(json.dumps(told))
    if path.exists():
        before = json.loads(path.read_text())
        changed = [key for key in told if before.get(key) != told[key]]
        if changed:
            raise BadInput(
                f"{out_dir} holds another recipe ({', '.join(changed)} differ); choose another folder or delete it"
            )
    path.write_text(json.dumps({"count": count, **told}, indent=1))


def build_shards(
    out_dir: Path | str,
    *,
    split: str,
    count: int,
    views: int = 8,
    seed: int = 0,
    skip: int = 0,
    workers: int = 1,
    size: int = 128,
    shard_objects: int = SHARD_OBJECTS,
) -> Iterator[int]:
    """Make what is missing of a data set; yields the number of finished objects, at first and after every shard.

    Args: split: 'prior', 'domain', or 'judge' (every noun in either look, for metrics only);
        count: objects; views: pictures of each; workers: processes (1: this one);
        skip: objects of this seed to leave out at the beginning, whole shards of them.
    Raises: BadInput when the folder holds another recipe. A generator: exhaust it.
    """
    if split not in SPLITS:
        raise BadInput(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    if count < 1 or views < 1 or workers < 1:
        raise BadInput(f"count, views and workers must be at least 1, not {count}, {views} and {workers}")
    if skip < 0 or skip % shard_objects:
        raise BadInput(f"skip must be a multiple of {shard_objects}, not {skip}")
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(split, views, seed, size)
    _settle_recipe(out_dir, recipe, count)
    missing: list[tuple[Path, Recipe, int, int]] = []
    for first in range(skip, skip + count, shard_objects):
        path, here = (
            out_dir / f"shard_{first // shard_objects:05d}.safetensors",
            min(shard_objects, skip + count - first),
        )
        if _objects_in(path) != here:
            missing.append((path, recipe, first, here))
    done = count - sum(job[3] for job in missing)
    yield done
    if workers == 1:
        for job in missing:
            done += _write_shard(*job)
            yield done
        return
    # Spawned, not forked: compiled kernels and thread pools do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for made in pool.map(_write_shard, *zip(*missing, strict=True)) if missing else ():
            done += made
            yield done


def load_shards(
    folder: Path | str, keys: Sequence[str] | None = None, *, most: int | None = None
) -> tuple[dict[str, np.ndarray], dict]:
    """All finished shards of a folder, joined.

    Args: keys: which arrays (default: all); pictures are large, 0.5 MB per object at 8 views;
            most: of all shards so many at most, evenly picked, that they hold so many pictures (one shard at least).
    Returns: the arrays named in this module's docstring, and dataset.json. ``object`` is renumbered so that it indexes
        the joined per-object arrays, even while some shards are still missing.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("shard_*.safetensors"))
    if not paths:
        raise BadInput(
            f"{folder} holds no shards; build them with python -m slipcast.starter.dataset --out {folder}"
        )
    if most is not None:
        with safe_open(paths[0], "numpy") as first:
            shards = max(1, most // first.get_slice("rgba").get_shape()[0])
        paths = paths[:: -(-len(paths) // shards)]
    return _joined(paths, keys)


def load_shard(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """One shard as if it were the whole set; see ``load_shards``."""
    return _joined([path], None)


def _joined(paths: list[Path], keys: Sequence[str] | None) -> tuple[dict[str, np.ndarray], dict]:
    info = json.loads((paths[0].parent / "dataset.json").read_text())
    opened = [safe_open(path, "numpy") for path in paths]
    joined: dict[str, np.ndarray] = {}
    for key in keys or list(opened[0].keys()):
        # Filled in place, not concatenated: pictures would need twice their memory.
        shapes = [shard.get_slice(key).get_shape() for shard in opened]
        first = opened[0].get_tensor(key)
        whole = np.empty((sum(shape[0] for shape in shapes), *shapes[0][1:]), first.dtype)
        start = 0
        for shard, shape in zip(opened, shapes, strict=True):
            whole[start : start + shape[0]] = shard.get_tensor(key)
            start += shape[0]
        joined[key] = whole
    if "object" in joined:
        views = info["recipe"]["views"]
        joined["object"] = np.repeat(np.arange(len(joined["object"]) // views, dtype=np.int32), views)
    return joined, info


def unpack_occupancy(packed: np.ndarray) -> np.ndarray:
    """[O, 32768] packed bits to [O, 64, 64, 64] uint8 (x, y, z)."""
    side = round(math.pow(packed.shape[1] * 8, 1 / 3))
    return np.unpackbits(packed, axis=1).reshape(-1, side, side, side)


def build_with_progress(out_dir: Path, *, count: int, **recipe: Any) -> None:
    """``build_shards`` to its end, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(f"objects: {out_dir.name}", total=count)
        for done in build_shards(out_dir, count=count, **recipe):
            progress.update(task, completed=done)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build a data set with a progress bar."""
    parser = argparse.ArgumentParser(prog="python -m slipcast.starter.dataset", description=main.__doc__)
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--count", type=int, required=True, help="objects")
    parser.add_argument("--views", type=int, default=8, help="pictures of each object")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--skip", type=int, default=0, help="objects of the seed to leave out at the beginning"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--shard-objects", type=int, default=SHARD_OBJECTS, help="objects of one file")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    build_with_progress(
        given.out, split=given.split, count=given.count, views=given.views, seed=given.seed, skip=given.skip,
        workers=given.workers, size=given.size, shard_objects=given.shard_objects,
    )  # fmt: skip


if __name__ == "__main__":
    main()
