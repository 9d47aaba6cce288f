"""The pictures that ``benchmarks.fidelity`` measures: true ones, through the codec, our pictures, our assets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.loading import load_config
from slipcast.guidance.noise import named_generator
from slipcast.guidance.sampling import sample
from slipcast.pipeline.assets.placing import into_view
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.exporters.preview import render_views, ring_cameras
from slipcast.pipeline.make import make
from slipcast.pipeline.run.models import open_models
from slipcast.systems.field.cameras import Camera
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.recipes import guided_noise_for
from slipcast.systems.guided.settled import settled
from slipcast.systems.images.foreground import cut_out
from slipcast.systems.types import Mesh

from . import truths
from .prompts import prompt

PICTURE_SEEDS, ASSET_SEEDS, STEPS = (0, 1, 2), (5, 6, 7), 25
PICTURE_PROMPT = "{}, front view, orange background"
FIGURE = 72
_GREY = truths.GROUND / 255
GROUND = (_GREY, _GREY, _GREY)

Pictures = np.ndarray
"""uint8 [N, S, S, 3], noun by noun, equally many of each."""


@dataclass(frozen=True)
class Pool:
    """Pictures that are looked at once, and the rows of the table that are taken of them.

    kind: of the truth that they are compared with, 'views' or 'fronts'; nouns: [N] what each shows; rows: for each row,
    the figures that it averages, as indices of their pictures.
    """

    kind: str
    pictures: Pictures
    nouns: np.ndarray
    rows: dict[str, list[np.ndarray]]


def pool_of(kind: str, name: str, sets: list[Pictures]) -> Pool:
    """One row with a figure of each set; within a set the pictures come noun by noun, equally many of each."""
    nouns = np.concatenate([np.repeat(truths.NOUNS, len(one) // len(truths.NOUNS)) for one in sets])
    figures = np.split(np.arange(len(nouns)), np.cumsum([len(one) for one in sets])[:-1])
    return Pool(kind, np.concatenate(sets), nouns, {name: figures})


def _truth(data: Path, runs: Path) -> Iterator[Pool]:
    """The floor, and what is no porcelain."""
    number = np.arange(len(truths.NOUNS) * truths.OBJECTS * truths.VIEWS)
    owner = number // truths.VIEWS % truths.OBJECTS
    for name, seed, domain in (
        ("true renders", truths.OTHER_SEEDS[0], True),
        ("other materials", 303, False),
    ):
        rows = {
            f"views: {name}, all 432": [number],
            f"views: {name}": [number[k :: len(number) // FIGURE] for k in range(3)],
            f"views: {name}, one object a noun": [number[owner == k] for k in range(3)],
        }
        nouns = np.repeat(truths.NOUNS, truths.OBJECTS * truths.VIEWS)
        yield Pool("views", truths.views(data, seed, domain=domain), nouns, rows)
    yield pool_of("fronts", "fronts: true renders", _true_fronts(data))
    others = [truths.fronts(data, seed, truths.FRONTS, domain=False) for seed in truths.OTHER_MATERIAL_SEEDS]
    yield pool_of("fronts", "fronts: other materials", others)


def _true_fronts(data: Path) -> list[Pictures]:
    return [truths.fronts(data, seed, truths.FRONTS) for seed in truths.OTHER_SEEDS]


def _codec(data: Path, runs: Path) -> Iterator[Pool]:
    """True pictures through the codec and back, and with noise on the latents."""
    base = open_models(load_config("starter")).base
    for name, noise in (("through the codec", 0.0), ("through the codec, noise 0.15 on the latents", 0.15)):
        sets = [_there_and_back(base, pictures, noise) for pictures in _true_fronts(data)]
        yield pool_of("fronts", f"fronts: {name}", sets)


def _there_and_back(base: Any, pictures: Pictures, noise: float) -> Pictures:
    latents = base.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    drawn = torch.randn(latents.shape, generator=named_generator(0, "fidelity", "codec"))
    return _bytes(base.decode(latents + noise * drawn))


def _pictures(data: Path, runs: Path) -> Iterator[Pool]:
    """Pictures as the preset's guidance and sampler draw them, first draws, none chosen."""
    models = open_models(load_config("starter"))
    image = settled(models.config, models.uses()).image
    base, domain = models.base, models.domain

    def drawn(noun: str, seed: int) -> Pictures:
        made = Ingredients(base=base, prompt=PICTURE_PROMPT.format(prompt(noun)), domain=domain)
        guided = guided_noise_for("in_domain", made, image.weights, {})
        # The seeds of the first figures, before the project drew from named generators.
        generators = [torch.Generator().manual_seed(1000 * seed + k) for k in range(truths.FRONTS)]
        noise = torch.cat([torch.randn(1, *base.latent_shape, generator=one) for one in generators])
        sampler = base.sampler(image.scheduler)
        latents = sample(guided, sampler, noise, steps=STEPS, generator=generators)
        return np.stack([_on_background(picture) for picture in _bytes(base.decode(latents))])

    sets = [np.concatenate([drawn(noun, seed) for noun in truths.NOUNS]) for seed in PICTURE_SEEDS]
    yield pool_of("fronts", "fronts: our pictures", sets)


def _on_background(picture: np.ndarray) -> np.ndarray:
    """The subject [S, S, 3] on the truth's background; where nothing stands out, the picture itself."""
    try:
        return _to_byte(cut_out(picture / np.float32(255)).over(GROUND))
    except SlipcastError:
        return picture


def _assets(data: Path, runs: Path) -> Iterator[Pool]:
    """Assets of ``slipcast make``, seen as their GLB files show them."""
    config = load_config("starter")
    store = open_models(config)

    def mesh(noun: str, seed: int) -> Mesh:
        result = make(prompt(noun), config, out=runs, seed=seed, open_models=lambda _: store)
        return into_view(read_glb(glb_of(result.run))[0])

    meshes = [[mesh(noun, seed) for noun in truths.NOUNS] for seed in ASSET_SEEDS]
    cameras = ring_cameras(truths.VIEWS, float(np.radians(15)))
    for name, shading in (("assets", "soft"), ("assets, as painted", "none")):
        sets = [np.concatenate([views_of(one, cameras, shading) for one in row]) for row in meshes]
        yield pool_of("views", f"views: our {name}", sets)


def views_of(mesh: Mesh, cameras: list[Camera], shading: str) -> Pictures:
    """A mesh on the truth's background, [V, 256, 256, 3]."""
    views = render_views(mesh, cameras, truths.VIEW_SIZE, GROUND, shading=shading)
    return np.stack([_to_byte(rgb) for rgb, _ in views])


def glb_of(run: Path) -> Path:
    """The full mesh's GLB of a finished run."""
    found = sorted((run / "50-export").glob("*.glb"), key=lambda path: len(path.name))
    if not found:
        raise BadInput(f"{run} holds no GLB; run slipcast make with export.formats=[glb]")
    return found[0]  # levels of detail have longer names


def _bytes(pictures: torch.Tensor) -> Pictures:
    """[N, 3, S, S] in [0, 1] as bytes [N, S, S, 3]."""
    return _to_byte(pictures.permute(0, 2, 3, 1).numpy())


def _to_byte(pictures: np.ndarray) -> np.ndarray:
    return (pictures * 255).clip(0, 255).astype(np.uint8)


GROUPS: dict[str, Callable[[Path, Path], Iterator[Pool]]] = {
    "truth": _truth,
    "codec": _codec,
    "pictures": _pictures,
    "assets": _assets,
}
