"""How models want to be used: words that put one subject before a plain background, a sampler, guidance, paint.

What a model does not say, the next one says: a domain's own ``domain.json`` first, then the domain's entry in the table
of ``known`` models, the base's entry there, the base's own configs, and ``GENERAL``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.schema.paint import NO_CONTROL

PICTURE, REFINE = "picture", "refine"
"""The two uses that have weights of their own."""


@dataclass(frozen=True)
class Uses:
    """How a model wants to be used; None and missing names say nothing.

    Attributes:
        view: words that a prompt is given so that its subject is seen from the front.
        background: words for a plain background, from which the subject can be cut out.
        scheduler: a name of ``guidance.schedulers.SCHEDULERS``.
        roughness: of the domain's things, 0 glossy to 1 matt.
        weights: {"picture" or "refine": {term of a recipe: weight}}.
        paint: {"steps", "guidance" or "control": what the settings of paint of these names are where they are null}.
    """

    view: str | None = None
    background: str | None = None
    scheduler: str | None = None
    roughness: float | None = None
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    paint: Mapping[str, Any] = field(default_factory=dict)

    def over(self, other: Uses) -> Uses:
        """What this one says, and where it says nothing, what the other does."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        weights = {
            role: {**other.weights.get(role, {}), **self.weights.get(role, {})} for role in (PICTURE, REFINE)
        }
        return replace(other, **own | {"weights": weights, "paint": {**other.paint, **self.paint}})


GENERAL = Uses(
    view="front view",
    background="plain light grey background",
    scheduler="dpm++",
    weights={PICTURE: {}, REFINE: {"domain": 3.0, "text": 5.0}},  # a picture's are the recipes' own
    paint={"steps": 0, "guidance": 1.0, "control": NO_CONTROL},
)
"""Of any model that says nothing itself."""


_DISTILLED = {role: {"text": 1.0} for role in (PICTURE, REFINE)}
"""Weights for a network that has its guidance inside: more on top would burn the colours."""


def uses_of_base(folder: Path) -> Uses:
    """How a base wants to be used by what its configs say: a latent consistency model, a flow model, distilled or not,
    or one of zero terminal SNR.

    Raises:
        BadInput: a config that cannot be read.
    """
    part = "transformer" if (folder / "transformer").is_dir() else "unet"
    configs = [folder / part / "config.json", folder / "scheduler" / "scheduler_config.json"]
    network, scheduler = (
        read_json_object(path, "the model's config", allow_nan=True) if path.is_file() else {}
        for path in configs
    )
    if network.get("time_cond_proj_dim") is not None:
        return Uses(scheduler="lcm", weights=_DISTILLED)
    if scheduler.get("_class_name") == "FlowMatchEulerDiscreteScheduler":
        # Both Flux models that were published are distilled; "guidance_embeds" tells them from Stable Diffusion 3.
        return Uses(scheduler="euler", weights=_DISTILLED if "guidance_embeds" in network else {})
    return Uses(scheduler="ddim" if scheduler.get("rescale_betas_zero_snr") else None)


def uses_of_card(card: Mapping[str, Any], where: Path) -> Uses:
    """What a domain's card says of its use: ``view``, ``background``, ``roughness`` and ``weights``.

    Args:
        where: the card's file, for error sentences.
    Raises: BadInput for something else than texts and numbers.
    """
    for name in ("view", "background"):
        if not isinstance(card.get(name), str | None):
            raise BadInput(f"{name} in {where} expects a text, not {shown(card[name])}")
    roughness = card.get("roughness")
    if roughness is not None and not (_is_number(roughness) and 0 <= roughness <= 1):
        raise BadInput(f"roughness in {where} expects a number from 0 to 1, not {shown(roughness)}")
    weights = card.get("weights") or {}
    fits = isinstance(weights, dict) and all(
        role in (PICTURE, REFINE)
        and isinstance(terms, dict)
        and all(_is_number(weight) for weight in terms.values())
        for role, terms in weights.items()
    )
    if not fits:
        raise BadInput(
            f'weights in {where} expects numbers by term, such as {{"picture": {{"domain": 3.5}}}}, '
            f"not {shown(weights)}"
        )
    return Uses(
        view=card.get("view"),
        background=card.get("background"),
        roughness=None if roughness is None else float(roughness),
        weights=weights,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
