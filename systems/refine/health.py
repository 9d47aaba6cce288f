"""Whether a refinement is still about something: collapse is told in a sentence before it can be learned from.

Score distillation has three ways to fail. The field goes: nothing of it is left, or it fills every view. The numbers
go: a loss or a gradient that is no number. Or they grow without bound, towards the first two. Each is found before the
step is taken, so that the field is still as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...configs.errors import SlipcastError

SMALLER = 0.2
"""What is left of the learning rates after a collapse."""
_SETTLING = 20  # steps whose largest loss and gradient say what is usual
# Weights that rise over the run may well make a loss a thousand times what it was at first.
_LOSS_GREW, _GRADIENT_GREW = 1e6, 1e4
_LEAST_LOSS, _LEAST_GRADIENT = 1e-3, 1e-3  # what is smaller than this at first may grow to this, too
_ANYTHING = 0.01  # a picture that shows less than this share says nothing of what should be left
_LEFT = 0.02  # of the share of the picture that its subject covers, seen from whatever side
_ALL = 0.995  # of all views covered


class Collapsed(SlipcastError):
    """A refinement that has nothing to go on from; the field is as before the step."""


@dataclass
class Health:
    """What a refinement's losses and gradients are like, and what became of it so far.

    Attributes:
        coverage: the subject's share of the picture.
        zoom: how many times larger the object looks in views than in the picture, at least and at most.
        loss, gradient: the largest sum of losses and the largest gradient of the first steps.
        rate: factor on the learning rates, below 1 after a collapse.
        said: a sentence for each collapse.
    """

    coverage: float
    zoom: tuple[float, float] = (1.0, 1.0)
    loss: float = 0.0
    gradient: float = 0.0
    rate: float = 1.0
    said: list[str] = field(default_factory=list)

    def check_losses(self, index: int, losses: Mapping[str, float], measured: Mapping[str, Any]) -> None:
        """Raise ``Collapsed`` if a loss is no number or has exploded, or the views show nothing, or nothing else."""
        for name, value in losses.items():
            if not math.isfinite(value):
                raise Collapsed(
                    f"refinement step {index}: the loss '{name}' is not finite; "
                    "lower the learning rates or the weights"
                )
        self.loss = self._usual(
            index, "loss", sum(map(abs, losses.values())), self.loss, _LOSS_GREW, _LEAST_LOSS
        )
        opacity = measured.get("opacity")
        if opacity is None or self.coverage < _ANYTHING:
            return
        # From close by a view shows a part of the object, which may be any share of it: nothing is said then.
        least, most = (self.coverage * zoom**2 for zoom in self.zoom)
        if least > 1:
            return
        if opacity < _LEFT * least:
            raise Collapsed(
                f"refinement step {index}: next to nothing of the object is left (it covers {opacity:.2%} of the "
                f"views, and {self.coverage:.0%} of the picture); raise refine.drift_weight or lower the learning rates"
            )
        if opacity > _ALL > most:
            raise Collapsed(
                f"refinement step {index}: the field fills every view; raise refine.drift_weight or lower "
                "the learning rates"
            )

    def check_gradient(self, index: int, gradient: float) -> None:
        """Raise ``Collapsed`` if the gradient's norm is no number or has exploded."""
        if not math.isfinite(gradient):
            raise Collapsed(
                f"refinement step {index}: the gradient is not finite; lower the learning rates or the weights"
            )
        self.gradient = self._usual(
            index, "gradient", gradient, self.gradient, _GRADIENT_GREW, _LEAST_GRADIENT
        )

    def take_down(self, collapse: Collapsed, back_to: int) -> str:
        """Say what happened and what is done about it: one more try with smaller steps, and then the end.

        Args:
            back_to: the steps whose outcome is taken again.
        """
        then = (
            f"that was the second time, so the field of step {back_to} is the result"
            if self.said
            else f"it goes back to step {back_to} and on with {SMALLER:g} of the learning rates"
        )
        self.said.append(f"{collapse}; {then}")
        self.rate = SMALLER
        return self.said[-1]

    def note(self) -> str:
        """All of it that a checkpoint has to keep."""
        return json.dumps([self.loss, self.gradient, self.rate, self.said])

    def read(self, note: str) -> None:
        """Take over what ``note`` wrote."""
        self.loss, self.gradient, self.rate, self.said = json.loads(note)

    def _usual(self, index: int, what: str, value: float, usual: float, grew: float, least: float) -> float:
        """The largest value of the first steps; ``Collapsed`` if this one is far beyond it."""
        if usual and value > grew * max(usual, least):
            raise Collapsed(
                f"refinement step {index}: the {what} has exploded, from {usual:.2g} at first to {value:.2g}; lower "
                "the learning rates or the weights, or set refine.grad_clamp"
            )
        return max(usual, value) if index < _SETTLING else usual
