"""What held-out pictures say of a training: whether it learns, and which of its weights are the best.

The denoising loss on pictures that are never trained on, always with the same noise at the same levels: two networks
are compared pair by pair, so that small differences show. The training loss decides nothing: it falls while pictures
are learned by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...configs.errors import SlipcastError
from ...guidance.networks import Trainable
from ...guidance.training import draw_example
from .sources import OpenLatents

DRAWS = 4
_BATCH = 8


@torch.no_grad()
def held_out_losses(
    predictor: Trainable,
    source: OpenLatents,
    *,
    noise_shift: float,
    advance: Callable[[int], None] = lambda n: None,
) -> list[float]:
    """The loss of every batch of held-out pictures, ``DRAWS`` times each at stratified noise levels.

    Args:
        predictor: a network in evaluation mode; it is asked what it was trained to answer.
        source: opened latents of the held-out pictures.
    Raises: SlipcastError when the network answers with NaN.
    """
    found: list[float] = []
    for frame, latents, rows in source.plainly():
        for start in range(0, len(latents), _BATCH):
            some = latents[start : start + _BATCH]
            told = source.source.condition(frame, rows[start : start + _BATCH])
            for _draw in range(DRAWS):
                generator = torch.Generator().manual_seed(len(found))
                example = draw_example(
                    some, predictor.schedule, predictor.prediction_type, generator, shift=noise_shift
                )
                found.append(float(predictor.loss(example, told)))
                advance(1)
    if not np.isfinite(found).all():
        raise SlipcastError("the network answers held-out pictures with NaN or infinity")
    return found


def batches_of(source: OpenLatents) -> int:
    """How many losses there will be."""
    return sum(-(-len(latents) // _BATCH) * DRAWS for _, latents, _ in source.plainly())


@dataclass(frozen=True)
class Verdict:
    """How held-out pictures take a training so far.

    Attributes:
        gain: how much the loss fell since the start, as a part of it; its uncertainty is ``error``.
        learning: whether that is more than chance.
        since_best: evaluations since the best one.
    """

    gain: float
    error: float
    learning: bool
    since_best: int


def verdict(losses: Sequence[Sequence[float]]) -> Verdict:
    """Of the held-out losses of every evaluation, the first before any training."""
    first, last = np.array(losses[0]), np.array(losses[-1])
    fell = (first - last) / first.mean()
    error = float(fell.std(ddof=1) / np.sqrt(len(fell))) if len(fell) > 1 else 0.0
    best = best_of(losses)
    gain = float(fell.mean())
    return Verdict(gain, error, len(losses) == 1 or gain > 2 * error, len(losses) - 1 - best)


def best_of(losses: Sequence[Sequence[float]]) -> int:
    """The evaluation with the lowest mean loss on held-out pictures, the earliest of equals."""
    return int(np.argmin([np.mean(one) for one in losses]))
