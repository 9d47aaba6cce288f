"""Settings of a guided denoiser, which picture and refinement share."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass
class ExtraCondition:
    """One more condition of a complex prompt: its own words, and possibly its own model and controls."""

    prompt: str = setting("", "What it asks for; empty is the unconditional prompt.")
    weight: float = setting(1.0, "Weight of its term.")
    model: str | None = setting(None, "A LoRA, checkpoint or domain that says it; the base if left out.")
    control: list[str] = setting([], "Spatial controls of this condition alone, such as canny:edges.png.")
    image_prompt: list[str] = setting(
        [], "Image prompts of this condition alone, each PICTURE[:NETWORK][:SCALE].", added_later=True
    )


@dataclass(frozen=True)
class RecipeConfig:
    """Which guidance a denoiser is asked with; the picture and its refinement each have one."""

    recipe: str = setting("in_domain", "Which guidance: a name of guidance.recipes.RECIPES.")
    weights: dict[str, float] = setting(
        {}, "Weights of the recipe's terms by name; what is left out is what base and domain say."
    )
    domain_weight: float | None = setting(
        None,
        "Weight of the term domain; 0 leaves the base alone, null is what base and domain say.",
        at_least=0,
    )
    text_weight: float | None = setting(
        None, "Weight of the term text; 1 is the plain model, null is what base and domain say.", at_least=0
    )
    domain_until: float = setting(
        1.0,
        "The domain term is on up to this noise fraction and off above it; 1 is always on, 0.5 keeps unseen shapes.",
        at_least=0,
        at_most=1,
    )
    domain_since: float = setting(
        0.0,
        "The domain term is on from this noise fraction up and off below it; 0 is always on.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    guidance_rescale: float = setting(
        0.0,
        "How much of the contrast of the prompt's own prediction the guided one is given, against burnt colours.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    negative: list[str] = setting([], "Prompts to stay away from.")
    wanted: dict[str, float] = setting(
        {}, "Further prompts that must hold too, with their weights (composable)."
    )
    unwanted: dict[str, float] = setting({}, "Prompts that must not hold, with their weights (composable).")
    until: dict[str, float] = setting(
        {},
        "Noise fraction up to which a term is on, by name; domain_until is short for the term domain.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    since: dict[str, float] = setting(
        {},
        "Noise fraction from which up a term is on, by name; domain_since is short for the term domain.",
        at_least=0,
        at_most=1,
        added_later=True,
    )
    conditions: dict[str, ExtraCondition] = setting(
        {},
        "Further conditions by name (in_domain, composable): prompt, weight, model, image_prompt; for the picture also "
        "control.",
        added_later=True,
    )
    balance: float | None = setting(
        None,
        "Total weight to share between domain and text by the length of their differences (in_domain).",
        at_least=0,
        added_later=True,
    )
