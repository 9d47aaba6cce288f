"""What the denoisers say, and how it is combined: pure tensors, no 3D, no prompts, no command line."""

from .algebra import Branch, Guidance, PerpendicularTo, Term, Weight
from .balance import balance, balanced_weights
from .distillation import annealed_range, draw_timesteps, sds_gradient, sds_loss
from .evaluation import GuidedNoise
from .null_text import load_null_text, make_null_text, null_text_features, save_null_text
from .predictors import GaussianPredictor, MatchedPredictor, NoisePredictor, UNetPredictor
from .recipes import RECIPES, around, interval
from .sampling import sample
from .schedules import NoiseSchedule, from_diffusers

__all__ = [
    "RECIPES",
    "Branch",
    "GaussianPredictor",
    "Guidance",
    "GuidedNoise",
    "MatchedPredictor",
    "NoisePredictor",
    "NoiseSchedule",
    "PerpendicularTo",
    "Term",
    "UNetPredictor",
    "Weight",
    "annealed_range",
    "around",
    "balance",
    "balanced_weights",
    "draw_timesteps",
    "from_diffusers",
    "interval",
    "load_null_text",
    "make_null_text",
    "null_text_features",
    "sample",
    "save_null_text",
    "sds_gradient",
    "sds_loss",
]
