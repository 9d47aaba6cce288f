"""Which guidance a method is drawn with, and how strong: by the norm rule, before any distance is measured.

    w_i = rho_i w_0 N_ref / N_i                                          (arxiv.org/abs/2312.08195, section 4.1)

Ours (Eq. 6): the domain and the text each move the prediction as far as half of plain guidance at w_0 does; without a
prompt the text's half is left out. The other methods are drawn as their users draw them, by classifier-free guidance:
of the domain alone at w_0 / 2, with a word at w_0, which is what the same rule says of one guidance beside itself.
Every method is drawn without guidance as well, so that none loses by a weight that does not suit it.
"""

from __future__ import annotations

from typing import Any

from ...guidance.algebra import Guidance
from ...guidance.conditioning import Control
from ...guidance.evaluation import GuidedNoise
from ...systems.baselines.table import OURS, baseline_named
from ...systems.baselines.tasks import Learned
from ...systems.domain.model import Domain
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Ingredients
from ...systems.guided.recipes import guided_noise_for
from ...systems.models.base import Base
from .scales import Scale

PRIOR = "prior"
"""The base as it is: the row that the alignment of all others is compared with."""


def ingredients(
    method: str, model: Learned | Base, scale: Scale, word: str = "", controls: tuple[Control, ...] = ()
) -> Ingredients:
    """The branches of a picture of a word, or of the domain alone."""
    token = method not in (PRIOR,) and baseline_named(method).token
    template = scale.asked if word else scale.prompt
    prompt = scale.said(template, token=token, word=word)
    if method != OURS:
        return Ingredients(model, prompt, controls=controls)
    assert isinstance(model, Learned)
    predictor: Any = model.predictor
    domain = Domain(scale.domain, {}, predictor.network, predictor, model.base.unconditional, model.identity)
    return Ingredients(model.base, prompt, domain=domain, controls=controls)


def weights_of(method: str, model: Learned | Base, scale: Scale) -> dict[str, float]:
    """The weights of ``guided``: {"text"}, or for ours {"domain", "text"}, measured over some words."""
    if method != OURS:
        return {"text": scale.total}
    assert isinstance(model, Learned)
    base = model.base
    found = [
        balanced(
            ingredients(method, model, scale, word),
            scale.total,
            base.sampler(scale.scheduler),
            base.latent_shape,
            device=base.device,
        )
        for word in scale.known[:4]
    ]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def guided(
    method: str,
    model: Learned | Base,
    scale: Scale,
    weights: dict[str, float],
    *,
    word: str = "",
    controls: tuple[Control, ...] = (),
) -> GuidedNoise:
    """Of a word, or of the domain alone; with controls, the edges share the domain's prompt."""
    made = ingredients(method, model, scale, word, controls)
    asked = bool(word or controls)
    if method == OURS:
        chosen = weights if asked else {"domain": weights["domain"], "text": 0.0}
        return guided_noise_for("in_domain", made, chosen)
    return guided_noise_for("cfg", made, {"text": weights["text"] / (1 if asked else 2)})


def unguided(method: str, model: Learned | Base, scale: Scale) -> GuidedNoise:
    """The domain alone, without guidance."""
    made = ingredients(method, model, scale)
    return GuidedNoise(Guidance(made.in_domain if method == OURS else made.text))


def rectified(method: str, model: Learned, scale: Scale) -> GuidedNoise:
    """The domain alone, guided from the base's null text instead of the model's own (section 4.5)."""
    prompt = ingredients(method, model, scale).prompt
    made = Ingredients(model.base, prompt, model=model)
    return guided_noise_for("rectified", made, {"model": scale.total / 2})


def null_of(model: Learned | Base) -> GuidedNoise:
    """What a model draws when nothing is said."""
    return GuidedNoise(Guidance(Ingredients(model, "").null))
