"""What is needed before a picture is drawn: models, the guidance and its explanation, the picture to edit.

``slipcast image`` and the first stage of ``make`` plan the same way, so that one previews the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...configs.atomic import sha256_of_file
from ...configs.controls import ControlText, control_text
from ...configs.errors import BadInput
from ...configs.picture import OF_MODELS, PictureConfig
from ...configs.schema import MakeConfig
from ...guidance.algebra import Guidance
from ...guidance.conditioning import Control
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.schedulers import first_step, noise_between, set_steps
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed, refuse_unheard
from ...systems.guided.recipes import (
    needs_domain,
    picture_guidance,
    recipe_named,
    term_weights,
    without_domain,
    without_domain_notice,
)
from ...systems.models.aliases import resolve
from ...systems.models.base import Base
from ...systems.models.controlnet import load_controls
from ...systems.models.identity import model_identity
from ...systems.models.known import NO_DOMAIN, domain_for
from ...systems.models.precision import resolve_device
from ...systems.models.uses import PICTURE, Uses
from ..run.models import ModelStore, open_models
from ..run.progress import Progress
from ..run.prompt_syntax import notes_on
from ..run.prompts import check_prompt, prompts_of, with_checked_prompts
from .editing import Edit, edit_of, latent_shape, size_of
from .explain import explain


@dataclass(frozen=True)
class Plan:
    """Everything ready to draw: loaded models, the guidance and its explanation, and where all of it came from."""

    config: PictureConfig
    base: Base
    made: Ingredients
    guidance: Guidance
    scheduler: Any
    size: tuple[int, int]
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
    config = _checked(_with_domain(config, console))
    recipe = recipe_named(config.recipe)
    if config.balance is not None and config.recipe != "in_domain":
        raise BadInput("--balance shares a weight between domain and text; it needs the recipe in_domain")
    if not config.as_make and (config.view or config.background):
        raise BadInput("view and background are words that --as-make adds; give it as well")
    uses = store.uses()
    config = _filled_in(config, uses)
    base = store.base_with_loras(console.notice)
    size = size_of(config, base)
    edit = edit_of(config, base, size, console)
    framing = framed("", config.view or "", config.background or "")
    for prompt in dict.fromkeys([config.prompt, *prompts_of(config)]):
        for sentence in notes_on(prompt, base, framing):
            console.notice(sentence)

    scheduler = base.sampler(config.scheduler)
    set_steps(scheduler, config.steps, side=latent_shape(base, size)[1:])
    times = [float(t) / len(base.predictor.schedule) for t in scheduler.timesteps]
    run = times[first_step(scheduler, config.steps, config.strength) :] if config.edit else times

    noise_between(run, config.control_start, config.control_end)  # what lies nowhere is said whoever asks

    def heard(one: ControlText) -> tuple[float, float]:
        begin = config.control_start if one.start is None else one.start
        return noise_between(run, begin, config.control_end if one.end is None else one.end)

    def controls(wanted: list[str]) -> tuple[Control, ...]:
        return load_controls(
            wanted, base, size=size, scale=config.control_scale, heard=heard, allow_pickle=store.allow_pickle
        )

    followed = controls(config.control)
    branches = [control_text(text).branches or config.control_branches for text in config.control]

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
            name: Extra(
                one.prompt,
                one.weight,
                custom(one.model),
                controls(one.control),
                store.image_prompts(one.image_prompt),
            )
            for name, one in config.conditions.items()
        },
        controls=tuple(one for one, where in zip(followed, branches, strict=True) if where == "text"),
        controls_of_all=tuple(one for one, where in zip(followed, branches, strict=True) if where == "all"),
        images=store.image_prompts(config.image_prompt),
        size=size,
        framings=(framing,),
    )
    asked = dict(config.weights)
    if config.balance is not None:
        shape = latent_shape(base, size)
        asked = balanced(made, config.balance, scheduler, shape, device=base.device) | asked
    weights = term_weights(config.recipe, asked, uses.weights.get(PICTURE))
    guidance = picture_guidance(
        config.recipe,
        made,
        weights,
        config.until,
        since=config.since,
        domain_strength=config.domain_strength,
        guidance_rescale=config.guidance_rescale,
    )
    refuse_unheard(guidance, made)
    told = explain(guidance, times, recipe.formula)
    computed = {"dtype": str(base.dtype).removeprefix("torch."), "device": store.device}
    files = {str(path): sha256_of_file(path) for path in _pictures(config)}
    models = _identities(made) | store.hashes
    models |= {f"finder {f}": model_identity(resolve(f)) for one in _controls(config) if (f := one.finder)}
    return Plan(config, base, made, guidance, scheduler, size, models, files, computed, weights, told, edit)


def models_for(
    config: PictureConfig,
    *,
    low_memory: bool = False,
    allow_pickle: bool = False,
) -> ModelStore:
    """The models of a picture; nothing is loaded yet.

    Args:
        low_memory: keep one network on the device at a time.
    Raises: BadInput for a device that this machine has not.
    """
    names: dict[str, Any] = {name: getattr(config, name) for name in OF_MODELS}
    names["device"] = resolve_device(config.device)
    settings = MakeConfig(**names)
    return open_models(settings, allow_pickle=allow_pickle, low_memory=low_memory)


def _checked(config: PictureConfig) -> PictureConfig:
    """With every prompt checked, wherever it was written; the empty one is the unconditional prompt."""
    empty = not config.prompt or config.prompt.isdecimal()
    prompt = config.prompt if empty else check_prompt(config.prompt)
    for name, one in config.conditions.items():
        if any(control_text(text).branches for text in one.control):
            raise BadInput(
                f"controls of the condition {name} are heard by it alone; leave branches= out of them"
            )
    return with_checked_prompts(replace(config, prompt=prompt))


def _with_domain(config: PictureConfig, console: Progress) -> PictureConfig:
    """With the domain that is meant, and the recipe that does without where there is none."""
    domain = domain_for(config.base, config.domain)
    recipe = config.recipe if domain else without_domain(config.recipe, config.conditions)
    if recipe != config.recipe:
        console.notice(without_domain_notice(config.base, recipe))
    return replace(config, domain=domain or NO_DOMAIN, recipe=recipe)


def _pictures(config: PictureConfig) -> list[Path]:
    """The picture files that a config names."""
    return [
        Path(path) for path in (config.edit, config.mask, *(one.picture for one in _controls(config))) if path
    ]


def _controls(config: PictureConfig) -> list[ControlText]:
    """Every control that a config names."""
    written = [*config.control, *(text for one in config.conditions.values() for text in one.control)]
    return [control_text(text) for text in written]


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
    followed = [
        *made.controls,
        *made.controls_of_all,
        *(c for one in made.extras.values() for c in one.controls),
    ]
    folders = dict.fromkeys(str(control.network.config._name_or_path) for control in followed)
    return told | {f"control {folder}": model_identity(Path(folder)) for folder in folders}
