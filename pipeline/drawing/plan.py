"""What is needed before a picture is drawn: models, the guidance and its explanation, the picture to edit.

``slipcast image`` and the first stage of ``make`` plan the same way, so that one previews the other.
"""

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
from ...guidance.offloading import CPUOffload
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.sampling import scheduler_named
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed
from ...systems.guided.recipes import needs_domain, picture_guidance, recipe_named, term_weights
from ...systems.images.files import latent_mask, read_mask, read_picture
from ...systems.models.base import Base
from ...systems.models.controlnet import load_controls
from ...systems.models.identity import model_identity
from ...systems.models.known import PICTURE, Uses
from ...systems.models.precision import resolve_device
from ..run.models import ModelStore
from ..run.progress import Progress
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
    made: Ingredients
    guidance: Guidance
    scheduler: Any
    size: int
    models: dict[str, str]
    files: dict[str, str]
    computed: dict[str, str]
    weights: dict[str, float]
    told: dict[str, Any]
    edit: Edit | None


def plan_pictures(config: PictureConfig, console: Progress, store: ModelStore) -> Plan:
    """Load what the recipe needs and put its guidance together; nothing is drawn yet.

    Args:
        store: the models; what they say of their use fills in what the config leaves open.
    Raises: BadInput for names, sizes or files that do not fit.
    """
    recipe, config = recipe_named(config.recipe), _with_checked_prompts(config)
    if config.balance is not None and config.recipe != "in_domain":
        raise BadInput("--balance shares a weight between domain and text; it needs the recipe in_domain")
    if not config.as_make and (config.view or config.background):
        raise BadInput("view and background are words that --as-make adds; give it as well")
    uses = store.uses()
    config = _filled_in(config, uses)
    base = store.base
    size = _size(config.size, base)
    edit = _edit(config, base, size)
    framing = framed("", config.view or "", config.background or "")
    for prompt in dict.fromkeys(_prompts(config)):
        _warn(base, prompt, framing, console)

    def controls(wanted: list[str]) -> tuple[Control, ...]:
        return load_controls(
            wanted, base, size=size, scale=config.control_scale, allow_pickle=store.allow_pickle
        )

    def custom(path: str | None) -> ConditionalDenoiser | None:
        return None if path is None else store.custom(path, console.notice)

    made = Ingredients(
        base=base,
        prompt=config.prompt,
        domain=store.domain if needs_domain(config.recipe, config.model) else None,
        model=custom(config.model),
        negatives=tuple(config.negative),
        wanted=config.wanted,
        unwanted=config.unwanted,
        extras={
            name: Extra(one.prompt, one.weight, custom(one.model), controls(one.control))
            for name, one in config.conditions.items()
        },
        controls=controls(config.control),
        size=size,
        framings=(framing,),
    )
    scheduler = scheduler_named(config.scheduler or "dpm++", base.pipeline.scheduler)
    asked = dict(config.weights)
    if config.balance is not None:
        shape = latent_shape(base, size)
        asked = balanced(made, config.balance, scheduler, shape, device=base.device) | asked
    weights = term_weights(config.recipe, asked, uses.weights.get(PICTURE))
    guidance = picture_guidance(
        config.recipe, made, weights, config.until, domain_strength=config.domain_strength
    )
    scheduler.set_timesteps(config.steps)
    times = [float(t) / len(base.predictor.schedule) for t in scheduler.timesteps]
    told = explain(guidance, times, recipe.formula)
    computed = {"dtype": str(base.dtype).removeprefix("torch."), "device": store.device}
    files = {str(path): sha256_of_file(path) for path in _pictures(config)}
    return Plan(
        config, base, made, guidance, scheduler, size, _identities(made), files, computed, weights, told, edit
    )


def models_for(
    config: PictureConfig,
    *,
    device: str = "auto",
    dtype: str = "auto",
    low_memory: bool = False,
    allow_pickle: bool = False,
) -> ModelStore:
    """The models of a picture; nothing is loaded yet.

    Args:
        low_memory: keep one network on the device at a time.
    Raises: BadInput for a device that this machine has not.
    """
    device = resolve_device(device)
    names = {name: getattr(config, name) for name in ("base", "vae", "domain", "model", "lora_scale")}
    settings = MakeConfig(**names, device=device, dtype=dtype)
    return ModelStore(settings, allow_pickle, CPUOffload(device) if low_memory else None)


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


def _filled_in(config: PictureConfig, uses: Uses) -> PictureConfig:
    """The same with sampler and, as ``make`` has them, words: those that base and domain say where none are given."""
    words = {
        name: (getattr(uses, name) if getattr(config, name) is None else getattr(config, name))
        if config.as_make
        else ""
        for name in ("view", "background")
    }
    return replace(config, scheduler=config.scheduler or uses.scheduler, **words)


def _identities(made: Ingredients) -> dict[str, str]:
    """{role: hash of its files} of every model; {"control FOLDER": hash of its weights} of every ControlNet."""
    models: dict[str, Any] = {"base": made.base, "domain": made.domain, "model": made.model}
    models |= {f"condition {name}": one.model for name, one in made.extras.items()}
    told = {role: model.identity for role, model in models.items() if model is not None}
    followed = [*made.controls, *(control for one in made.extras.values() for control in one.controls)]
    folders = dict.fromkeys(str(control.network.config._name_or_path) for control in followed)
    return told | {f"control {folder}": model_identity(Path(folder)) for folder in folders}


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


def _warn(base: Base, prompt: str, framing: str, console: Progress) -> None:
    if prompt.isdecimal() and base.family.reads == "text":
        check_prompt(prompt)  # says that it is no text
    for sentence in unread_syntax(prompt):
        console.notice(sentence)
    if lost := base.cut_off(framed(prompt, framing) if prompt else ""):
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
