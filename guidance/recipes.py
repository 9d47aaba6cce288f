"""The guidance methods of the literature, each a base and a list of terms.

Weights follow ``algebra``: w = 1 returns the positive branch, w = 0 the base. Seven of the first nine are
one picture, arrows from one base to several targets: ``around``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .algebra import Branch, Guidance, OverTime, PerSample, Term, Weight
from .distillation import LITTLE_NOISE
from .transforms import Band, MagnitudeAware, NormCapped, PerpendicularTo, Projected, Rescaled, ZeroStar

Weighted = tuple[Branch, Weight]


def around(base: Branch, *targets: Weighted) -> Guidance:
    """eps_base + sum_i w_i (eps_i - eps_base)."""
    return Guidance(base, [Term(target, base, weight) for target, weight in targets])


def cfg(unconditional: Branch, conditional: Branch, weight: Weight) -> Guidance:
    """Classifier-free guidance (arxiv.org/abs/2207.12598), at diffusers' ``guidance_scale``.

    eps(0) + w (eps(c) - eps(0))
    """
    return around(unconditional, (conditional, weight))


def negative_prompt(negative: Branch, conditional: Branch, weight: Weight) -> Guidance:
    """CFG whose base is a text to get away from: eps(n) + w (eps(c) - eps(n))."""
    return around(negative, (conditional, weight))


def bridge(unconditional: Branch, conditional: Branch, flawed: Branch, weight: Weight) -> Guidance:
    """A bridge from what a picture is to what it should be (SDS-Bridge, arxiv.org/abs/2406.09417).

    eps(0) + w (eps(c) - eps(f)), f the prompt with words for the picture's present flaws. Distilled without its base
    (``csd``) it is the paper's gradient eps(c) - eps(f).
    """
    return Guidance(unconditional, [Term(conditional, flawed, weight)])


def composable(
    unconditional: Branch, wanted: Sequence[Weighted], unwanted: Sequence[Weighted] = ()
) -> Guidance:
    """Composable diffusion (arxiv.org/abs/2206.01714): AND over ``wanted``, NOT over ``unwanted``.

    eps(0) + sum_i w_i (eps(c_i) - eps(0)) - sum_j w_j (eps(n_j) - eps(0))
    """
    return around(unconditional, *wanted, *((branch, _scaled(weight, -1.0)) for branch, weight in unwanted))


def in_domain(base: Branch, domain: Weighted, controls: Sequence[Weighted] = ()) -> Guidance:
    """Multi-guidance of concept-centric personalisation (arxiv.org/abs/2312.08195, Eq. 6), K controls.

    (1 - w_g - sum w_c) eps_sd(0) + w_g eps_d + sum_c w_c eps_k(c): the frozen prior's null text is the
    base, the null-text domain model and the controls are the targets.
    """
    return around(base, domain, *controls)


def rectified(prior_unconditional: Branch, custom: Branch, weight: Weight) -> Guidance:
    """A personalised model guided from the ORIGINAL null text (arxiv.org/abs/2312.08195, section 4.5).

    eps_sd(0) + w (eps_m(c) - eps_sd(0)): fine-tuning moved eps_m(0), which CFG would use.
    """
    return around(prior_unconditional, (custom, weight))


def domain_guidance(pretrained_unconditional: Branch, finetuned: Branch, weight: Weight) -> Guidance:
    """Domain guidance (DoG, arxiv.org/abs/2504.01521): fine-tuned (c) against pre-trained (null).

    eps_ft(c) + (w - 1) (eps_ft(c) - eps_pre(0)); the paper's w, best between 1.4 and 2.
    """
    return around(pretrained_unconditional, (finetuned, weight))


def class_and_domain(
    finetuned: Branch,
    finetuned_null: Branch,
    pretrained_null: Branch,
    class_weight: Weight,
    domain_weight: Weight,
) -> Guidance:
    """Domain guidance split in its two axes; equal weights telescope to ``domain_guidance``.

    eps_pre(0) + w_c (eps_ft(c) - eps_ft(0)) + w_d (eps_ft(0) - eps_pre(0))
    """
    to_class = Term(finetuned, finetuned_null, class_weight)
    to_domain = Term(finetuned_null, pretrained_null, domain_weight)
    return Guidance(pretrained_null, [to_class, to_domain])


def autoguidance(bad: Branch, good: Branch, weight: Weight) -> Guidance:
    """A model guided by a worse version of itself (arxiv.org/abs/2406.02507).

    eps_bad + w (eps_good - eps_bad)
    """
    return around(bad, (good, weight))


def perp_neg(
    unconditional: Branch, positive: Branch, negatives: Sequence[Weighted], weight: Weight
) -> Guidance:
    """Perp-Neg (arxiv.org/abs/2304.04968): negatives push only across d = eps(c) - eps(0).

    eps(0) + w d - w sum_i w_i perp_d(eps(n_i) - eps(0))
    """
    across = PerpendicularTo(positive, unconditional)
    pushes = [
        Term(negative, unconditional, _scaled(weight, -1.0, strength), transform=across)
        for negative, strength in negatives
    ]
    return Guidance(unconditional, [Term(positive, unconditional, weight), *pushes])


def apg(
    unconditional: Branch, conditional: Branch, weight: Weight, *, eta: float = 0.0, norm_cap: float = 0.0
) -> Guidance:
    """Adaptive projected guidance (arxiv.org/abs/2410.02416): large weights without burnt colours.

    eps(0) + w (perp + eta par), perp and par of eps(c) - eps(0), at most ``norm_cap`` long, relative to eps(c).
    """
    projected = Projected(conditional, eta, norm_cap)
    return Guidance(unconditional, [Term(conditional, unconditional, weight, transform=projected)])


def rescale(unconditional: Branch, conditional: Branch, weight: Weight, *, phi: float = 0.7) -> Guidance:
    """CFG with the contrast of the conditional branch (arxiv.org/abs/2305.08891, section 3.4)."""
    return replace(cfg(unconditional, conditional, weight), final=Rescaled(conditional, phi))


def norm_cap(unconditional: Branch, conditional: Branch, weight: Weight, *, ratio: float = 1.0) -> Guidance:
    """CFG, never longer than ``ratio`` times the conditional branch."""
    return replace(cfg(unconditional, conditional, weight), final=NormCapped(conditional, ratio))


def cfg_zero_star(unconditional: Branch, conditional: Branch, weight: Weight) -> Guidance:
    """CFG-Zero* (arxiv.org/abs/2503.18886): CFG from an unconditional branch that is scaled to fit."""
    adjustment = ZeroStar(unconditional, conditional)
    return replace(cfg(unconditional, conditional, weight), adjustment=adjustment)


def magnitude_aware(
    unconditional: Branch, conditional: Branch, weight: Weight, *, alpha: float = 8.0
) -> Guidance:
    """CFG whose weight falls towards 1 where the difference is long, as it is near pure noise."""
    careful = MagnitudeAware(unconditional, alpha)
    return Guidance(unconditional, [Term(conditional, unconditional, weight, adaptive=careful)])


def frequency_decoupled(
    unconditional: Branch, conditional: Branch, low_weight: Weight, high_weight: Weight
) -> Guidance:
    """Frequency-decoupled guidance (arxiv.org/abs/2506.19713): weights of their own for shape and detail.

    eps(0) + w_low low(d) + w_high high(d), d = eps(c) - eps(0); equal weights are CFG.
    """
    bands = ((Band(low=True), low_weight), (Band(low=False), high_weight))
    return Guidance(
        unconditional, [Term(conditional, unconditional, weight, transform=band) for band, weight in bands]
    )


RECIPES: dict[str, Callable[..., Guidance]] = {
    "cfg": cfg,
    "negative_prompt": negative_prompt,
    "bridge": bridge,
    "composable": composable,
    "in_domain": in_domain,
    "rectified": rectified,
    "domain_guidance": domain_guidance,
    "class_and_domain": class_and_domain,
    "autoguidance": autoguidance,
    "perp_neg": perp_neg,
    "apg": apg,
    "rescale": rescale,
    "norm_cap": norm_cap,
    "cfg_zero_star": cfg_zero_star,
    "magnitude_aware": magnitude_aware,
    "frequency_decoupled": frequency_decoupled,
}


def interval(weight: OverTime, t_min: float = 0.0, t_max: float = 1.0) -> Callable[[float], float]:
    """A weight that is 0 outside t_min <= t / T <= t_max (guidance interval, arxiv.org/abs/2404.07724).

    Outside it the branch is not even evaluated. Domain guidance switched off near pure noise (t_max 0.5)
    keeps the shapes that the domain has never seen.
    """
    if not 0 <= t_min <= t_max <= 1:
        raise ValueError(f"A guidance interval needs 0 <= t_min <= t_max <= 1, not {t_min} and {t_max}.")
    return lambda t: _at(weight, t) if t_min <= t <= t_max else 0.0


def quieter(guidance: Guidance, share: float, full_at: float) -> Guidance:
    """The same terms, with weights that are ``share`` of themselves at t = 0 and rise linearly to all at t = full_at.

    Score distillation asks at low noise, too, where shape and layout are settled: strong guidance adds nothing there
    but saturation, step after step in the same direction.
    """
    if not 0 <= share <= 1 or not 0 < full_at <= 1:
        raise ValueError(f"share lies in [0, 1] and full_at in ]0, 1], not {share} and {full_at}.")

    def risen(weight: Weight) -> Weight:
        return _scaled(weight, 1.0, lambda t: min(1.0, share + (1 - share) * t / full_at))

    return replace(guidance, terms=[replace(term, weight=risen(term.weight)) for term in guidance.terms])


def noise_free(guidance: Guidance, ugly: Branch) -> Guidance:
    """With what noise-free distillation puts in the base's place where there is noise (arxiv.org/abs/2310.17590).

    + (eps_base - eps_ugly) at t / T >= 0.2; ``ugly`` is told what pictures should not be, such as "blurry".
    """
    return replace(guidance, terms=[*guidance.terms, Term(guidance.base, ugly, interval(1.0, LITTLE_NOISE))])


def _at(weight: OverTime, t: float) -> float:
    return float(weight(t)) if callable(weight) else float(weight)


def _scaled(weight: Weight, sign: float, factor: Weight = 1.0) -> Weight:
    """sign * factor * weight; a constant stays a constant."""
    if isinstance(weight, PerSample):
        return PerSample(_scaled(weight.weight, sign, factor), weight.factors)
    if isinstance(factor, PerSample):
        return PerSample(_scaled(weight, sign, factor.weight), factor.factors)
    if callable(weight) or callable(factor):
        return lambda t: sign * _at(factor, t) * _at(weight, t)
    return sign * factor * weight
