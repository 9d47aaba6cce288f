"""The branches of one picture: which model says what to which prompt, made when a recipe asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ...configs.errors import BadInput
from ...guidance.algebra import Branch, Guidance, Weight
from ...guidance.conditioning import Condition, Control, ImagePrompt, Shown, as_conditioning
from ...guidance.predictors import ConditionalDenoiser

if TYPE_CHECKING:  # settings are settled before any model is loaded, and diffusers takes seconds to import
    from ..domain.model import Domain


@dataclass(frozen=True)
class Extra:
    """A further condition: which model says it to which prompt, how strongly, and its own controls and pictures."""

    prompt: str
    weight: Weight
    model: ConditionalDenoiser | None = None
    controls: tuple[Control, ...] = ()
    images: tuple[Shown, ...] = ()


@dataclass(frozen=True)
class OtherView:
    """The prompt of another view than each sample's own: its framings, and how much each sample stays away from it."""

    framings: tuple[str, ...]
    factors: tuple[float, ...]


@dataclass(frozen=True)
class Ingredients:
    """Models and prompts of one picture, or of a batch of views; branches are made when a recipe asks for them.

    Controls enter the branches of the prompt only, never the unconditional one (paper 1, section 4), but for
    ``controls_of_all``, which every branch that reads text follows, as diffusers does with both halves of its guidance.
    Image prompts are shown to the branches of the prompt; all others that read text see no picture in their place,
    which is not the same as being without them (diffusers shows its unconditional half zeros).
    Into the branches of the prompt alone go the words of ``framings``, one for the whole batch or one per sample: they
    say how the subject is seen, whatever it is, and nothing that is to be stayed away from. An empty prompt stays the
    unconditional one.
    """

    base: ConditionalDenoiser
    prompt: str
    domain: Domain | None = None
    model: ConditionalDenoiser | None = None
    negatives: tuple[str, ...] = ()
    wanted: Mapping[str, float] = field(default_factory=dict)
    unwanted: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, Extra] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    controls_of_all: tuple[Control, ...] = ()
    images: tuple[Shown, ...] = ()
    size: int | tuple[int, int] | None = None
    framings: tuple[str, ...] = ("",)
    other_views: Mapping[str, OtherView] = field(default_factory=dict)

    @cached_property
    def null(self) -> Branch:
        """The base without a prompt."""
        return self._of(self.base, "null", "")

    @cached_property
    def text(self) -> Branch:
        """The base with the prompt, the controls and the image prompts."""
        return self._of(self.base, "text", self.prompt, self.controls, self.images, seen=True)

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
        return self._of(self.model, "model", self.prompt, self.controls, self.images, seen=True)

    @cached_property
    def custom_null(self) -> Branch:
        """The custom model without a prompt. BadInput without a model that reads prompts."""
        if self.model is None or self.model.condition([""]) is self.model.condition([self.prompt]):
            raise BadInput(
                "this recipe needs a model that reads prompts; give --model a LoRA or a checkpoint"
            )
        return self._of(self.model, "model null", "")

    @cached_property
    def start(self) -> Branch:
        """Where text is pushed away from: the negative prompt if there is one, else no prompt at all."""
        if len(self.negatives) > 1:
            raise BadInput("this recipe takes one negative prompt; use composable or perp_neg for several")
        return self.negative()[0] if self.negatives else self.null

    def negative(self) -> list[Branch]:
        """The base with each negative prompt. BadInput without any."""
        if not self.negatives:
            raise BadInput("this recipe needs a prompt to stay away from; give --negative 'something'")
        return [self._of(self.base, f"negative {i + 1}", text) for i, text in enumerate(self.negatives)]

    def unlike(self) -> list[tuple[Branch, tuple[float, ...]]]:
        """The base with the prompt of each other view, and a factor for each sample."""
        return [
            (
                replace(self, framings=one.framings)._of(self.base, f"not {view}", self.prompt, seen=True),
                one.factors,
            )
            for view, one in self.other_views.items()
        ]

    @cached_property
    def flawed(self) -> Branch:
        """The base with the prompt and words for what is wrong with the picture, the negative prompts."""
        words = ", ".join([self.prompt, *(text for text in self.negatives if text)])
        if words == self.prompt:
            raise BadInput(
                "this recipe needs words for a picture's flaws; give --negative 'blurry, low quality'"
            )
        return self._of(self.base, "flawed", words, self.controls, self.images, seen=True)

    def further(self, prompts: Mapping[str, float], sign: str) -> list[tuple[Branch, Weight]]:
        """The base with each of several prompts, and their weights; ``sign`` is ``and`` or ``not``."""
        seen = sign == "and"
        return [
            (self._of(self.base, f"{sign} {text}", text, seen=seen), weight)
            for text, weight in prompts.items()
        ]

    def extra(self) -> list[tuple[Branch, Weight]]:
        """The further conditions by name."""
        return [
            (
                self._of(one.model or self.base, name, one.prompt, one.controls, one.images, seen=True),
                one.weight,
            )
            for name, one in self.extras.items()
        ]

    @property
    def all_images(self) -> tuple[Shown, ...]:
        """Image prompts of the prompt and of every further condition."""
        return (*self.images, *(image for one in self.extras.values() for image in one.images))

    def _of(
        self,
        model: ConditionalDenoiser,
        name: str,
        prompt: str,
        controls: tuple[Control, ...] = (),
        images: tuple[Shown, ...] = (),
        *,
        seen: bool = False,
    ) -> Branch:
        prompts = [framed(prompt, words) for words in self.framings] if seen and prompt else [prompt]
        told: Condition = model.condition(prompts, size=self.size)
        # ControlNets read the text of their branch, and pictures stand beside it.
        if as_conditioning(told).text is None:
            return Branch(name, model.predictor, told)
        controls = (*self.controls_of_all, *controls)
        if controls:
            told = as_conditioning(told).following(*controls)
        if every := self.all_images:
            told = as_conditioning(told).shown(
                *(one.picture if one in images else one.nothing for one in every)
            )
        return Branch(name, model.predictor, told)


def refuse_unheard(guidance: Guidance, made: Ingredients) -> None:
    """BadInput where a control or an image prompt was given that no branch hears: none that would reads text."""
    told = [as_conditioning(branch.condition) for branch in guidance.branches]
    heard: list[Control | ImagePrompt] = [one for each in told for one in (*each.controls, *each.images)]
    controls = [
        *made.controls,
        *made.controls_of_all,
        *(c for one in made.extras.values() for c in one.controls),
    ]
    pictures = [one.picture for one in made.all_images]
    for option, verb, given in (("--control", "followed", controls), ("--image-prompt", "seen", pictures)):
        if any(one not in heard for one in given):
            raise BadInput(
                f"{option} is {verb} by branches that read text, and the one that it is for is a domain, which reads "
                "none; leave it out, or choose a recipe with the term text"
            )


def framed(prompt: str, *words: str) -> str:
    """A prompt with words for how its subject is seen: ``a vase, front view, grey background``; empty ones add none."""
    return ", ".join(part for part in (prompt, *words) if part)
