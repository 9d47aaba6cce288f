"""``slipcast image``: from a plan to pictures on the disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...configs.atomic import explain_os_errors
from ...guidance.evaluation import GuidedNoise
from ...guidance.sampling import sample, seeded_noise
from ...systems.images.files import with_kept_pixels
from ..run.manifest import versions
from ..run.progress import Reporter
from ..run.prompts import slug
from .files import contact_sheet, png, write_new
from .plan import Plan, latent_shape

_BATCH = 4  # pictures per forward: more are no quicker on two cores and need more memory


@dataclass(frozen=True)
class Drawing:
    """What was drawn: PNG files, the contact sheet, and how."""

    pictures: list[Path]
    sheet: Path | None
    recipe: dict[str, Any]


def draw_pictures(plan: Plan, out: Path, console: Reporter) -> Drawing:
    """Draw, write ``RECIPE-SEED.png`` for every seed and a sheet, never over another picture."""
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
    advance = console.task("drawing", config.steps * -(-config.count // _BATCH))
    seeds = range(config.seed, config.seed + config.count)
    files: list[Path] = []
    tiles: list[np.ndarray] = []
    for first in range(0, len(seeds), _BATCH):
        chosen = seeds[first : first + _BATCH]
        for seed, tile in zip(chosen, _draw(plan, chosen, lambda *_: advance()), strict=True):
            tiles.append(tile)
            with explain_os_errors(folder, "writing the pictures"):
                place = folder / f"{config.recipe}-{seed:04d}.png"
                files.append(write_new(place, png(tile, told | {"seed": seed})))
    sheet = None
    if len(tiles) > 1:
        with explain_os_errors(folder, "writing the contact sheet"):
            sheet = write_new(folder / f"{config.recipe}-sheet.png", png(contact_sheet(tiles)))
    console.stage_ended("image", f"{len(tiles)} pictures")
    return Drawing(files, sheet, told)


def _draw(plan: Plan, seeds: range, callback: Any) -> list[np.ndarray]:
    """One batch, each [S, S, 3] uint8; what a mask keeps is the given picture's, to the bit."""
    config, base, edit = plan.config, plan.base, plan.edit
    noise, generators = seeded_noise(seeds, latent_shape(base, plan.size), device=base.device)
    start: Tensor | None = None if edit is None else edit.latents.expand(len(seeds), -1, -1, -1)
    latents = sample(
        GuidedNoise(plan.guidance),
        plan.scheduler,
        noise,
        steps=config.steps,
        start=start,
        strength=1.0 if edit is None else config.strength,
        mask=None if edit is None else edit.latent_mask,
        generator=generators,
        callback=callback,
    )
    pictures = base.decode(latents).permute(0, 2, 3, 1).cpu().numpy()
    tiles = [(picture * 255 + 0.5).astype(np.uint8) for picture in pictures]
    if edit is None or edit.mask is None:
        return tiles
    return [with_kept_pixels(tile, edit.picture, edit.mask) for tile in tiles]
