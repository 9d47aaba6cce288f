"""``slipcast image``: models, guidance, sampler; PNGs that remember how they were made, and a contact sheet."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ...configs.errors import BadInput
from ...configs.picture import PictureConfig
from ...configs.schema import MakeConfig
from ...guidance.algebra import Guidance
from ...guidance.evaluation import GuidedNoise
from ...guidance.offloading import OneAtATime
from ...guidance.sampling import sample, scheduler_named, seeded_noise
from ...systems.domain.model import load_domain
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients
from ...systems.guided.recipes import picture_guidance, recipe_named
from ...systems.guided.variants import load_custom
from ...systems.images.files import read_mask, read_picture
from ...systems.models.base import Base, load_base
from ...systems.models.controlnet import load_controls
from ..run.folder import versions
from ..run.models import ModelStore
from ..run.progress import Reporter
from ..run.prompts import slug
from .explain import explain

_BATCH = 4  # pictures per forward: more are no quicker on two cores and need more memory


@dataclass(frozen=True)
class Drawing:
    """What was drawn: PNG files, the contact sheet, and how."""

    pictures: list[Path]
    sheet: Path | None
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Everything ready to draw: loaded models, the guidance and its explanation."""

    config: PictureConfig
    base: Base
    guidance: Guidance
    scheduler: Any
    size: int
    models: dict[str, str]
    weights: dict[str, float]
    told: dict[str, Any]
    start: Tensor | None
    mask: Tensor | None


def plan_pictures(
    config: PictureConfig,
    console: Reporter,
    *,
    device: str = "cpu",
    low_memory: bool = False,
    allow_pickle: bool = False,
) -> Plan:
    """Load what the recipe needs and put its guidance together; nothing is drawn yet.

    Raises: BadInput for names, sizes or files that do not fit.
    """
    recipe = recipe_named(config.recipe)
    if config.balance is not None and config.recipe != "in_domain":
        raise BadInput("--balance shares a weight between domain and text; it needs the recipe in_domain")
    seat = OneAtATime(device) if low_memory else None
    store = ModelStore(MakeConfig(base=config.base, domain=config.domain), allow_pickle)
    base = load_base(
        store.folder("base"), name=config.base, device=device, allow_pickle=allow_pickle, seat=seat
    )
    size = _size(config.size, base)
    start, mask = _start(config, base, size)
    prompts = [config.prompt, *config.negative, *config.wanted, *config.unwanted]
    for prompt in [*prompts, *(one.prompt for one in config.conditions.values())]:
        _warn(base, prompt, console)
    needs_domain = config.recipe == "in_domain" or (
        config.model is None and config.recipe in ("rectified", "domain_guidance")
    )
    models: dict[str, Any] = {}
    for path in [config.model, *(one.model for one in config.conditions.values())]:
        if path is not None and path not in models:
            models[path] = load_custom(path, base, scale=config.lora_scale, allow_pickle=allow_pickle)
    domain = load_domain(store.folder("domain"), base, device=device) if needs_domain else None

    def controls(wanted: list[str]) -> Any:
        return load_controls(wanted, base, size=size, scale=config.control_scale, allow_pickle=allow_pickle)

    made = Ingredients(
        base=base,
        prompt=config.prompt,
        domain=domain,
        model=None if config.model is None else models[config.model],
        negatives=tuple(config.negative),
        wanted=config.wanted,
        unwanted=config.unwanted,
        extras={
            name: Extra(one.prompt, one.weight, models.get(one.model or ""), controls(one.control))
            for name, one in config.conditions.items()
        },
        controls=controls(config.control),
        size=size,
    )
    scheduler = scheduler_named(config.scheduler, base.pipeline.scheduler)
    weights = dict(config.weights)
    if config.balance is not None:
        weights = balanced(made, config.balance, scheduler, _latents(base, size)) | weights
    guidance = picture_guidance(config.recipe, made, weights, config.until)
    scheduler.set_timesteps(config.steps)
    times = [float(t) / len(base.predictor.schedule) for t in scheduler.timesteps]
    told = explain(guidance, times, recipe.formula)
    identities = {"base": base.identity} | ({"domain": domain.identity} if domain else {})
    return Plan(config, base, guidance, scheduler, size, identities, weights, told, start, mask)


def draw_pictures(plan: Plan, out: Path, console: Reporter) -> Drawing:
    """Draw, write ``NNNN.png`` for every seed and ``sheet.png``; the folder is made if it is not there."""
    config, base = plan.config, plan.base
    guided = GuidedNoise(plan.guidance)
    start = plan.start
    seeds = [config.seed + i for i in range(config.count)]
    out = out / slug(config.prompt or config.recipe.replace("_", " "))
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "slipcast": asdict(config),
        "weights": plan.weights,
        "plan": plan.told,
        "models": plan.models,
        "versions": versions(),
    }
    console.stage_started("image")
    advance = console.task("drawing", config.steps * -(-config.count // _BATCH))
    files: list[Path] = []
    tiles: list[np.ndarray] = []
    for first in range(0, len(seeds), _BATCH):
        chosen = seeds[first : first + _BATCH]
        noise, generators = seeded_noise(chosen, _latents(base, plan.size))
        latents = sample(
            guided,
            plan.scheduler,
            noise,
            steps=config.steps,
            start=None if start is None else start.expand(len(chosen), -1, -1, -1),
            strength=config.strength if start is not None else 1.0,
            mask=plan.mask,
            generator=generators,
            callback=lambda *_: advance(),
        )
        for seed, picture in zip(chosen, base.decode(latents).permute(0, 2, 3, 1).cpu().numpy(), strict=True):
            tiles.append((picture * 255 + 0.5).astype(np.uint8))
            files.append(out / f"{config.recipe}-{seed:04d}.png")
            write_png(files[-1], tiles[-1], told | {"seed": seed})
    sheet = contact_sheet(tiles, out / f"{config.recipe}-sheet.png") if len(tiles) > 1 else None
    console.stage_ended("image", f"{len(tiles)} pictures")
    return Drawing(files, sheet, told)


def write_png(path: Path, picture: np.ndarray, told: dict[str, Any]) -> None:
    """A PNG [H, W, 3] uint8 whose text chunk ``slipcast`` holds the recipe as JSON; written whole or not at all."""
    note = PngInfo()
    note.add_text("slipcast", json.dumps(told))
    unfinished = path.with_suffix(".partial")
    Image.fromarray(picture).save(unfinished, format="png", pnginfo=note)
    unfinished.replace(path)


def contact_sheet(tiles: Sequence[np.ndarray], path: Path) -> Path:
    """All pictures in rows, somewhat wider than high, with as few holes at the end as that allows."""
    side = len(tiles) ** 0.5
    columns = min(
        range(math.ceil(side), min(len(tiles), math.floor(2 * side)) + 1),
        key=lambda n: (-len(tiles) % n, abs(n - 1.4 * side)),
    )
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (height + 2), (i % columns) * (width + 2)
        sheet[y : y + height, x : x + width] = tile
    Image.fromarray(sheet).save(path)
    return path


def _size(wanted: int | None, base: Base) -> int:
    step = 8 * base.pixels_per_latent  # three halvings inside the network
    step = min(step, base.picture_size)
    size = wanted or base.picture_size
    if size % step or size < step:
        near = max(step, round(size / step) * step)
        raise BadInput(f"--size must be a multiple of {step} for {base.name!r}, not {size}; try {near}")
    return size


def _latents(base: Base, size: int) -> tuple[int, int, int]:
    side = size // base.pixels_per_latent
    return base.latent_shape[0], side, side


def _warn(base: Base, prompt: str, console: Reporter) -> None:
    if lost := base.cut_off(prompt):
        console.notice(f"the text encoder of {base.name!r} does not read the end of the prompt: {lost!r}")
    for word, near in base.unknown_words(prompt).items():
        hint = f"; known and near: {', '.join(near)}" if near else ""
        console.notice(f"the base model {base.name!r} does not know the word {word!r}{hint}")


def _start(config: PictureConfig, base: Base, size: int) -> tuple[Tensor | None, Tensor | None]:
    """The latents [1, C, h, w] to edit and the mask [1, 1, h, w], where the config names them."""
    if config.edit is None:
        if config.mask is not None:
            raise BadInput("--mask needs the picture that it belongs to; give --edit PICTURE as well")
        return None, None
    picture = read_picture(Path(config.edit), size)
    mask = None
    if config.mask is not None:
        mask = read_mask(Path(config.mask), Path(config.edit), _latents(base, size)[1])
    with torch.no_grad():
        return base.encode(picture).cpu(), mask
