"""From a plan to pictures: drawn for the first stage of ``make`` and for ``slipcast image``, which writes them down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...configs.atomic import explain_os_errors
from ...guidance.evaluation import GuidedNoise, Watch
from ...guidance.noise import named_generator
from ...guidance.sampling import sample
from ...systems.images.files import with_kept_pixels
from ..run.manifest import versions
from ..run.progress import Reporter
from ..run.prompts import slug
from .editing import latent_shape
from .files import contact_sheet, png, write_new
from .plan import Plan

_BATCH = 4  # pictures per forward: more are no quicker on two cores and need more memory


@dataclass(frozen=True)
class Batch:
    """Some of a plan's pictures: their numbers, latents [B, C, h, w], and pictures [B, 3, H, W] in [0, 1]."""

    numbers: range
    latents: Tensor
    pictures: Tensor


def draw(plan: Plan, done: Callable[[], None], watch: Watch | None = None) -> Iterator[Batch]:
    """All pictures of a plan, a few at a time.

    Picture i of a seed is candidate i of ``make`` with that seed: both draw from ``named_generator(seed, "image", i)``.

    Args:
        done: called after each step of a batch; there are ``steps(plan)`` in all.
        watch: told what each term pushed at every evaluation (``GuidedNoise``).
    """
    config, edit = plan.config, plan.edit
    shape = latent_shape(plan.base, plan.size)
    for first in range(0, config.count, _BATCH):
        numbers = range(first, min(first + _BATCH, config.count))
        generators = [named_generator(config.seed, "image", i) for i in numbers]
        latents = sample(
            GuidedNoise(plan.guidance, watch=watch),
            plan.scheduler,
            torch.stack([torch.randn(shape, generator=one) for one in generators]).to(plan.base.device),
            steps=config.steps,
            start=None if edit is None else edit.latents.expand(len(numbers), -1, -1, -1),
            strength=1.0 if edit is None else config.strength,
            mask=None if edit is None else edit.latent_mask,
            generator=generators,
            callback=lambda *_: done(),
        )
        yield Batch(numbers, latents, plan.base.decode(latents))


def steps(plan: Plan) -> int:
    """How often ``draw`` calls ``done``."""
    return len(plan.told["rows"]) * -(-plan.config.count // _BATCH)


@dataclass(frozen=True)
class Drawing:
    """What was drawn: PNG files, the contact sheet, and how."""

    pictures: list[Path]
    sheet: Path | None
    recipe: dict[str, Any]


def draw_pictures(plan: Plan, out: Path, console: Reporter) -> Drawing:
    """Draw, write ``RECIPE-SEED-NUMBER.png`` for every picture and a sheet, never over another picture."""
    config = plan.config
    folder = out / slug(config.prompt or config.recipe.replace("_", " "))
    told = {
        "slipcast": asdict(config),
        "weights": plan.weights,
        "plan": plan.told,
        "models": plan.models,
        "files": plan.files,
        "computed": plan.computed,
        "versions": versions(),
    }
    with explain_os_errors(folder, "writing the pictures"):
        folder.mkdir(parents=True, exist_ok=True)
    console.stage_started("image")
    stem = f"{config.recipe}-{config.seed:04d}"
    files: list[Path] = []
    tiles: list[np.ndarray] = []
    advance = console.task("drawing", steps(plan))
    for batch in draw(plan, lambda: advance()):
        for number, tile in zip(batch.numbers, _tiles(batch, plan), strict=True):
            tiles.append(tile)
            with explain_os_errors(folder, "writing the pictures"):
                data = png(tile, told | {"seed": config.seed, "number": number})
                files.append(write_new(folder / f"{stem}-{number:02d}.png", data))
    sheet = None
    if len(tiles) > 1:
        with explain_os_errors(folder, "writing the contact sheet"):
            sheet = write_new(folder / f"{stem}-sheet.png", png(contact_sheet(tiles)))
    console.stage_ended("image", f"{len(tiles)} pictures")
    return Drawing(files, sheet, told)


def _tiles(batch: Batch, plan: Plan) -> list[np.ndarray]:
    """Pictures for the eye, each [H, W, 3] uint8; what a mask keeps is the given picture's, to the bit."""
    pictures = batch.pictures.permute(0, 2, 3, 1).cpu().numpy()
    tiles = [(picture * 255 + 0.5).astype(np.uint8) for picture in pictures]
    edit = plan.edit
    if edit is None:
        return tiles
    if edit.mask is not None:
        tiles = [with_kept_pixels(tile, edit.picture, edit.mask) for tile in tiles]
    height, width = edit.shape
    return [np.ascontiguousarray(tile[:height, :width]) for tile in tiles]
