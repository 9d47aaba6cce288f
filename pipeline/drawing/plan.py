"""What ``slipcast image`` needs before it draws: models, the guidance and its explanation, the picture to edit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...configs.atomic import sha256_of_file
from ...configs.errors import BadInput
from ...configs.picture import PictureConfig
from ...configs.schema import MakeConfig
from ...guidance.algebra import Guidance
from ...guidance.conditioning import Control
from ...guidance.offloading import OneAtATime
from ...guidance.sampling import scheduler_named
from ...systems.domain.model import load_domain
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients
from ...systems.guided.recipes import picture_guidance, recipe_named
from ...systems.guided.variants import Speaker, load_custom
from ...systems.images.files import latent_mask, read_mask, read_picture
from ...systems.models.base import Base, load_base
from ...systems.models.controlnet import load_controls
from ...systems.models.identity import model_identity
from ...systems.models.precision import resolve_device
from ..run.models import ModelStore
from ..run.progress import Reporter
from ..run.prompt_syntax import unread_syntax
from ..run.prompts import check_prompt
from .explain import explain

_LARGEST = 8  # times the model's own size; far below it already, pictures fall apart into repetitions


@dataclass(frozen=True)
class Edit:
    """A picture to start from, and what of it is painted anew.

    Attributes:
        picture: [1, 3, S, S] in [0, 1].
        latents: the same, encoded [1, C, h, w].
        mask: [1, 1, S, S], 1 is painted; None edits the whole picture.
        latent_mask: [1, 1, h, w], 1 where any pixel is painted.
    """

    picture: Tensor
    latents: Tensor
    mask: Tensor | None = None
    latent_mask: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """Everything ready to draw: loaded models, the guidance and its explanation, and where all of it came from."""

    config: PictureConfig
    base: Base
    guidance: Guidance
    scheduler: Any
    size: int
    models: dict[str, str]
    files: dict[str, str]
    computed: dict[str, str]
    weights: dict[str, float]
    told: dict[str, Any]
    edit: Edit | None


def plan_pictures(
    config: PictureConfig,
    console: Reporter,
    *,
    device: str = "cpu",
    dtype: str = "auto",
    low_memory: bool = False,
    allow_pickle: bool = False,
) -> Plan:
    """Load what the recipe needs and put its guidance together; nothing is drawn yet.

    Raises: BadInput for names, sizes or files that do not fit.
    """
    recipe, config = recipe_named(config.recipe), _with_checked_prompts(config)
    if config.balance is not None and config.recipe != "in_domain":
        raise BadInput("--balance shares a weight between domain and text; it needs the recipe in_domain")
    device = resolve_device(device)
    seat = OneAtATime(device) if low_memory else None
    store = ModelStore(MakeConfig(base=config.base, domain=config.domain), allow_pickle)
    base = load_base(
        store.folder("base"),
        name=config.base,
        device=device,
        dtype=dtype,
        allow_pickle=allow_pickle,
        seat=seat,
    )
    size = _size(config.size, base)
    edit = _edit(config, base, size)
    for prompt in dict.fromkeys(_prompts(config)):
        _warn(base, prompt, console)
    needs_domain = config.recipe == "in_domain" or (
        config.model is None and config.recipe in ("rectified", "domain_guidance")
    )
    models: dict[str, Speaker] = {}
    for path in [config.model, *(one.model for one in config.conditions.values())]:
        if path is not None and path not in models:
            models[path] = load_custom(
                path, base, scale=config.lora_scale, allow_pickle=allow_pickle, notice=console.notice
            )
    domain = load_domain(store.folder("domain"), base, device=device) if needs_domain else None

    def controls(wanted: list[str]) -> tuple[Control, ...]:
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
        weights = balanced(made, config.balance, scheduler, latent_shape(base, size)) | weights
    guidance = picture_guidance(config.recipe, made, weights, config.until)
    scheduler.set_timesteps(config.steps)
    times = [float(t) / len(base.predictor.schedule) for t in scheduler.timesteps]
    told = explain(guidance, times, recipe.formula)
    identities = {"base": base.identity} | ({"domain": domain.identity} if domain else {})
    identities |= {"model": made.model.identity} if made.model else {}
    identities |= {f"condition {n}": one.speaker.identity for n, one in made.extras.items() if one.speaker}
    identities |= _control_identities(made)
    computed = {"dtype": str(base.dtype).removeprefix("torch."), "device": device}
    files = {str(path): sha256_of_file(path) for path in _pictures(config)}
    return Plan(config, base, guidance, scheduler, size, identities, files, computed, weights, told, edit)


def latent_shape(base: Base, size: int) -> tuple[int, int, int]:
    """(channels, height, width) of the latents of pictures of ``size`` pixels."""
    side = size // base.pixels_per_latent
    return base.latent_shape[0], side, side


def _prompts(config: PictureConfig) -> Iterator[str]:
    yield from (config.prompt, *config.negative, *config.wanted, *config.unwanted)
    yield from (one.prompt for one in config.conditions.values())


def _with_checked_prompts(config: PictureConfig) -> PictureConfig:
    """The same with every prompt checked, wherever it was written; the empty one is the unconditional prompt."""

    def checked(prompt: str) -> str:
        if (
            not prompt or prompt.isdecimal()
        ):  # a number is a class of DiT; other bases say below that it is no text
            return prompt
        return check_prompt(prompt)

    return replace(
        config,
        prompt=checked(config.prompt),
        negative=[checked(prompt) for prompt in config.negative],
        wanted={checked(prompt): weight for prompt, weight in config.wanted.items()},
        unwanted={checked(prompt): weight for prompt, weight in config.unwanted.items()},
        conditions={n: replace(one, prompt=checked(one.prompt)) for n, one in config.conditions.items()},
    )


def _pictures(config: PictureConfig) -> list[Path]:
    """The picture files that a config names."""
    controls = [*config.control, *(text for one in config.conditions.values() for text in one.control)]
    return [Path(p) for p in (config.edit, config.mask) if p] + [Path(c.split(":")[1]) for c in controls]


def _control_identities(made: Ingredients) -> dict[str, str]:
    """{"control FOLDER": hash of its weights} of every ControlNet."""
    followed = [*made.controls, *(control for one in made.extras.values() for control in one.controls)]
    folders = dict.fromkeys(str(control.network.config._name_or_path) for control in followed)
    return {f"control {folder}": model_identity(Path(folder)) for folder in folders}


def _size(wanted: int | None, base: Base) -> int:
    step = 8 * base.pixels_per_latent  # three halvings inside the network
    step = min(step, base.picture_size)
    size = base.picture_size if wanted is None else wanted
    if size > _LARGEST * base.picture_size:
        raise BadInput(
            f"--size is at most {_LARGEST * base.picture_size} for {base.name!r}, {_LARGEST} times its own, not {size}"
        )
    if size % step or size < step:
        near = max(step, round(size / step) * step)
        raise BadInput(f"--size must be a multiple of {step} for {base.name!r}, not {size}; try {near}")
    return size


def _warn(base: Base, prompt: str, console: Reporter) -> None:
    if prompt.isdecimal() and hasattr(base.pipeline, "tokenizer"):
        check_prompt(prompt)  # says that it is no text
    for sentence in unread_syntax(prompt):
        console.notice(sentence)
    if lost := base.cut_off(prompt):
        console.notice(f"the text encoder of {base.name!r} does not read the end of the prompt: {lost!r}")
    for word, near in base.unknown_words(prompt).items():
        hint = f"; known and near: {', '.join(near)}" if near else ""
        console.notice(f"the base model {base.name!r} does not know the word {word!r}{hint}")


def _edit(config: PictureConfig, base: Base, size: int) -> Edit | None:
    """The picture to edit and its mask, where the config names them."""
    if config.edit is None:
        if config.mask is not None:
            raise BadInput("--mask needs the picture that it belongs to; give --edit PICTURE as well")
        return None
    picture = read_picture(Path(config.edit), size)
    mask = None if config.mask is None else read_mask(Path(config.mask), Path(config.edit), size)
    with torch.no_grad():
        latents = base.encode(picture).cpu()
    small = None if mask is None else latent_mask(mask, base.pixels_per_latent)
    return Edit(picture, latents, mask, small)
