"""What the denoisers say, and how it is combined: pure tensors, no 3D, no prompts, no command line."""

from .algebra import Branch, Guidance, Term, Weight
from .balance import balance, balanced_weights
from .class_networks import DiTPredictor
from .conditioning import Condition, Conditioning, Control
from .distillation import annealed_range, draw_timesteps, sds_gradient, sds_loss
from .evaluation import GuidedNoise
from .flow_networks import FluxPredictor, SD3Predictor
from .networks import AdaptedPredictor, UNetPredictor
from .null_text import load_null_text, make_null_text, null_text_features, save_null_text
from .offloading import CPUOffload
from .predictors import GaussianPredictor, MatchedPredictor, NoisePredictor
from .recipes import RECIPES, around, interval
from .sampling import sample, seeded_noise
from .schedulers import SCHEDULERS, flow_scheduler_named, scheduler_named
from .schedules import NoiseSchedule, Schedule, StraightPath, from_diffusers
from .transforms import PerpendicularTo

__all__ = [
    "RECIPES",
    "SCHEDULERS",
    "AdaptedPredictor",
    "Branch",
    "CPUOffload",
    "Condition",
    "Conditioning",
    "Control",
    "DiTPredictor",
    "FluxPredictor",
    "GaussianPredictor",
    "Guidance",
    "GuidedNoise",
    "MatchedPredictor",
    "NoisePredictor",
    "NoiseSchedule",
    "PerpendicularTo",
    "SD3Predictor",
    "Schedule",
    "StraightPath",
    "Term",
    "UNetPredictor",
    "Weight",
    "annealed_range",
    "around",
    "balance",
    "balanced_weights",
    "draw_timesteps",
    "flow_scheduler_named",
    "from_diffusers",
    "interval",
    "load_null_text",
    "make_null_text",
    "null_text_features",
    "sample",
    "save_null_text",
    "scheduler_named",
    "sds_gradient",
    "sds_loss",
    "seeded_noise",
]
