"""Guidance where every score is known: the laws of the mixture, Domain Guidance's theory, and what the toy shows."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from slipcast.guidance import Branch, GaussianPredictor, GuidedNoise, from_diffusers, sample
from slipcast.guidance.algebra import Guidance
from slipcast.guidance.mixture import (
    CLASS_A,
    CLASS_B,
    OUTSIDE,
    DomainToy,
    MixturePredictor,
    ToyFigures,
    domain_toy,
    toy_figures,
)
from slipcast.guidance.recipes import cfg, class_and_domain, domain_guidance

MEANS = torch.tensor([[0.3, -1.0], [1.5, 0.5], [-0.7, 0.9]], dtype=torch.float64)[..., None, None]
WEIGHTS = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64)
TIMES = torch.tensor([0.0, 30.5, 400.0, 999.0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy(predictor: MixturePredictor, t: Tensor, seed: int = 0) -> Tensor:
    """One noisy data point per timestep, [B, 2, 1, 1]."""
    modes = predictor.means[torch.randint(len(predictor.means), (len(t),), generator=seeded(seed))]
    x0 = modes + predictor.variance**0.5 * torch.randn(modes.shape, generator=seeded(seed + 1)).double()
    return predictor.schedule.add_noise(x0, torch.randn(modes.shape, generator=seeded(seed + 2)).double(), t)


def modes_under_noise(predictor: MixturePredictor, t: Tensor) -> Independent:
    """The distribution of every mode [B, K] at t, written out without the predictor."""
    a, s = predictor.schedule.signal_and_noise(t, torch.zeros(1, 1, 1, dtype=torch.float64))
    centres = a * predictor.means.flatten(1)
    width = (a.square() * predictor.variance + s.square()).sqrt()
    return Independent(Normal(centres, width.expand_as(centres)), 1)


def gradient(value: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), x, retain_graph=True)[0]


def score(eps: Tensor, predictor: MixturePredictor, t: Tensor) -> Tensor:
    return -eps / predictor.schedule.signal_and_noise(t, eps)[1]


def assert_same(found: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("weights", [WEIGHTS, torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64)])
def test_the_score_is_the_gradient_of_the_log_density(schedule, weights) -> None:
    mixture = MixturePredictor(MEANS, 0.04, schedule)
    x = noisy(mixture, TIMES).requires_grad_()
    truth = MixtureSameFamily(Categorical(weights.expand(4, -1)), modes_under_noise(mixture, TIMES))
    log_p = truth.log_prob(x.flatten(1))
    (eps,) = mixture.predict(x, TIMES, [weights])
    assert_same(score(eps, mixture, TIMES), gradient(log_p, x))
    assert_same(mixture.log_density(x, TIMES, weights), log_p)


def test_one_mode_is_a_gaussian(schedule) -> None:
    gaussian = GaussianPredictor(MEANS[0], 0.3, schedule)
    t = torch.tensor([0, 30, 400, 999])
    for means in (MEANS[:1], MEANS[[0, 0, 0]]):
        mixture = MixturePredictor(means, 0.3, schedule)
        x = noisy(mixture, t)
        torch.testing.assert_close(mixture.predict(x, t, [None]), gaussian.predict(x, t, [None]))
    one_of_three = torch.tensor([[1.0, 0.0, 0.0]])
    mixture = MixturePredictor(MEANS, 0.3, schedule)
    torch.testing.assert_close(mixture.predict(x, t, [one_of_three]), gaussian.predict(x, t, [None]))


def test_weights_need_no_scale_and_may_differ_from_sample_to_sample(schedule) -> None:
    mixture = MixturePredictor(MEANS, 0.04, schedule)
    x = noisy(mixture, TIMES)
    rows = torch.rand(4, 3, generator=seeded())
    none, equal, together, scaled = mixture.predict(x, TIMES, [None, torch.ones(1, 3), rows, 7 * rows])
    torch.testing.assert_close(none, equal)
    torch.testing.assert_close(together, scaled)
    for i in range(4):
        (alone,) = mixture.predict(x[i : i + 1], TIMES[i : i + 1], [rows[i : i + 1]])
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("weights", [torch.ones(3), torch.ones(1, 2), torch.zeros(1, 3), -WEIGHTS, "class A"])
def test_what_is_not_weights_is_refused(schedule, weights) -> None:
    mixture = MixturePredictor(MEANS, 0.04, schedule)
    with pytest.raises(ValueError, match="'mixture'"):
        mixture.predict(noisy(mixture, TIMES), TIMES, [weights])


def test_equal_class_and_domain_weights_telescope_on_the_toy(schedule) -> None:
    toy = domain_toy(schedule, conditional_sd=0.2)
    split = class_and_domain(toy.conditional, toy.null, toy.pretrained, 1.7, 1.7)
    whole = domain_guidance(toy.pretrained, toy.conditional, 1.7)
    x = torch.randn(4, 2, 1, 1, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(GuidedNoise(split)(x, TIMES), GuidedNoise(whole)(x, TIMES))
    # In two steps, with the branch in the middle evaluated: the two differences add up to the one.
    to_class = GuidedNoise(class_and_domain(toy.conditional, toy.null, toy.pretrained, 1.7, 0.0))
    to_domain = GuidedNoise(class_and_domain(toy.conditional, toy.null, toy.pretrained, 0.0, 1.7))
    steps = to_class.delta(x, TIMES) + to_domain.delta(x, TIMES)
    torch.testing.assert_close(steps, GuidedNoise(whole).delta(x, TIMES))


def weights_of(mixture: MixturePredictor, modes: Any) -> Tensor:
    """1 where the mixture has one of these modes, [1, K]."""
    return (torch.cdist(mixture.means.flatten(1).float(), torch.tensor(modes)) == 0).any(1)[None].float()


@pytest.mark.parametrize("weight", [1.0, 1.5, 4.0])
def test_domain_guidance_is_cfg_and_a_classifier_of_the_domain(schedule, weight) -> None:
    # Proposition 1 of arxiv.org/abs/2504.01521, with perfect scores:
    #   s_DoG = [grad log p(x|c,D) + (w - 1) grad log p(c|x,D)] + (w - 1) grad log p(D|x),  s_CFG in brackets.
    # One mixture knows everything: the domain D is the toy's six modes of it, the class c three of those.
    grid = domain_toy(schedule).pretrained.predictor
    assert isinstance(grid, MixturePredictor)
    of_class, domain = weights_of(grid, CLASS_A), weights_of(grid, CLASS_A + CLASS_B)
    whole, null, conditional = Branch("all", grid), Branch("D", grid, domain), Branch("c", grid, of_class)

    t = torch.tensor([20, 200, 500, 900])
    x = noisy(grid, t).requires_grad_()
    p = modes_under_noise(grid, t).log_prob(x.flatten(1)[:, None]).exp()  # [B, K]
    p_class, p_domain, p_all = p[:, of_class[0] > 0].sum(1), p[:, domain[0] > 0].sum(1), p.sum(1)
    s_cfg = gradient(p_class.log() + (weight - 1) * (p_class / p_domain).log(), x)
    domain_classifier = gradient((p_domain / p_all).log(), x)

    eps_cfg = GuidedNoise(cfg(null, conditional, weight))(x.detach(), t)
    eps_dog = GuidedNoise(domain_guidance(whole, conditional, weight))(x.detach(), t)
    assert_same(score(eps_cfg, grid, t), s_cfg)
    assert_same(score(eps_dog, grid, t), s_cfg + (weight - 1) * domain_classifier)


def scheduler() -> Any:
    """Heun's method on Karras' noise levels needs few steps here."""
    from diffusers import HeunDiscreteScheduler

    return HeunDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True
    )


def draw(guidance: Guidance, count: int = 400) -> Tensor:
    noise = torch.randn(count, 2, 1, 1, generator=seeded(), dtype=torch.float64)
    return sample(GuidedNoise(guidance), scheduler(), noise, steps=16)


@functools.cache
def toy(**settings: float) -> DomainToy:
    return domain_toy(from_diffusers(scheduler()), **settings)


@functools.cache
def by_cfg(weight: float, **settings: float) -> ToyFigures:
    return toy_figures(draw(cfg(toy(**settings).null, toy(**settings).conditional, weight)))


@functools.cache
def by_domain_guidance(weight: float, **settings: float) -> ToyFigures:
    return toy_figures(draw(domain_guidance(toy(**settings).pretrained, toy(**settings).conditional, weight)))


WIDE = {"conditional_sd": 0.20}
"""A conditional branch that has not learned the domain quite sharply."""


def test_the_figures_of_known_points() -> None:
    a, b, c = CLASS_A
    points = [a, a, (b[0], b[1] + 0.9 * OUTSIDE), (c[0] + 1.1 * OUTSIDE, c[1])]
    found = toy_figures(torch.tensor(points, dtype=torch.float64)[..., None, None])
    assert (found.outside, found.modes) == (0.25, (0.5, 0.25, 0.25))


def test_unguided_samples_are_the_class_itself() -> None:
    found = by_cfg(1.0)
    assert found == by_domain_guidance(1.0)
    assert found.outside == pytest.approx(0.011, abs=0.011)
    assert found.modes == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=0.08)
    assert found.distance == pytest.approx(1.18 * 0.15, abs=0.015)


def test_with_exact_scores_both_stay_in_the_domain() -> None:
    assert by_cfg(3.0).outside < 0.03
    assert by_domain_guidance(3.0).outside < 0.005


def test_cfg_leaves_the_domain_where_its_null_branch_is_the_sharper_and_domain_guidance_does_not() -> None:
    leaving = [by_cfg(weight, **WIDE).outside for weight in (1.0, 2.0, 4.0)]
    assert 0.04 < leaving[0] < 0.12
    assert leaving[1] > 1.5 * leaving[0]
    assert leaving[2] > 0.5
    assert by_domain_guidance(2.0, **WIDE).outside < 0.02
    assert by_domain_guidance(4.0, **WIDE).outside < 0.02


def test_honestly_a_broad_null_branch_makes_cfg_as_clean_and_keeps_the_modes() -> None:
    # As wide as the prior's modes, but knowing the domain only: breadth cleans, not knowledge of other domains.
    found = by_cfg(3.0, **WIDE, null_sd=0.35)
    assert found.outside < 0.02
    assert min(found.modes) > 0.2


def test_honestly_a_prior_as_sharp_as_the_domain_cleans_less() -> None:
    sharp = by_domain_guidance(2.0, **WIDE, pretrained_sd=0.15)
    assert sharp.outside > by_domain_guidance(2.0, **WIDE).outside + 0.02
    assert sharp.outside < by_cfg(2.0, **WIDE).outside


@pytest.mark.parametrize(("centre", "lost"), [(0.0, 2), (3.0, 1)])
def test_honestly_domain_guidance_pays_with_the_mode_nearest_to_the_middle_of_the_prior(centre, lost) -> None:
    middle = torch.tensor([centre, centre])
    assert (torch.tensor(CLASS_A) - middle).norm(dim=1).argmin() == lost
    shares = [by_domain_guidance(weight, centre=centre).modes[lost] for weight in (1.0, 1.5, 2.0, 3.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.25
    assert shares[-1] < 0.05


def test_honestly_domain_guidance_pays_with_variety_within_the_modes() -> None:
    assert by_domain_guidance(3.0).distance < 0.3 * by_cfg(3.0).distance
