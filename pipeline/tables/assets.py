"""The ablations of paper 1's text-to-3D (arxiv.org/abs/2312.08195, 4.3): one part left out at a time.

An asset's eight views are compared with eight views of true things, as in ``benchmarks.fidelity``: eight views of one
thing are not eight things, so these distances are far larger than those of pictures. The baseline is DreamFusion on the
base alone (arxiv.org/abs/2209.14988): no domain, no picture to lift, plain guidance from a soft ball. None of them is
painted after refinement, which neither paper does and which would cover what is compared; a row of its own is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ...configs.atomic import write_safetensors
from ...configs.loading import load_config
from ...starter.dataset import NOUNS
from ...starter.generator.objects import make_object
from ...starter.generator.renderer import light_object, render_rgba
from ...systems.images.control_maps import canny
from ..assets.placing import into_view
from ..exporters.glb import read_glb
from ..exporters.preview import render_views, ring_cameras
from ..make import make as make_asset
from .bench import Bench, strip
from .cells import Cell, Cost, Figures
from .learning import Lessons
from .store import Store

TABLE, SEED = "assets", 5
VIEWS, SIZE, ELEVATION_DEG, GROUND, TRUE_OBJECTS = 8, 128, 15.0, 235, 4
BEHIND = (3, 4, 5)
_PLAIN = ("paint.steps=0",)
_BALL = (
    *_PLAIN,
    "domain=none",
    "image.recipe=cfg",
    "image.candidates=1",
    "lift_model=blob",
    "refine.recipe=cfg",
    "refine.weights={text: 21}",
    "refine.t_max=0.98",
    "refine.t_max_end=0.5",
    "refine.anchor_rgb_weight=0",
    "refine.anchor_alpha_weight=0",
    "refine.drift_weight=0",
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "whole": _PLAIN,
    "whole, painted": (),
    "no SDS": (*_PLAIN, "refine.distillation_weight=0"),
    "no anchor": (
        *_PLAIN,
        "refine.anchor_rgb_weight=0",
        "refine.anchor_alpha_weight=0",
        "refine.drift_weight=0",
    ),
    "no domain": (*_PLAIN, "domain_strength=0"),
    "DreamFusion": _BALL,
}
"""Settings by what is left out. The first four share their picture and their lift."""


def row_of(variant: str) -> str:
    """A variant's row."""
    return f"{TABLE}/{_slug(variant)}"


def cell_of(variant: str) -> str:
    """The cell of its one seed."""
    return f"{row_of(variant)}-{SEED}"


def _asset_of(variant: str, noun: str) -> str:
    return f"asset/{_slug(variant)}-{noun}"


def _slug(variant: str) -> str:
    return variant.replace(",", "").replace(" ", "-")


def cells(lessons: Lessons) -> Iterator[Cell]:
    """Every noun in every variant, and a row for each variant; at the starter's scale alone."""
    scale = lessons.scale
    if scale.base != "starter":
        return
    yield _truth(lessons)
    for noun in scale.assets.nouns:
        for variant in VARIANTS:
            yield _asset(lessons.bench, lessons.store, variant, noun)
    for variant in VARIANTS:
        yield _row(lessons, variant)


def _truth(lessons: Lessons) -> Cell:
    """Eight views each of some true things of every noun that is made."""
    scale = lessons.scale

    def make(folder: Path) -> Figures:
        made = []
        advance = lessons.bench.console.task("drawing true things", len(scale.assets.nouns) * TRUE_OBJECTS)
        for noun in scale.assets.nouns:
            for number in range(TRUE_OBJECTS):
                thing = make_object(
                    np.random.default_rng([21, NOUNS.index(noun), number]), domain=True, noun=noun
                )
                light = light_object(thing)
                for turn in np.radians(np.arange(VIEWS) * 360 / VIEWS):
                    rgba = render_rgba(thing, float(turn), float(np.radians(ELEVATION_DEG)), SIZE, light)[0]
                    alpha = rgba[..., 3:] / 255.0
                    made.append((rgba[..., :3] * alpha + GROUND * (1 - alpha)).astype(np.uint8))
                advance()
        write_safetensors(folder / "views.safetensors", {"views": np.stack(made)})
        return {"pictures": len(made)}

    depends = {"nouns": scale.assets.nouns, "source": lessons.source}
    return Cell("data/views", make, depends, cost=Cost(rendered=len(scale.assets.nouns) * TRUE_OBJECTS))


def _asset(bench: Bench, store: Store, variant: str, noun: str) -> Cell:
    """One asset, and its views."""
    settings = [*bench.scale.assets.settings, *VARIANTS[variant], "export.formats=[glb]"]

    def make(folder: Path) -> Figures:
        config = load_config("starter", settings)
        result = make_asset(
            f"a blue and white porcelain {noun}",
            config,
            out=store.out / "runs",
            seed=SEED,
            console=bench.console,
        )
        if result.glb is None:
            raise AssertionError("the format glb was asked for")
        mesh = into_view(read_glb(result.glb)[0])
        ground = (GROUND / 255, GROUND / 255, GROUND / 255)
        cameras = ring_cameras(VIEWS, float(np.radians(ELEVATION_DEG)))
        seen = [rgb for rgb, _ in render_views(mesh, cameras, SIZE, ground)]
        views = (np.stack(seen) * 255 + 0.5).clip(0, 255).astype(np.uint8)
        write_safetensors(folder / "views.safetensors", {"views": views})
        return {"faces": len(mesh.faces), **_behind(views)}

    depends = {"settings": settings, "noun": noun, "seed": SEED}
    return Cell(_asset_of(variant, noun), make, depends, cost=Cost(assets=1))


def _behind(views: np.ndarray) -> dict[str, Any]:
    """How much is painted on the back beside the front: the share of edges in the three views from behind and front."""
    lines = np.array([canny(one.astype(np.float32) / 255).mean() for one in views])
    front = [0, 1, VIEWS - 1]
    return {"edges_front": float(lines[front].mean()), "edges_behind": float(lines[list(BEHIND)].mean())}


def _row(lessons: Lessons, variant: str) -> Cell:
    """A variant's assets together."""
    bench, store, scale = lessons.bench, lessons.store, lessons.scale
    names = [_asset_of(variant, noun) for noun in scale.assets.nouns]

    def make(folder: Path) -> Figures:
        views = [load_file(store.place(name) / "views.safetensors")["views"] for name in names]
        strip([one[k] for one in views for k in (0, 4)], folder / "pictures.png")
        true = load_file(store.place("data/views") / "views.safetensors")["views"]
        every = np.concatenate(views)
        found = [_behind(one) for one in views]
        return {
            **bench.between(true, every),
            "align": bench.named(dict(zip(scale.assets.nouns, views, strict=True))),
            "behind": float(np.mean([one["edges_behind"] for one in found]))
            / max(float(np.mean([one["edges_front"] for one in found])), 1e-6),
        }

    depends = {"extractors": scale.extractors, "directions": scale.directions, "draws": scale.draws}
    cost = Cost(judged=VIEWS * len(scale.assets.nouns) * len(scale.extractors))
    return Cell(cell_of(variant), make, depends, ("data/views", *names), cost=cost)
