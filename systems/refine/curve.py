"""The course of a refinement: every loss, and how hard each pulls, at some of its steps, in a file of its own.

    curve.csv    step, loss <name> ..., gradient <name> ...

The gradient of a loss is the norm of its derivative by all that is trained, taken by itself. What was not measured at a
step has an empty cell. Recording changes nothing of the refinement: derivatives are taken aside, no random number is
drawn. A resumed refinement goes on with its file, whose bytes are those of an uninterrupted one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ...configs.atomic import write_text
from ...configs.schema import RefineConfig

CURVE_FILE = "curve.csv"
_POINTS = 60  # at most, and one for the last step
_GRADIENTS = 20  # of these, and the last step: each costs about as much as a step's backward pass
_LOSS, _GRADIENT = "loss ", "gradient "


class Curve:
    """Rows of {column: number}, by step.

    Args:
        names: of all losses that a step may have, in the order of their columns.
    """

    def __init__(self, config: RefineConfig, names: Sequence[str]) -> None:
        # A multiple of anchor_every, so that what only some steps measure is there.
        every = max(1, config.anchor_every)
        self.every = every * max(1, math.ceil(config.steps / (_POINTS * every)))
        rows = math.ceil(config.steps / self.every)
        self._every_gradient = self.every * max(1, math.ceil(rows / _GRADIENTS))
        self._last = config.steps - 1
        self._columns = [f"{kind}{name}" for kind in (_LOSS, _GRADIENT) for name in names]
        self._rows: dict[int, dict[str, str]] = {}

    def wants(self, index: int) -> bool:
        """Whether this step, counted from 0, is recorded."""
        return index % self.every == 0 or index == self._last

    def wants_gradients(self, index: int) -> bool:
        """Whether this step is recorded with what costs about as much as the step itself."""
        return index % self._every_gradient == 0 or index == self._last

    def add(
        self, index: int, losses: Mapping[str, torch.Tensor], parameters: Sequence[torch.nn.Parameter]
    ) -> dict[str, float]:
        """Record a step before it is taken; returns the norms of the losses' gradients, where they are wanted.

        Args:
            losses: weighted scalars, whose graphs are kept.
            parameters: all that is trained.
        """
        row = {_LOSS + name: f"{loss.item():.6g}" for name, loss in losses.items()}
        gradients = dict[str, float]()
        if self.wants_gradients(index):
            gradients = {name: gradient_norm(one, parameters) for name, one in losses.items()}
        self._rows[index] = row | {_GRADIENT + name: f"{norm:.6g}" for name, norm in gradients.items()}
        return gradients

    def cut(self, done: int) -> None:
        """Forget the steps from ``done`` on."""
        self._rows = {index: row for index, row in self._rows.items() if index < done}

    def save(self, folder: Path) -> None:
        """Write curve.csv, atomically.

        Raises:
            SlipcastError: it cannot be written.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, ["step", *self._columns], restval="", lineterminator="\n")
        table.writeheader()
        for index, row in sorted(self._rows.items()):
            table.writerow({"step": index} | row)
        write_text(folder / CURVE_FILE, text.getvalue())

    def load(self, folder: Path, done: int) -> None:
        """Take the rows of the first ``done`` steps from curve.csv; a file that is none is passed over."""
        try:
            rows = list(csv.DictReader((folder / CURVE_FILE).read_text(encoding="utf-8").splitlines()))
            self._rows = {
                step: {name: row[name] for name in self._columns if row[name]}
                for row in rows
                if (step := int(row["step"])) < done
            }
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            self._rows = {}


def gradient_norm(loss: torch.Tensor, parameters: Sequence[torch.nn.Parameter]) -> float:
    """The norm of a loss's derivative by all parameters together; nothing is added to their ``grad``."""
    if not loss.requires_grad:
        return 0.0
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return math.hypot(*(float(one.norm()) for one in found if one is not None))
