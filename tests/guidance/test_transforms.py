"""What goes beyond the affine sum: equal to diffusers' guiders, and to the formula where it should be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import guiders

from slipcast.guidance import Branch, Guidance, Term
from slipcast.guidance.recipes import (
    apg,
    cfg,
    cfg_zero_star,
    frequency_decoupled,
    magnitude_aware,
    norm_cap,
    rescale,
)
from slipcast.guidance.transforms import NormCapped

NOBODY: Any = object()
NULL, TEXT = Branch("null", NOBODY, torch.zeros(1)), Branch("text", NOBODY, torch.ones(1))


def answers(seed: int = 0, batch: int = 3) -> dict[Branch, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    null = torch.randn(batch, 4, 8, 8, generator=generator)
    return {NULL: null, TEXT: null + 0.4 * torch.randn(null.shape, generator=generator)}


def of(guidance: Guidance, eps: dict[Branch, torch.Tensor], **options: Any) -> torch.Tensor:
    return guidance.combine(eps, [0.5] * len(eps[NULL]), **options)


@pytest.mark.parametrize("weight", [1.5, 3.0, 7.5])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda w: apg(NULL, TEXT, w, eta=0.3, norm_cap=2.5),
            lambda w: guiders.AdaptiveProjectedGuidance(
                guidance_scale=w, eta=0.3, adaptive_projected_guidance_rescale=2.5
            ),
        ),
        (
            lambda w: apg(NULL, TEXT, w, eta=0.0, norm_cap=1e9),
            lambda w: guiders.AdaptiveProjectedGuidance(
                guidance_scale=w, eta=0.0, adaptive_projected_guidance_rescale=1e9
            ),
        ),
        (
            lambda w: rescale(NULL, TEXT, w, phi=0.6),
            lambda w: guiders.ClassifierFreeGuidance(guidance_scale=w, guidance_rescale=0.6),
        ),
        (
            lambda w: cfg_zero_star(NULL, TEXT, w),
            lambda w: guiders.ClassifierFreeZeroStarGuidance(guidance_scale=w, zero_init_steps=0),
        ),
        (
            lambda w: magnitude_aware(NULL, TEXT, w, alpha=2.0),
            lambda w: guiders.MagnitudeAwareGuidance(guidance_scale=w, alpha=2.0),
        ),
        (lambda w: cfg(NULL, TEXT, w), lambda w: guiders.ClassifierFreeGuidance(guidance_scale=w)),
    ],
    ids=["apg", "apg without a cap", "rescale", "zero star", "magnitude aware", "cfg"],
)
def test_each_equals_the_guider_of_its_name(ours, theirs, weight: float) -> None:
    eps = answers()
    guider = theirs(weight)
    guider.set_state(step=5, num_inference_steps=10, timestep=torch.tensor(500))
    # As tokens [B, C, h w]: one of theirs takes the norm of matrices only, and sums over all entries do not care.
    expected = guider.forward(eps[TEXT].flatten(2), eps[NULL].flatten(2)).pred.view_as(eps[NULL])
    assert torch.allclose(of(ours(weight), eps), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "plain",
    [
        lambda w: apg(NULL, TEXT, w, eta=1.0),
        lambda w: rescale(NULL, TEXT, w, phi=0.0),
        lambda w: norm_cap(NULL, TEXT, w, ratio=1e9),
        lambda w: magnitude_aware(NULL, TEXT, w, alpha=0.0),
        lambda w: frequency_decoupled(NULL, TEXT, w, w),
    ],
    ids=["apg", "rescale", "norm cap", "magnitude aware", "frequency decoupled"],
)
@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
def test_each_is_cfg_at_its_neutral_setting(plain, weight: float) -> None:
    eps = answers()
    assert torch.allclose(of(plain(weight), eps), of(cfg(NULL, TEXT, weight), eps), atol=1e-5)


def test_apg_leaves_nothing_along_the_conditional_branch() -> None:
    eps = answers()
    added = of(apg(NULL, TEXT, 5.0), eps) - eps[NULL]
    cosine = torch.cosine_similarity(added.flatten(1), eps[TEXT].flatten(1))
    assert cosine.abs().max() < 1e-5


def test_the_cap_of_a_norm_is_kept_and_directions_stay() -> None:
    eps = answers()
    plain, capped = of(cfg(NULL, TEXT, 9.0), eps), of(norm_cap(NULL, TEXT, 9.0, ratio=1.1), eps)
    longest = 1.1 * eps[TEXT].flatten(1).norm(dim=1)
    assert torch.allclose(capped.flatten(1).norm(dim=1), longest, rtol=1e-5)
    assert torch.cosine_similarity(plain.flatten(1), capped.flatten(1)).min() > 0.99999


def test_a_rescaled_prediction_has_the_contrast_of_its_branch() -> None:
    eps = answers()
    made = of(rescale(NULL, TEXT, 9.0, phi=1.0), eps)
    assert torch.allclose(made.std((1, 2, 3)), eps[TEXT].std((1, 2, 3)), rtol=1e-5)


def test_zero_star_explains_the_conditional_branch_as_well_as_a_multiple_can() -> None:
    eps = answers()
    fitted = of(cfg_zero_star(NULL, TEXT, 0.0), eps)
    residual = (eps[TEXT] - fitted).flatten(1)
    assert ((residual * eps[NULL].flatten(1)).sum(1)).abs().max() < 1e-3
    scaled = eps | {NULL: 3.7 * eps[NULL]}
    made = of(cfg_zero_star(NULL, TEXT, 2.5), eps)
    assert torch.allclose(of(cfg_zero_star(NULL, TEXT, 2.5), scaled), made, atol=1e-4)


def test_low_frequencies_are_those_that_survive_halving() -> None:
    flat = torch.full((2, 4, 8, 8), 0.7)
    checks = torch.ones(2, 4, 8, 8)
    checks[..., ::2, 1::2] = checks[..., 1::2, ::2] = -1
    for pattern, low, high in ((flat, 3.0, 9.0), (checks, 9.0, 3.0)):
        eps = {NULL: torch.zeros_like(pattern), TEXT: pattern}
        assert torch.allclose(of(frequency_decoupled(NULL, TEXT, low, high), eps), 3.0 * pattern, atol=1e-6)


@pytest.mark.parametrize(
    "guidance",
    [
        rescale(NULL, TEXT, 4.0),
        cfg_zero_star(NULL, TEXT, 4.0),
        apg(NULL, TEXT, 4.0),
        magnitude_aware(NULL, TEXT, 4.0),
    ],
    ids=["rescale", "zero star", "apg", "magnitude aware"],
)
def test_without_its_base_a_prediction_is_what_was_added_to_it(guidance: Guidance) -> None:
    eps = answers()
    base = dict(eps) if guidance.adjustment is None else guidance.adjustment(eps)
    added = of(guidance, eps, drop_base=True)
    assert torch.allclose(added + base[NULL], of(guidance, eps), atol=1e-5)
    assert set(guidance.needed([0.5], drop_base=True)) == {NULL, TEXT}


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_nobody_reads_is_not_evaluated(weight: float) -> None:
    read = {0.0: (NULL,), 1.0: (TEXT,)}[weight]
    assert cfg(NULL, TEXT, weight).needed([0.5]) == read
    assert magnitude_aware(NULL, TEXT, 0.0).needed([0.5]) == (NULL,)
    other = Branch("other", NOBODY, torch.full((1,), 2.0))
    capped = Guidance(NULL, [Term(TEXT, NULL, weight)], final=NormCapped(other))
    assert set(capped.needed([0.5])) == {*read, other}
    assert capped.branches == (NULL, TEXT, other)


def test_samples_do_not_know_of_each_other() -> None:
    eps = answers(batch=3)
    for guidance in (
        apg(NULL, TEXT, 3.0, norm_cap=1.0),
        rescale(NULL, TEXT, 3.0),
        cfg_zero_star(NULL, TEXT, 3.0),
    ):
        alone = torch.cat([of(guidance, {b: e[i : i + 1] for b, e in eps.items()}) for i in range(3)])
        assert torch.allclose(alone, of(guidance, eps), atol=1e-6)
