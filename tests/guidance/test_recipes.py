"""Every recipe against the closed form of its paper, on random tensors."""

from __future__ import annotations

import pytest
import torch

from slipcast.guidance import RECIPES, GuidedNoise
from slipcast.guidance.recipes import interval, quieter

X_T = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
T = torch.tensor([10, 800])


def evaluate(guidance) -> torch.Tensor:
    return GuidedNoise(guidance)(X_T, T)


def said(branch) -> torch.Tensor:
    return branch.predictor.eps.expand_as(X_T)


def test_every_recipe_is_checked_here() -> None:
    checked = {name.removeprefix("test_recipe_") for name in globals() if name.startswith("test_recipe_")}
    assert checked == set(RECIPES)


def test_recipe_cfg(branches) -> None:
    null, text = branches(2)
    # Ho & Salimans, Eq. 6, start from the text and write (1 + s): s = w - 1.
    expected = (1 + 6.5) * said(text) - 6.5 * said(null)
    torch.testing.assert_close(evaluate(RECIPES["cfg"](null, text, 7.5)), expected)


def test_recipe_negative_prompt(branches) -> None:
    negative, text = branches(2)
    expected = said(negative) + 5 * (said(text) - said(negative))
    torch.testing.assert_close(evaluate(RECIPES["negative_prompt"](negative, text, 5.0)), expected)


def test_recipe_bridge(branches) -> None:
    null, text, flawed = branches(3)
    expected = said(null) + 5 * (said(text) - said(flawed))
    torch.testing.assert_close(evaluate(RECIPES["bridge"](null, text, flawed, 5.0)), expected)


def test_recipe_composable(branches) -> None:
    null, a, b, no = branches(4)
    guidance = RECIPES["composable"](null, [(a, 3.0), (b, lambda t: 2.0)], [(no, 1.5)])
    expected = (
        said(null) + 3 * (said(a) - said(null)) + 2 * (said(b) - said(null)) - 1.5 * (said(no) - said(null))
    )
    torch.testing.assert_close(evaluate(guidance), expected)


def test_recipe_in_domain(branches) -> None:
    prior_null, domain, control, other = branches(4)
    w_g, w_c, w_o = 2.5, 4.0, 1.5
    guidance = RECIPES["in_domain"](prior_null, (domain, w_g), [(control, w_c), (other, w_o)])
    expected = (
        (1 - w_g - w_c - w_o) * said(prior_null)
        + w_g * said(domain)
        + w_c * said(control)
        + w_o * said(other)
    )
    torch.testing.assert_close(evaluate(guidance), expected)
    unconditional = RECIPES["in_domain"](prior_null, (domain, w_g))
    torch.testing.assert_close(evaluate(unconditional), (1 - w_g) * said(prior_null) + w_g * said(domain))


def test_recipe_rectified(branches) -> None:
    prior_null, custom = branches(2)
    expected = said(prior_null) + 3 * (said(custom) - said(prior_null))
    torch.testing.assert_close(evaluate(RECIPES["rectified"](prior_null, custom, 3.0)), expected)


def test_recipe_domain_guidance(branches) -> None:
    pretrained, finetuned = branches(2)
    # The paper starts from the fine-tuned branch and writes (w - 1).
    expected = said(finetuned) + (1.5 - 1) * (said(finetuned) - said(pretrained))
    torch.testing.assert_close(evaluate(RECIPES["domain_guidance"](pretrained, finetuned, 1.5)), expected)


def test_recipe_class_and_domain(branches) -> None:
    finetuned, finetuned_null, pretrained = branches(3)
    guidance = RECIPES["class_and_domain"](finetuned, finetuned_null, pretrained, 4.0, 1.5)
    expected = said(pretrained) + 4 * (said(finetuned) - said(finetuned_null))
    expected = expected + 1.5 * (said(finetuned_null) - said(pretrained))
    torch.testing.assert_close(evaluate(guidance), expected)


def test_equal_class_and_domain_weights_telescope_to_domain_guidance(branches) -> None:
    finetuned, finetuned_null, pretrained = branches(3)
    split = RECIPES["class_and_domain"](finetuned, finetuned_null, pretrained, 1.7, 1.7)
    whole = RECIPES["domain_guidance"](pretrained, finetuned, 1.7)
    torch.testing.assert_close(evaluate(split), evaluate(whole))
    # The branch in the middle cancels, and is not even asked.
    assert finetuned_null not in split.needed([0.5])


def test_recipe_autoguidance(branches) -> None:
    bad, good = branches(2)
    expected = said(good) + (2 - 1) * (said(good) - said(bad))
    torch.testing.assert_close(evaluate(RECIPES["autoguidance"](bad, good, 2.0)), expected)


def test_recipe_perp_neg(branches) -> None:
    null, positive, no_1, no_2 = branches(4)
    guidance = RECIPES["perp_neg"](null, positive, [(no_1, 0.5), (no_2, lambda t: 1.0)], 7.0)
    direction = (said(positive) - said(null)).flatten(1)

    def across(branch) -> torch.Tensor:
        delta = (said(branch) - said(null)).flatten(1)
        cosine = (delta * direction).sum(1, keepdim=True) / direction.norm(dim=1, keepdim=True)
        return (delta - cosine * direction / direction.norm(dim=1, keepdim=True)).view_as(X_T)

    expected = said(null) + 7 * (said(positive) - said(null) - 0.5 * across(no_1) - 1.0 * across(no_2))
    torch.testing.assert_close(evaluate(guidance), expected)


def length(eps: torch.Tensor) -> torch.Tensor:
    return eps.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def test_recipe_apg(branches) -> None:
    null, text = branches(2)
    delta = said(text) - said(null)
    short = delta * (0.5 / length(delta)).clamp_max(1)
    parallel = dot(short, said(text)) / dot(said(text), said(text)) * said(text)
    expected = said(null) + 4 * (short - parallel + 0.25 * parallel)
    torch.testing.assert_close(evaluate(RECIPES["apg"](null, text, 4.0, eta=0.25, norm_cap=0.5)), expected)


def test_recipe_rescale(branches) -> None:
    null, text = branches(2)
    plain = said(null) + 4 * (said(text) - said(null))
    ratio = said(text).std((1, 2, 3), keepdim=True) / plain.std((1, 2, 3), keepdim=True)
    expected = 0.7 * ratio * plain + 0.3 * plain
    torch.testing.assert_close(evaluate(RECIPES["rescale"](null, text, 4.0)), expected)


def test_recipe_norm_cap(branches) -> None:
    null, text = branches(2)
    plain = said(null) + 4 * (said(text) - said(null))
    assert bool((length(plain) > length(said(text))).all())
    expected = plain / length(plain) * length(said(text))
    torch.testing.assert_close(evaluate(RECIPES["norm_cap"](null, text, 4.0)), expected)


def test_recipe_cfg_zero_star(branches) -> None:
    null, text = branches(2)
    fitted = dot(said(text), said(null)) / dot(said(null), said(null)) * said(null)
    expected = fitted + 4 * (said(text) - fitted)
    torch.testing.assert_close(evaluate(RECIPES["cfg_zero_star"](null, text, 4.0)), expected)


def test_recipe_magnitude_aware(branches) -> None:
    null, text = branches(2)
    delta = said(text) - said(null)
    weight = 1 + 3 * torch.exp(-8 * length(delta) / length(said(null)))
    expected = said(null) + weight * delta
    torch.testing.assert_close(evaluate(RECIPES["magnitude_aware"](null, text, 4.0)), expected)


def test_recipe_frequency_decoupled(branches) -> None:
    null, text = branches(2)
    low = RECIPES["frequency_decoupled"](null, text, 1.0, 0.0)
    high = RECIPES["frequency_decoupled"](null, text, 0.0, 1.0)
    delta = said(text) - said(null)
    both = (evaluate(low) - said(null)) + (evaluate(high) - said(null))
    torch.testing.assert_close(both, delta)
    smooth = evaluate(low) - said(null)
    assert bool(smooth.diff(dim=-1).abs().mean() < delta.diff(dim=-1).abs().mean())
    expected = said(null) + 2 * smooth + 5 * (delta - smooth)
    torch.testing.assert_close(evaluate(RECIPES["frequency_decoupled"](null, text, 2.0, 5.0)), expected)


def test_quieter_guidance_rises_to_its_own_weights(branches) -> None:
    """share of w at t = 0, w from full_at on; a weight that is a function is scaled where it is."""
    null, text = branches(2)
    guidance = RECIPES["cfg"](null, text, 10.0)
    quiet = quieter(guidance, 0.2, 0.5)
    assert [quiet.terms[0].weight_at(t) for t in (0.0, 0.25, 0.5, 0.9)] == pytest.approx(
        [2.0, 6.0, 10.0, 10.0]
    )
    late = quieter(RECIPES["cfg"](null, text, interval(10.0, 0.2, 1.0)), 0.0, 1.0)
    assert [late.terms[0].weight_at(t) for t in (0.1, 0.5, 1.0)] == pytest.approx([0.0, 5.0, 10.0])
    assert quieter(guidance, 1.0, 0.5).terms[0].weight_at(0.0) == 10.0
    for share, full_at in ((-0.1, 0.5), (1.1, 0.5), (0.5, 0.0), (0.5, 1.1)):
        with pytest.raises(ValueError, match="share lies in"):
            quieter(guidance, share, full_at)
