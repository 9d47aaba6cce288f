"""How each family of bases is trained, where the user says nothing.

Stable Diffusion: paper 1 (arxiv.org/abs/2312.08195), AdamW at a constant 1e-5, 32 pictures a step, mirrored half of the
time, averages at 0.9999. DiT: paper 2 (arxiv.org/abs/2504.01521), AdamW at a constant 1e-4. Flow models: as Stable
Diffusion, at noise levels shifted by 3, as Stable Diffusion 3 was (arxiv.org/abs/2403.03206). A prior that knows a list
of words is one of the starter's kind, and is trained as the starter's build does it: Muon, noise levels shifted high,
and a learning rate that falls to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...guidance.schedules import StraightPath
from ..models.base import Base


@dataclass(frozen=True)
class Defaults:
    """What is left to the family; see ``training.shard.Budget`` and ``learning.DomainRecipe``."""

    steps: int
    batch: int
    learning_rate: float
    optimizer: str
    schedule: str
    ema: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: int
    noise_shift: float


PAPER = Defaults(10_000, 32, 1e-5, "adamw", "constant", 0.9999, 0.01, (0.9, 0.999), 0, 1.0)
CLASSES = Defaults(24_000, 32, 1e-4, "adamw", "constant", 0.9999, 0.0, (0.9, 0.999), 0, 1.0)
FLOW = replace(PAPER, noise_shift=3.0)
STARTER = Defaults(600, 64, 4e-4, "muon", "decay", 0.999, 0.0, (0.9, 0.99), 60, 1.6)
_LORA = 1e-4  # of Stable Diffusion: few numbers move, and have to go further


def defaults_for(base: Base, method: str) -> Defaults:
    """The defaults of a base's family, for a method of ``methods.METHODS``."""
    if base.family.reads != "text":
        return CLASSES
    straight = isinstance(base.predictor.schedule, StraightPath)
    found = FLOW if straight else PAPER if base.reads_weights else STARTER
    if method != "lora":
        return found
    rate = 5 * found.learning_rate if found is STARTER else _LORA
    return replace(found, learning_rate=rate, steps=min(found.steps, 3000))
