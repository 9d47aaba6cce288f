"""Guidance as one callable, (x_t, t) -> eps_hat: the object that 2-D sampling and score distillation share.

It plans which branches take part at t, asks each predictor once for all of them, and combines the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..configs.errors import BadInput, SlipcastError
from .algebra import Answers, Branch, Guidance
from .conditioning import Condition, condition_rows
from .predictors import NoisePredictor
from .schedules import parameterisation_named
from .shapes import Answered, Latents, Timesteps

Watch = Callable[[Mapping[Branch, Tensor], Sequence[float]], None]
"""Told what each branch that took part has said, and t / T of each sample."""


class GuidedNoise:
    """Evaluates a ``Guidance``: ``guided(x_t, t)`` is eps_hat, never differentiable.

    Branches whose coefficient is 0 at t are not evaluated; branches of one predictor share one forward.

    Args:
        guidance: what to combine.
        max_batch: most rows (samples times conditions) per forward; None sets no limit.
        watch: looks at the branches' answers before they are combined, as for norms; changes nothing.
    Raises:
        BadInput: two branches do not share the latent space or the noise schedule.
    """

    def __init__(
        self, guidance: Guidance, *, max_batch: int | None = None, watch: Watch | None = None
    ) -> None:
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch is the number of rows per forward, at least 1, not {max_batch}.")
        for branch in guidance.branches[1:]:
            _refuse_strangers(guidance.base, branch)
        self.guidance, self.max_batch, self.watch = guidance, max_batch, watch
        self.schedule = guidance.base.predictor.schedule
        self.latent_space = guidance.base.predictor.latent_space
        # What the base's network answers: the others' are converted to eps at the same level.
        self.prediction_type: str = getattr(guidance.base.predictor, "prediction_type", "epsilon")

    def __call__(self, x_t: Latents, t: Timesteps) -> Answered:
        """x_t [B, C, h, w] and timesteps t [B] -> eps_hat [B, C, h, w].

        Raises:
            SlipcastError: a branch returned NaN or infinity.
            ValueError: t is outside the schedule, or shapes do not fit.
        """
        return self._combine(x_t, t, drop_base=False)

    def delta(self, x_t: Latents, t: Timesteps) -> Answered:
        """eps_hat - eps_base, the weighted differences alone [B, C, h, w]."""
        return self._combine(x_t, t, drop_base=True)

    def branches(self, x_t: Latents, t: Timesteps) -> dict[str, Answered]:
        """What every branch says by itself, for plots and norms, whether or not it takes part at t."""
        eps = self._evaluate(self.guidance.branches, x_t, t)
        return {branch.name: value for branch, value in eps.items()}

    def _combine(self, x_t: Tensor, t: Tensor, *, drop_base: bool) -> Tensor:
        times = self._times(x_t, t)
        needed = self.guidance.needed(times, drop_base=drop_base)
        if not needed:
            return torch.zeros_like(x_t)
        eps = self._evaluate(needed, x_t, t)
        if self.watch is not None:
            self.watch(eps, times)
        return self.guidance.combine(eps, times, drop_base=drop_base, answers=self._answers(x_t, t))

    def _answers(self, x_t: Tensor, t: Tensor) -> Answers | None:
        """Between eps and what the base's network answers, at x_t; None for one that answers eps."""
        if self.prediction_type == "epsilon":
            return None
        way = parameterisation_named(self.prediction_type)
        return (
            lambda eps: way.from_eps(self.schedule, x_t, eps, t),
            lambda answer: way.to_eps(self.schedule, x_t, answer, t),
        )

    def _times(self, x_t: Tensor, t: Tensor) -> list[float]:
        """t / T of each sample."""
        if x_t.ndim != 4 or t.shape != x_t.shape[:1]:
            raise ValueError(
                f"Expected x_t [B, C, h, w] and t [B], got {tuple(x_t.shape)} and {tuple(t.shape)}."
            )
        steps = t.tolist()
        if not all(0 <= step <= len(self.schedule) - 1 for step in steps):
            raise ValueError(f"Timesteps lie in [0, {len(self.schedule) - 1}], got {steps}.")
        return [step / len(self.schedule) for step in steps]

    @torch.no_grad()
    def _evaluate(self, branches: Iterable[Branch], x_t: Tensor, t: Tensor) -> dict[Branch, Tensor]:
        groups: dict[int, list[Branch]] = {}
        for branch in branches:
            groups.setdefault(id(branch.predictor), []).append(branch)
        eps: dict[Branch, Tensor] = {}
        for group in groups.values():
            conditions = [branch.condition for branch in group]
            answers = _predict_in_chunks(group[0].predictor, x_t, t, conditions, self.max_batch)
            eps.update(zip(group, answers, strict=True))
        for branch, value in eps.items():
            if not bool(value.isfinite().all()):
                raise SlipcastError(
                    f"The branch {branch.name!r} returned NaN or infinity at timestep {t.tolist()}; "
                    "check its weights, or run it in float32 or bfloat16 rather than float16."
                )
        return eps


def _predict_in_chunks(
    predictor: NoisePredictor,
    x_t: Tensor,
    t: Tensor,
    conditions: Sequence[Condition],
    max_batch: int | None,
) -> list[Tensor]:
    """eps for each condition, in forwards of at most ``max_batch`` rows."""
    batch = len(x_t)
    limit = max_batch or batch * len(conditions)
    rows = min(batch, limit)
    together = limit // rows
    answers: list[Tensor] = []
    for first in range(0, len(conditions), together):
        chosen = conditions[first : first + together]
        parts = [
            predictor.predict(
                x_t[i : i + rows], t[i : i + rows], [condition_rows(c, i, rows, batch) for c in chosen]
            )
            for i in range(0, batch, rows)
        ]
        answers += [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
    return answers


def _refuse_strangers(base: Branch, branch: Branch) -> None:
    """Noise predictions can be added only if they speak of the same latents at the same noise level."""
    ours, theirs = base.predictor, branch.predictor
    if ours.latent_space != theirs.latent_space:
        raise BadInput(
            f"The branches {base.name!r} and {branch.name!r} live in different latent spaces "
            f"({ours.latent_space!r} and {theirs.latent_space!r}); use models that share one autoencoder."
        )
    if not ours.schedule.matches(theirs.schedule):
        raise BadInput(
            f"The branches {base.name!r} and {branch.name!r} have different noise schedules "
            f"({ours.schedule}; {theirs.schedule}); wrap the second predictor in MatchedPredictor."
        )
