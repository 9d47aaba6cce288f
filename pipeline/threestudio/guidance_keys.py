"""What becomes of the keys that say what guides: networks, prompts, scales, noise."""

from __future__ import annotations

from typing import Any

from ...systems.models.aliases import MOVED
from ...systems.models.known import ALIASES
from .mapping import CONVERTED, NONE, REFUSED, TAKEN, Mapped, Rule, Verdict, ends, over_steps, text
from .variational_keys import UNIFIED, VARIATIONAL_RULES, VSD, is_variational

_NETWORK_SEES = 512  # pixels that threestudio's renders are scaled to before they are encoded
_GUIDANCE = "system.guidance"
_GUIDANCES = {
    "stable-diffusion-guidance": 1.0,  # the text + s (text - null)
    UNIFIED: 0.0,  # null + s (text - null)
    VSD: 0.0,  # the same
    "slipcast-multi-guidance": 1.0,  # counts as the first does
}
"""Those that can be led to a recipe, and what is added to their scale for our weight."""
_STRANGERS = {
    "sdi": "score distillation via inversion draws its noise by an inversion of its own",
    "floyd": "DeepFloyd's networks on pixels are none that slipcast reads",
    "zero123": "Zero123's networks, told a picture and a turn, are none that slipcast reads",
    "controlnet": "refinement looks from all sides, and a ControlNet's picture from one",
    "instructpix2pix": "editing networks are none that slipcast reads",
}


def _guidance(read: Mapped, key: str, value: Any) -> Verdict:
    # Without a domain beside the base both recipes are this one; said, so that a domain may be put beside it.
    if value == "slipcast-multi-guidance":
        return (
            CONVERTED,
            "its server knows models and recipe; here base=, domain= and refine.recipe= name them",
        )
    if value in _GUIDANCES:
        between_views = read.value("system.prompt_processor.use_perp_neg")
        told = [
            read.put("image.recipe", "cfg"),
            read.put("refine.recipe", "perp_neg" if between_views else "cfg"),
        ]
        told.append(read.put("refine.size", _NETWORK_SEES))
        if is_variational(read):
            told.append(read.put("refine.score", "vsd"))
        return (
            CONVERTED,
            f"{', '.join(told)} (its renders are scaled to {_NETWORK_SEES} pixels, ours are that size)",
        )
    why = next((why for name, why in _STRANGERS.items() if name in str(value)), "it is not known here")
    return REFUSED, f"{why}; give system.guidance_type=stable-diffusion-guidance for plain score distillation"


def _kind(read: Mapped, key: str, value: Any) -> Verdict:
    if value == "vsd" and is_variational(read):
        return TAKEN, "refine.score=vsd"
    return (TAKEN, "") if value == "sds" else (REFUSED, "the kinds that have a counterpart are sds and vsd")


def _base(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    hub_id = MOVED.get(said, said)
    alias = next((name for name, one in ALIASES.items() if one.hub_id == hub_id and not one.files), said)
    told = read.put("base", alias)
    return (CONVERTED if alias != said else TAKEN), told


def _scale(read: Mapped, key: str, value: Any) -> Verdict:
    kind = str(read.value("system.guidance_type"))
    more = 0.0 if read.value("system.prompt_processor.use_perp_neg") else _GUIDANCES.get(kind, 0.0)
    told = read.put("refine.text_weight", ends(read, key, value)[1] + more)
    return (CONVERTED, f"{told} (null + w (text - null))") if more else (TAKEN, told)


def weight(read: Mapped, key: str, value: Any) -> Verdict:
    """A weight by its term's name, as slipcast-multi-guidance has them."""
    name = key.rpartition(".")[2]
    weights = read.settings.setdefault("refine.weights", {})
    weights[name] = ends(read, key, value)[1]
    return TAKEN, f"refine.weights={weights}"


def _annealing(read: Mapped, key: str, value: Any) -> Verdict:
    return (CONVERTED, read.put("refine.timesteps", "sqrt")) if value else (TAKEN, "off")


def _number(name: str) -> Rule:
    """A number or schedule that is ours as it is."""
    return lambda read, key, value: (TAKEN, read.put(name, over_steps(read, key, value)))


def _t_max(read: Mapped, key: str, value: Any) -> Verdict:
    told = over_steps(read, key, value)
    said = read.put("refine.t_max", told)
    # Without a schedule refinement would go down to its own last value.
    return TAKEN, said if isinstance(told, list) else f"{said} {read.put('refine.t_max_end', told)}"


def _prompt(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    if said.startswith("lib:"):
        return REFUSED, "threestudio's library of prompts does not come along; write the prompt out"
    read.prompt = said
    return TAKEN, "prompt"


def _negative(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    return (TAKEN, read.put("refine.negative", [said])) if said else (TAKEN, "none")


def _reader(read: Mapped, key: str, value: Any) -> Verdict:
    return CONVERTED, "the base reads prompts itself"


def _perp_neg(read: Mapped, key: str, value: Any) -> Verdict:
    if not value:
        return TAKEN, "off"
    return CONVERTED, f"{read.put('refine.view_negatives', 1.0)}, the base alone, without a domain"


def _view_words(read: Mapped, key: str, value: Any) -> Verdict:
    return (
        (TAKEN, "each view is told its own words") if value else (NONE, "views are always told their words")
    )


def _pixels(read: Mapped, key: str, value: Any) -> Verdict:
    if read.value("system.guidance_type") == "slipcast-multi-guidance":
        return NONE, "renders have the size that the network sees: refine.size"
    return CONVERTED, f"renders have the size that the network sees: refine.size={_NETWORK_SEES}"


GUIDANCE_RULES: dict[str, Rule] = {
    "data.width": _pixels,
    "data.height": _pixels,
    "system.prompt_processor_type": _reader,
    "system.prompt_processor.pretrained_model_name_or_path": _reader,
    "system.prompt_processor.prompt": _prompt,
    "system.prompt_processor.negative_prompt": _negative,
    "system.prompt_processor.use_perp_neg": _perp_neg,
    "system.guidance_type": _guidance,
    f"{_GUIDANCE}.guidance_type": _kind,
    f"{_GUIDANCE}.pretrained_model_name_or_path": _base,
    f"{_GUIDANCE}.guidance_scale": _scale,
    f"{_GUIDANCE}.min_step_percent": _number("refine.t_min"),
    f"{_GUIDANCE}.max_step_percent": _t_max,
    f"{_GUIDANCE}.sqrt_anneal": _annealing,
    f"{_GUIDANCE}.grad_clip": _number("refine.grad_clamp"),
    f"{_GUIDANCE}.view_dependent_prompting": _view_words,
    **VARIATIONAL_RULES,
}
"""By dotted name."""
