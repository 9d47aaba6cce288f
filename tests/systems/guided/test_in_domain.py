"""The shared guided denoiser: laws on exact Gaussian branches, and the evidence that ranks pictures."""

from dataclasses import dataclass

import torch

from slipcast.guidance.predictors import GaussianPredictor
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.systems.guided.in_domain import DOMAIN, TEXT, Weights, evidence, in_domain_noise

SCHEDULE = NoiseSchedule(torch.linspace(0.999, 0.01, 100))


@dataclass
class GaussianBase:
    """Prompts are numbers: the mean of what the text asks for; the bare prior is broad and centred."""

    name: str = "gaussian"

    @property
    def predictor(self):
        return TextGaussian()

    def condition(self, prompts):
        return torch.tensor([float(prompt or 0) for prompt in prompts]).view(-1, 1, 1)


class TextGaussian:
    """eps of N(m, s^2), m from the condition, s = 1 with text and 2 without."""

    name, schedule, latent_space = "gaussian", SCHEDULE, "gaussian"

    def predict(self, x_t, t, conditions):
        return [self.one(x_t, t, c) for c in conditions]

    def one(self, x_t, t, condition):
        mean = condition.view(-1, 1, 1, 1).to(x_t)
        spread = torch.where(mean == 0, 2.0, 1.0)
        alpha_bar = SCHEDULE.alpha_bar(t).view(-1, 1, 1, 1).to(x_t)
        variance = alpha_bar * spread**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x_t - alpha_bar.sqrt() * mean) / variance


@dataclass
class GaussianDomain:
    predictor: GaussianPredictor
    condition: None = None


def models():
    domain = GaussianPredictor(1.0, 1.0, schedule=SCHEDULE, latent_space="gaussian")
    return GaussianBase(), GaussianDomain(domain)


def noisy():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, 4, generator=generator), torch.tensor([20, 70])


def test_no_weights_leave_the_bare_prior():
    base, domain = models()
    x, t = noisy()
    bare = base.predictor.one(x, t, torch.zeros(1))
    assert torch.allclose(in_domain_noise(base, domain, ["3"], Weights(0.0, 0.0))(x, t), bare)


def test_text_alone_at_one_is_the_text_model():
    base, domain = models()
    x, t = noisy()
    text = base.predictor.one(x, t, torch.tensor([3.0]))
    assert torch.allclose(in_domain_noise(base, domain, ["3"], Weights(0.0, 1.0))(x, t), text, atol=1e-6)


def test_each_sample_reads_its_own_prompt():
    base, domain = models()
    x, t = noisy()
    both = in_domain_noise(base, domain, ["3", "-2"], Weights(0.7, 2.0))(x, t)
    for i, prompt in enumerate(("3", "-2")):
        one = in_domain_noise(base, domain, [prompt], Weights(0.7, 2.0))(x[i : i + 1], t[i : i + 1])
        assert torch.allclose(both[i : i + 1], one, atol=1e-6)


def test_the_domain_is_off_above_its_last_noise_level():
    base, domain = models()
    x, t = noisy()
    windowed = in_domain_noise(base, domain, ["3"], Weights(0.7, 2.0, domain_until=0.5))(x, t)
    on = in_domain_noise(base, domain, ["3"], Weights(0.7, 2.0))(x, t)
    off = in_domain_noise(base, domain, ["3"], Weights(0.0, 2.0))(x, t)
    assert torch.allclose(windowed[0], on[0])
    assert torch.allclose(windowed[1], off[1])


def test_evidence_prefers_what_was_asked_for():
    base, domain = models()
    guided = in_domain_noise(base, domain, ["3"], Weights(1.0, 1.0))
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(2, 3, 16, 16, generator=generator)
    latents = draws + torch.tensor([3.0, 1.0]).view(
        -1, 1, 1, 1
    )  # one as the text says, one as the domain says
    gains = evidence(guided, latents, torch.Generator().manual_seed(2))
    assert gains[TEXT][0] > gains[TEXT][1]
    assert gains[DOMAIN][1] > gains[DOMAIN][0]
