"""From models and prompts to a ``Guidance``: one line of a table for each recipe that ``slipcast image`` offers.

The recipes themselves are ``guidance.recipes``; here is which branch of which model goes where, how the terms are
called in ``--weight``, and how strong they are by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..configs.errors import BadInput
from ..configs.names import unknown_name
from ..guidance.algebra import Branch, Guidance, Weight
from ..guidance.conditioning import Condition, Control, as_conditioning
from ..guidance.recipes import RECIPES, interval
from .base import Base
from .custom import Speaker
from .domain import Domain

Weights = Mapping[str, Weight]


@dataclass(frozen=True)
class Extra:
    """A further condition: who says it, to which prompt, how strongly, and which controls it follows."""

    prompt: str
    weight: float
    speaker: Speaker | None = None
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True)
class Ingredients:
    """Models and prompts of one picture; branches are made when a recipe asks for them.

    Controls enter the branches of the prompt only, never the unconditional one (paper 1, section 4).
    """

    base: Base
    prompt: str
    domain: Domain | None = None
    model: Speaker | None = None
    negatives: tuple[str, ...] = ()
    wanted: Mapping[str, float] = field(default_factory=dict)
    unwanted: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, Extra] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    size: int | None = None

    @cached_property
    def null(self) -> Branch:
        """The base without a prompt."""
        return self._of(self.base, "null", "")

    @cached_property
    def text(self) -> Branch:
        """The base with the prompt and the controls."""
        return self._of(self.base, "text", self.prompt, self.controls)

    @cached_property
    def in_domain(self) -> Branch:
        """The domain, which takes no text. BadInput without one."""
        if self.domain is None:
            raise BadInput("this recipe needs a domain; give --domain 'starter' or a folder with domain.json")
        return Branch("domain", self.domain.predictor, self.domain.condition)

    @cached_property
    def custom(self) -> Branch:
        """The custom model with the prompt; the domain where no model is given."""
        if self.model is None:
            return self.in_domain
        return self._of(self.model, "model", self.prompt, self.controls)

    @cached_property
    def custom_null(self) -> Branch:
        """The custom model without a prompt. BadInput without a model that reads prompts."""
        if self.model is None or self.model.condition([""]) is self.model.condition([self.prompt]):
            raise BadInput(
                "this recipe needs a model that reads prompts; give --model a LoRA or a checkpoint"
            )
        return self._of(self.model, "model null", "")

    def negative(self) -> list[Branch]:
        """The base with each negative prompt. BadInput without any."""
        if not self.negatives:
            raise BadInput("this recipe needs a prompt to stay away from; give --negative 'something'")
        return [self._of(self.base, f"negative {i + 1}", text) for i, text in enumerate(self.negatives)]

    def further(self, prompts: Mapping[str, float], sign: str) -> list[tuple[Branch, Weight]]:
        """The base with each of several prompts, and their weights."""
        return [(self._of(self.base, f"{sign}{text}", text), weight) for text, weight in prompts.items()]

    def extra(self) -> list[tuple[Branch, Weight]]:
        """The further conditions by name."""
        return [
            (self._of(one.speaker or self.base, name, one.prompt, one.controls), one.weight)
            for name, one in self.extras.items()
        ]

    def _of(self, speaker: Speaker, name: str, prompt: str, controls: tuple[Control, ...] = ()) -> Branch:
        told: Condition = speaker.condition([prompt], size=self.size)
        if controls:
            told = as_conditioning(told).following(*controls)
        return Branch(name, speaker.predictor, told)


def _negative_prompt(made: Ingredients, w: Weights) -> Guidance:
    negatives = made.negative()
    if len(negatives) > 1:
        raise BadInput("negative_prompt takes one negative prompt; use composable or perp_neg for several")
    return RECIPES["negative_prompt"](negatives[0], made.text, w["text"])


def _in_domain(made: Ingredients, w: Weights) -> Guidance:
    controls = [(made.text, w["text"]), *made.extra()]
    return RECIPES["in_domain"](made.null, (made.in_domain, w["domain"]), controls)


def _composable(made: Ingredients, w: Weights) -> Guidance:
    wanted = [(made.text, w["text"]), *made.further(made.wanted, "and ")]
    return RECIPES["composable"](made.null, wanted, made.further(made.unwanted, "not "))


def _class_and_domain(made: Ingredients, w: Weights) -> Guidance:
    return RECIPES["class_and_domain"](made.custom, made.custom_null, made.null, w["class"], w["domain"])


def _autoguidance(made: Ingredients, w: Weights) -> Guidance:
    if made.model is None:
        raise BadInput("autoguidance needs a worse model of the same kind; give --model an early checkpoint")
    return RECIPES["autoguidance"](made.custom, made.text, w["text"])


def _perp_neg(made: Ingredients, w: Weights) -> Guidance:
    negatives = [(branch, w["negative"]) for branch in made.negative()]
    return RECIPES["perp_neg"](made.null, made.text, negatives, w["text"])


@dataclass(frozen=True)
class PictureRecipe:
    """One recipe as the command offers it: its terms' names with default weights, and how it is put together."""

    formula: str
    weights: Mapping[str, float]
    build: Callable[[Ingredients, Weights], Guidance]


PICTURE_RECIPES: dict[str, PictureRecipe] = {
    "cfg": PictureRecipe(
        "null + w_text (text - null)",
        {"text": 7.5},
        lambda made, w: RECIPES["cfg"](made.null, made.text, w["text"]),
    ),
    "negative_prompt": PictureRecipe("negative + w_text (text - negative)", {"text": 7.5}, _negative_prompt),
    "composable": PictureRecipe(
        "null + w_text (text - null) + sum_i w_i (and_i - null) - sum_j w_j (not_j - null)",
        {"text": 7.5},
        _composable,
    ),
    "in_domain": PictureRecipe(
        "null + w_domain (domain - null) + w_text (text - null) + sum_i w_i (condition_i - null)",
        {"domain": 3.5, "text": 3.5},
        _in_domain,
    ),
    "rectified": PictureRecipe(
        "null + w_model (model - null)",
        {"model": 5.0},
        lambda made, w: RECIPES["rectified"](made.null, made.custom, w["model"]),
    ),
    "domain_guidance": PictureRecipe(
        "null + w_model (model - null)",
        {"model": 1.5},
        lambda made, w: RECIPES["domain_guidance"](made.null, made.custom, w["model"]),
    ),
    "class_and_domain": PictureRecipe(
        "null + w_class (model - model null) + w_domain (model null - null)",
        {"class": 1.5, "domain": 1.5},
        _class_and_domain,
    ),
    "autoguidance": PictureRecipe("model + w_text (text - model)", {"text": 2.0}, _autoguidance),
    "perp_neg": PictureRecipe(
        "null + w_text [(text - null) - sum_i w_negative perp(negative_i - null)]",
        {"text": 7.5, "negative": 1.0},
        _perp_neg,
    ),
}
STARTER_WEIGHTS = {"text": 4.0, "domain": 1.5}
"""What the starter's small networks want instead, measured by ``python -m benchmarks.images``."""


def picture_guidance(
    recipe: str,
    made: Ingredients,
    weights: Mapping[str, float],
    until: Mapping[str, float] | None = None,
) -> Guidance:
    """The guidance of a recipe.

    Args:
        weights: by the names of the recipe's terms; what is left out has its default.
        until: noise fraction t / T up to which a term is on, by name.
    Raises: BadInput for an unknown recipe or name of a weight, a weight that is not a finite number, or a recipe that
        lacks a model or a prompt.
    """
    if recipe not in PICTURE_RECIPES:
        raise unknown_name("recipe", recipe, PICTURE_RECIPES)
    chosen = PICTURE_RECIPES[recipe]
    for name in [*weights, *(until or {})]:
        if name not in chosen.weights:
            raise unknown_name(f"weight of the recipe {recipe}", name, chosen.weights)
    for name, value in weights.items():
        if not math.isfinite(value):
            raise BadInput(f"the weight {name} must be a finite number, not {value}")
    own = STARTER_WEIGHTS if made.base.name == "starter" else {}
    full: dict[str, Weight] = {
        **chosen.weights,
        **{k: v for k, v in own.items() if k in chosen.weights},
        **weights,
    }
    for name, end in (until or {}).items():
        if not 0 <= end <= 1:
            raise BadInput(f"until {name} lies between 0 and 1, not {end}")
        full[name] = interval(full[name], 0.0, end)
    try:
        return chosen.build(made, full)
    except (
        ValueError
    ) as error:  # two branches of one name, and the like: what the user named meets what the recipe has
        raise BadInput(str(error)) from error
