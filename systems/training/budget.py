"""How long and how hard a training goes on, and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...configs.errors import BadInput
from ...configs.names import unknown_name

OPTIMIZERS = ("adamw", "adamw8bit", "muon")
SCHEDULES = ("decay", "constant")


@dataclass(frozen=True)
class Budget:
    """How long and how hard to train: so many minutes, or exactly so many steps; ``batch`` is per worker.

    Attributes:
        pause: in the same unit, stops earlier as an interruption would: the learning rate follows the whole plan, and
            a later call goes on from there, perhaps on more data.
        most_minutes: stops a training of steps as an interruption would; the schedule never asks it.
        accumulate: batches whose gradients make one step.
        schedule: of the learning rate after ``warmup_steps``: ``decay`` (flat, then a cosine) or ``constant``.
        ema_decay: of the averaged weights, which are what is returned; 0 returns the weights themselves.
        ema_on_cpu: keep the averages in main memory, where they are looked after every tenth step.
        checkpoint_steps: write a checkpoint every so many steps, beside those every so many minutes.
        optimizer: one of ``OPTIMIZERS``; ``muon`` moves matrices and kernels, and AdamW what is left.
        betas, weight_decay: AdamW's.
        precision: what the network computes in (``loop.compute_dtype``).
    """

    minutes: float = 60.0
    steps: int | None = None
    pause: float | None = None
    most_minutes: float | None = None
    batch: int = 32
    accumulate: int = 1
    learning_rate: float = 6e-4
    warmup_steps: int = 150
    schedule: str = "decay"
    ema_decay: float = 0.999
    ema_on_cpu: bool = False
    checkpoint_minutes: float = 2.0
    checkpoint_steps: int | None = None
    optimizer: str = "muon"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    precision: str = "auto"
    workers: int = 2
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for what, name, known in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if name not in known:
                raise unknown_name(what, name, known)
        for name in ("batch", "accumulate", "workers"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} expects a whole number from 1 up, not {getattr(self, name)}")


def rate_at(step: int, spent: float, budget: Budget) -> float:
    """Linear warm-up, then flat; ``decay`` ends in a cosine to zero over the last 60 % of the budget."""
    warm = min(1.0, (step + 1) / max(budget.warmup_steps, 1))
    if budget.schedule == "constant":
        return warm
    decay = 1.0 if spent < 0.4 else 0.5 * (1 + math.cos(math.pi * (spent - 0.4) / 0.6))
    return warm * max(decay, 0.01)
