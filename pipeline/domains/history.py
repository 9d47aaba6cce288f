"""What every evaluation of a training found, said as it goes, and the best weights so far."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from ...configs.atomic import read_json, write_json, write_safetensors
from ...systems.domain.held_out import batches_of, best_of, held_out_losses, verdict
from ...systems.training.checkpoints import parameters_of
from ..run.progress import Progress
from .looking import Judges, look
from .preparing import Prepared, evaluating

EVALUATIONS, BEST = "evaluations.json", "best.safetensors"
_EARLY = 0.25  # of the steps: from then on a training that has not learned is told


def with_best(prepared: Prepared) -> Any:
    """The network with the best weights so far."""
    network = prepared.method.load(prepared.work / "start")
    kept = load_file(prepared.work / BEST)
    with torch.no_grad():
        for name, parameter in parameters_of({"best": network}).items():
            parameter.copy_(kept[name].reshape(parameter.shape))
    return network


class History:
    """What every evaluation found, and the best weights."""

    def __init__(self, prepared: Prepared, held: Any, seen_by: Judges, console: Progress) -> None:
        self._prepared, self._held, self._seen_by, self._console = prepared, held, seen_by, console
        self._file = prepared.work / EVALUATIONS
        self.evaluations: list[dict[str, Any]] = (
            read_json(self._file, "the evaluations of a training") if self._file.is_file() else []
        )

    def holds(self, stretch: int, step: int) -> bool:
        """Whether that evaluation was made."""
        return any((one["stretch"], one["step"]) == (stretch, step) for one in self.evaluations)

    def add(self, stretch: int, step: int, network: Any) -> None:
        """Evaluate a network, say how it goes, keep it if it is the best."""
        prepared, console = self._prepared, self._console
        settings = prepared.settings
        ready = evaluating(prepared.base, network, settings.precision)
        advance = console.task("held-out pictures", batches_of(self._held))
        losses = held_out_losses(
            prepared.task(prepared.learned).predicting(ready),
            self._held,
            noise_shift=prepared.recipe.noise_shift,
            advance=advance,
        )
        name = f"samples/{stretch}-{step:06}.png"
        figures = look(prepared, ready, self._seen_by, prepared.work / name, console)
        self.evaluations.append(
            {"stretch": stretch, "step": step, "losses": losses, "samples_file": name, **figures}
        )
        every = [one["losses"] for one in self.evaluations]
        if best_of(every) == len(every) - 1:
            kept = {name: p.detach().float() for name, p in parameters_of({"best": network}).items()}
            write_safetensors(prepared.work / BEST, kept)
        write_json(self._file, self.evaluations)
        self._say(every)

    def _say(self, every: list[list[float]]) -> None:
        now, found = self.evaluations[-1], verdict(every)
        since = "" if len(every) == 1 else f" ({-100 * found.gain:+.1f} % since the start)"
        frechet = "" if now["frechet"] is None else f", Frechet distance {now['frechet']:.1f}"
        known = "" if now["recognised"] is None else f", words recognised {now['recognised']:.2f}"
        self._console.notice(
            f"step {now['step']}: held-out loss {np.mean(now['losses']):.4f}{since}{frechet}{known}"
        )
        early = now["step"] >= _EARLY * (self._prepared.settings.steps or 1) and now["step"] > 0
        if early and not found.learning:
            self._console.notice(
                "it is not learning: held-out pictures are denoised no better than at the start; "
                "raise --learning-rate, give more pictures, or look whether they have something in common"
            )
        elif found.since_best >= 3:
            self._console.notice(
                f"no better for {found.since_best} evaluations: the best weights are kept, and stopping is safe"
            )
