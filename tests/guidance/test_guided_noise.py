"""The evaluation plan: what is asked, how often, and what is refused."""

from __future__ import annotations

import pytest
import torch

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance import (
    RECIPES,
    Branch,
    GaussianPredictor,
    GuidedNoise,
    MatchedPredictor,
    NoiseSchedule,
    around,
    interval,
)
from slipcast.guidance.algebra import Guidance, Term
from slipcast.guidance.transforms import PerpendicularTo


def latents(batch: int) -> torch.Tensor:
    return torch.randn(batch, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def network_with_texts(branches, count: int):
    """One network under ``count`` conditions."""
    network = branches(1)[0].predictor
    return network, [Branch(f"text {i}", network, torch.full((1, 1, 1, 1), i + 1.0)) for i in range(count)]


def test_conditions_of_one_network_share_one_forward(branches) -> None:
    network, (null, a, b) = network_with_texts(branches, 3)
    domain = branches(2)[1]
    guided = GuidedNoise(RECIPES["in_domain"](null, (domain, 2.0), [(a, 3.0), (b, 1.0)]))
    guided(latents(2), torch.tensor([5, 900]))
    assert network.rows == [6]
    assert domain.predictor.rows == [2]


def test_a_branch_whose_coefficient_is_zero_is_not_asked(branches) -> None:
    base, domain = branches(2)
    guided = GuidedNoise(around(base, (domain, interval(3.0, 0.0, 0.5))))
    guided(latents(1), torch.tensor([900]))
    assert domain.predictor.rows == []
    guided(latents(1), torch.tensor([400]))
    assert domain.predictor.rows == [1]
    # With one time per sample it is asked as soon as one sample needs it, and the others do not see it.
    mixed = guided(latents(2), torch.tensor([900, 400]))
    assert torch.equal(mixed[:1], base.predictor.eps)
    torch.testing.assert_close(
        mixed[1:], base.predictor.eps + 3 * (domain.predictor.eps - base.predictor.eps)
    )


def test_weight_one_does_not_ask_the_base(branches) -> None:
    base, text = branches(2)
    GuidedNoise(around(base, (text, 1.0)))(latents(1), torch.tensor([500]))
    assert (base.predictor.rows, text.predictor.rows) == ([], [1])


@pytest.mark.parametrize("max_batch", [1, 2, 3, 4, 5, 7, 100])
def test_chunks_change_nothing_and_respect_the_limit(branches, max_batch) -> None:
    network = branches(1)[0].predictor
    per_sample = latents(5) + 1
    texts = [
        Branch("null", network),
        Branch("shared", network, latents(1)),
        Branch("each", network, per_sample),
    ]
    guidance = RECIPES["composable"](texts[0], [(texts[1], 2.0), (texts[2], 3.0)])
    t = torch.tensor([0, 100, 500, 900, 999])
    whole = GuidedNoise(guidance)(latents(5), t)
    network.rows.clear()
    assert torch.equal(GuidedNoise(guidance, max_batch=max_batch)(latents(5), t), whole)
    assert max(network.rows) <= max_batch
    assert sum(network.rows) == 15


def test_each_sample_may_have_its_own_condition(schedule) -> None:
    means = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    predictor = GaussianPredictor(0.0, 0.3, schedule)
    together = GuidedNoise(around(Branch("null", predictor), (Branch("text", predictor, means), 5.0)))
    t = torch.tensor([3, 400, 990])
    eps = together(latents(3), t)
    for i in range(3):
        alone = GuidedNoise(
            around(Branch("null", predictor), (Branch("text", predictor, means[i : i + 1]), 5.0))
        )
        torch.testing.assert_close(eps[i : i + 1], alone(latents(3)[i : i + 1], t[i : i + 1]))


def test_a_condition_of_another_batch_size_is_refused(branches) -> None:
    network = branches(1)[0].predictor
    guided = GuidedNoise(Guidance(Branch("text", network, latents(3))))
    with pytest.raises(ValueError, match=r"1 or 2 samples.*not 3"):
        guided(latents(2), torch.tensor([1, 2]))


def test_delta_is_what_guidance_adds_to_the_base(branches) -> None:
    base, a, b = branches(3)
    guided = GuidedNoise(around(base, (a, 2.0), (b, 3.0)))
    x_t, t = latents(2), torch.tensor([10, 700])
    torch.testing.assert_close(guided.delta(x_t, t), guided(x_t, t) - base.predictor.eps)
    assert torch.equal(GuidedNoise(Guidance(base)).delta(x_t, t), torch.zeros_like(x_t))


def test_branches_can_be_looked_at_one_by_one(branches) -> None:
    base, text = branches(2)
    said = GuidedNoise(around(base, (text, 1.0))).branches(latents(1), torch.tensor([500]))
    assert set(said) == {"a", "b"}
    assert torch.equal(said["a"], base.predictor.eps)


def test_parts_add_up_to_the_delta_and_looking_changes_nothing(branches) -> None:
    """With a term that has a transform, one that is off for a sample, and two of the same branches."""
    base, a, b = branches(3)
    across = Term(b, base, 2.0, transform=PerpendicularTo(a, base))
    off_above = Term(a, base, interval(3.0, 0.0, 0.5))
    guidance = Guidance(base, [off_above, across, Term(b, base, 0.5), Term(a, b, 0.0)])
    seen: list[dict[str, torch.Tensor]] = []
    watched = GuidedNoise(guidance).watched_by(lambda pushes: seen.append(dict(pushes)))
    x_t, t = latents(2), torch.tensor([100, 900])
    assert torch.equal(watched(x_t, t), GuidedNoise(guidance)(x_t, t))
    (parts,) = seen
    assert list(parts) == ["b - a", "c - a", "c - a (2)"]  # branches are called a, b, c
    torch.testing.assert_close(sum(parts.values()), GuidedNoise(guidance).delta(x_t, t))
    assert bool((parts["b - a"][1] == 0).all()) and bool((parts["b - a"][0] != 0).any())
    alone = around(base, (a, 1.0))  # whose base nobody had to ask
    GuidedNoise(alone).watched_by(lambda pushes: seen.append(dict(pushes)))(x_t, t)
    assert seen[-1] == {}


def test_different_latent_spaces_are_refused_naming_both(schedule) -> None:
    ours = Branch("prior", GaussianPredictor(0.0, 1.0, schedule, latent_space="sd1"))
    theirs = Branch("domain", GaussianPredictor(0.0, 1.0, schedule, latent_space="sdxl"))
    with pytest.raises(BadInput, match=r"'prior' and 'domain'.*'sd1' and 'sdxl'"):
        GuidedNoise(around(ours, (theirs, 2.0)))


def test_different_schedules_are_refused_unless_matched_explicitly(schedule) -> None:
    other = NoiseSchedule(torch.linspace(0.999, 0.001, 1000))
    ours = Branch("prior", GaussianPredictor(0.0, 1.0, schedule))
    stranger = GaussianPredictor(0.5, 0.2, other)
    with pytest.raises(
        BadInput, match=r"'prior' and 'domain' have different noise schedules.*MatchedPredictor"
    ):
        GuidedNoise(around(ours, (Branch("domain", stranger), 2.0)))

    matched = Branch("domain", MatchedPredictor(stranger, schedule))
    t = torch.tensor([50, 500, 950])
    eps = GuidedNoise(around(ours, (matched, 1.0)))(latents(3), t)
    truth = GaussianPredictor(0.5, 0.2, schedule).predict(latents(3), t, [None])[0]
    torch.testing.assert_close(eps, truth, atol=0.02, rtol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_names_the_branch_and_the_step(branches, value) -> None:
    good, bad = branches(2)
    bad.predictor.eps[0, 0, 0, 0] = value
    guided = GuidedNoise(around(good, (bad, 2.0)))
    with pytest.raises(SlipcastError, match=r"'b' returned NaN or infinity at timestep \[123\]"):
        guided(latents(1), torch.tensor([123]))


def test_no_gradient_passes_through(schedule) -> None:
    mean = torch.zeros(1, 2, 3, 3, requires_grad=True)
    guided = GuidedNoise(Guidance(Branch("text", GaussianPredictor(0.0, 1.0, schedule), mean)))
    assert not guided(latents(1).requires_grad_(), torch.tensor([5])).requires_grad


@pytest.mark.parametrize(
    ("x_t", "t"),
    [
        (torch.zeros(2, 2, 3, 3), torch.tensor([5])),
        (torch.zeros(2, 3, 3), torch.tensor([5, 5])),
        (torch.zeros(1, 2, 3, 3), torch.tensor([1000])),
        (torch.zeros(1, 2, 3, 3), torch.tensor([-1])),
    ],
)
@pytest.mark.usefixtures("own_errors")
def test_shapes_and_timesteps_are_checked(branches, x_t, t) -> None:
    with pytest.raises(ValueError, match=r"x_t|Timesteps"):
        GuidedNoise(Guidance(branches(1)[0]))(x_t, t)
