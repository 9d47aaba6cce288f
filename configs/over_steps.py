"""Numbers that may change over the steps of a run, written as threestudio writes them.

3                              the number, at every step
[v0, v1, end]                  from v0 at step 0 in a straight line to v1 at step ``end``; v1 from there on
[start, v0, v1, end]           v0 up to step ``start``
[s0, v0, v1, s1, v2, s2 ...]   on from v1 at s1 to v2 at s2, and so on
"""

from __future__ import annotations

from itertools import pairwise

from .errors import BadInput

Number = float | list[float]
"""A number, or a schedule of it."""

_FORMS = "[v0, v1, end], [start, v0, v1, end] or [start, v0, v1, s1, v2, s2]"


def changes(number: Number) -> bool:
    """Whether it is a schedule; one that stays the same throughout is one, too."""
    return isinstance(number, list)


def number_at(number: Number, step: int) -> float:
    """The number at a step, counted from 0. A schedule's own steps are met exactly."""
    if not isinstance(number, list):
        return number
    knots = _knots(number)
    if step <= knots[0][0]:
        return knots[0][1]
    for (first, start), (last, end) in pairwise(knots):
        if step < last:
            return start + (end - start) * (step - first) / (last - first)
    return knots[-1][1]


def values_of(number: Number) -> list[float]:
    """Every value that a number goes through at its own steps: its limits hold if they hold for these."""
    return [value for _, value in _knots(number)] if isinstance(number, list) else [number]


def exceeds(low: Number, high: Number) -> int | None:
    """A step at which ``low`` lies above ``high``, one of their own; None if it never does."""
    steps = {0} | {int(step) for one in (low, high) if isinstance(one, list) for step, _ in _knots(one)}
    return next((step for step in sorted(steps) if number_at(low, step) > number_at(high, step)), None)


def check_schedule(key: str, number: Number) -> None:
    """Raise ``BadInput`` for a list that is no schedule."""
    if not isinstance(number, list):
        return
    if len(number) != 3 and (len(number) < 4 or len(number) % 2):
        raise BadInput(f"setting {key} expects a number or a schedule {_FORMS}, not {len(number)} numbers")
    steps = [step for step, _ in _knots(number)]
    for step in steps:
        if not (step >= 0 and float(step).is_integer()):
            raise BadInput(
                f"the steps of the schedule {key} must be whole numbers from 0 up, not {step} ({_FORMS})"
            )
    for one, after in pairwise(steps):
        if not one < after:
            raise BadInput(f"the steps of the schedule {key} must rise, but {after} follows {one} ({_FORMS})")


def _knots(schedule: list[float]) -> list[tuple[float, float]]:
    """[(step, value)]"""
    first, *rest = [0.0, *schedule] if len(schedule) == 3 else schedule
    return [(first, rest[0]), *zip(rest[2::2], rest[1::2], strict=True)]
