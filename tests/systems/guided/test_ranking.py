"""The evidence that ranks pictures, on exact Gaussian branches."""

from dataclasses import dataclass

import torch

from slipcast.guidance.algebra import Branch
from slipcast.guidance.predictors import GaussianPredictor
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.systems.guided.ranking import evidence

TOLD = (("null", ""), ("text", "3"))
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


def test_evidence_prefers_what_was_asked_for():
    base, domain = models()
    null, text = (Branch(name, base.predictor, base.condition([prompt])) for name, prompt in TOLD)
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(2, 3, 16, 16, generator=generator)
    # One as the text says, one as the domain says.
    latents = draws + torch.tensor([3.0, 1.0]).view(-1, 1, 1, 1)
    targets = [Branch("domain", domain.predictor, domain.condition), text]
    gains = evidence(null, targets, latents, torch.Generator().manual_seed(2))
    assert gains["text"][0] > gains["text"][1]
    assert gains["domain"][1] > gains["domain"][0]


def test_the_prior_explains_nothing_better_than_itself():
    base, _ = models()
    null, twin = (Branch(name, base.predictor, base.condition([""])) for name in ("null", "twin"))
    gains = evidence(null, [twin], torch.randn(2, 3, 4, 4), torch.Generator().manual_seed(2))
    assert gains["twin"].tolist() == [0.0, 0.0]
