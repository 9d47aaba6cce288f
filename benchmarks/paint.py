"""What refinement and painting do to an asset's colours, step by step, told by networks that nobody here trained.

    pip install "slipcast[eval]"
    python -m benchmarks.paint [--runs runs-benchmark] [--work runs-paint] [--seeds 5 6 7] [--nouns teapot ...]
                               [--rows "lift" "SDS" ...] [--sheets FOLDER] [--out benchmarks/results]

Every row is the same assets, nouns and prompts of ``benchmarks.fidelity``, made otherwise: the runs in ``--runs`` are
copied (or made, where there are none) and gone on with from the stage that differs. Columns are those of
``benchmarks.fidelity``, with its frozen truth: FD48 for lite0 and lite1 and recognition, of eight softly lit views of
every asset. Beside them, as painted: the share of nearly pure blue in all pixels, and the median of blue ones, those
whose blue exceeds red and green by more than 40 of 255.

A figure is 72 pictures, nine nouns of one seed; seeds are averaged. With fewer nouns FD48 is larger for nothing, and
may be compared within the table only.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.assets.placing import into_view
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.exporters.preview import ring_cameras
from slipcast.pipeline.make import make
from slipcast.pipeline.run.folder import run_path
from slipcast.pipeline.run.models import open_models
from slipcast.systems.evaluation.frechet import Reference
from slipcast.systems.evaluation.imagenet import NETWORKS, features_and_ranks, load_network, recognised

from . import truths
from .fidelity import CLASSES, PURE_BLUE, TRUTH, mean_of, tensor_of
from .fidelity_pools import ASSET_SEEDS, Pictures, glb_of, views_of
from .machine import report
from .prompts import prompt

BARE, PAINTED, EDGES = "paint.steps=0", "paint.steps=12", "paint.control=canny"
BLUE = 40  # of 255, by which blue exceeds the others


class Row(NamedTuple):
    """How a row's assets are made: the first stage that is made anew, its settings, and the row it goes on from."""

    start: str
    settings: tuple[str, ...] = ()
    after: str | None = None


ROWS: dict[str, Row] = {
    "lift": Row("refine", ("refine.steps=0", BARE)),
    "SDS": Row("paint", (BARE,)),
    "SDS, then paint": Row("paint", (PAINTED, EDGES)),
    "SDS, then paint; detail kept": Row("paint", (PAINTED, EDGES, "paint.keep_detail=1")),
    "lift, then paint": Row("paint", (PAINTED, EDGES, "paint.start=0.9"), "lift"),
    "SDS, then paint; the front as all else": Row("paint", (PAINTED, EDGES, "paint.anchor=0")),
    "SDS, then paint; the picture's full weights": Row("paint", (PAINTED, EDGES, "paint.guidance=1")),
    "SDS, then paint; no domain term": Row("paint", (PAINTED, EDGES, "domain_strength=0")),
    "SDS, then paint; no edges": Row("paint", (PAINTED, "paint.control=none")),
    "SDS, weak guidance": Row("refine", ("refine.domain_weight=2", "refine.text_weight=4", BARE)),
    "SDS, weak guidance, then paint": Row("paint", (PAINTED, EDGES), "SDS, weak guidance"),
    "SDS, quieter at low noise": Row("refine", ("refine.guidance_at_0=0.1", BARE)),
    "SDS, quieter at low noise, then paint": Row("paint", (PAINTED, EDGES), "SDS, quieter at low noise"),
}


def main() -> None:
    """Make what is missing, measure the rows asked for, print and keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs-benchmark"), help="finished runs; left as they are"
    )
    parser.add_argument("--work", type=Path, default=Path("runs-paint"), help="where copies go on")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(ASSET_SEEDS))
    parser.add_argument("--nouns", nargs="+", choices=truths.NOUNS, default=list(truths.NOUNS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--sheets", type=Path, help="where every row's views are written as PNG")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    networks = {name: load_network(name) for name in NETWORKS}
    figures: dict[str, Any] = {}
    for name in given.rows:
        told = []
        for seed in given.seeds:
            runs = [_made(name, noun, seed, given.runs, given.work) for noun in given.nouns]
            lit, bare = _views(runs, "soft"), _views(runs, "none")
            if given.sheets is not None:
                _write_sheet(bare, given.sheets / f"{_slug(name)}-{seed}.png")
            told.append(_figure(lit, bare, given.nouns, networks))
        figures[name] = mean_of(told)
        report("paint", figures, given.out)  # after every row: what was measured stays


def _made(name: str, noun: str, seed: int, runs: Path, work: Path) -> Path:
    """The finished run of a row; what an earlier call made is used again."""
    row, out = ROWS[name], work / _slug(name)
    source, target = run_path(runs, prompt(noun), seed), run_path(out, prompt(noun), seed)
    config = load_config("starter", [*row.settings, "export.turntable_frames=0"])
    if row.after is not None:
        source = _made(row.after, noun, seed, runs, work)
    elif not (source / "manifest.json").is_file():
        make(prompt(noun), load_config("starter"), out=runs, seed=seed)
    if not (target / "50-export").exists():
        shutil.rmtree(target, ignore_errors=True)  # what was stopped half way
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("50-export"))
        make(prompt(noun), config, out=out, seed=seed, from_stage=row.start, open_models=open_models)
    return target


def _views(runs: Sequence[Path], shading: str) -> Pictures:
    cameras = ring_cameras(truths.VIEWS, float(np.radians(15)))
    meshes = (into_view(read_glb(glb_of(run))[0]) for run in runs)
    return np.concatenate([views_of(mesh, cameras, shading) for mesh in meshes])


def _figure(lit: Pictures, bare: Pictures, nouns: Sequence[str], networks: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"pictures": len(lit), **blue_statistics(bare)}
    tensors, owner = tensor_of(lit), np.repeat(nouns, truths.VIEWS)
    for name, network in networks.items():
        features, ranks = features_and_ranks(network, tensors)
        hits = [recognised(ranks[owner == noun], CLASSES[noun]).float().mean().item() for noun in nouns]
        distance = Reference.load(TRUTH, f"{name}/views").distance(features.numpy())
        told[name] = {"fd48": distance, "recognised": float(np.mean(hits))}
    return told


def blue_statistics(pictures: Pictures) -> dict[str, float]:
    """Of pictures [N, S, S, 3] on the truth's background, in 255: shares of pixels, and the median of blue ones."""
    pixels = pictures.reshape(-1, 3).astype(int)
    red, green, blue = pixels.T
    pure = (red < PURE_BLUE[0]) & (green < PURE_BLUE[1]) & (blue > PURE_BLUE[2])
    is_blue = blue - np.maximum(red, green) > BLUE
    on_object = np.abs(pixels - truths.GROUND).max(1) > 3
    median = np.median(pixels[is_blue], axis=0) if is_blue.any() else np.zeros(3)
    return {
        "pure_blue": float(pure.mean()),
        "blue_of_object": float(is_blue.sum() / max(1, on_object.sum())),
        **{
            f"median_{name}": float(value)
            for name, value in zip(("red", "green", "blue"), median, strict=True)
        },
    }


def _write_sheet(pictures: Pictures, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = pictures.reshape(-1, truths.VIEWS, *pictures.shape[1:])
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)).save(path)


def _slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


if __name__ == "__main__":
    main()
