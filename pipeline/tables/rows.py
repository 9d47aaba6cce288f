"""From cells to rows: the mean over seeds with an interval, and whether each ordering that the papers state came out.

With several seeds the interval is Student's, 95 %, over seeds: a training that is run again. With one it is the
bootstrap over pictures, which says nothing of another training. Two rows are compared seed by seed, for a seed's
pictures begin with the same noise in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...systems.baselines.table import BASELINES, OURS
from .cells import Figures, Kept
from .guiding import PRIOR
from .scales import Scale

_SHARES = ("align", "coverage", "precision", "canny")
"""What the columns of shares begin with: Student's interval knows nothing of 0 and 1."""


@dataclass(frozen=True)
class Figure:
    """A mean, its 95 % interval if there is one, and of how many seeds."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def __str__(self) -> str:
        text = _short(self.mean)
        return (
            text
            if self.low is None or self.high is None
            else f"{text} ({_short(self.low)} to {_short(self.high)})"
        )

    @property
    def signed(self) -> str:
        """As a change."""
        text = f"{self.mean:+.2f}"
        if self.low is None or self.high is None:
            return text
        return f"{text} ({self.low:+.2f} to {self.high:+.2f})"


def _short(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def figure(values: Sequence[float], intervals: Sequence[Sequence[float]] = ()) -> Figure:
    """Of one value for each seed; ``intervals`` [low, high] of each count where there is one seed alone."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) > 1:
        reach = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
        return Figure(mean, mean - reach, mean + reach, len(values))
    if intervals:
        low, high = intervals[0]
        return Figure(mean, min(low, mean), max(high, mean), 1)
    return Figure(mean, None, None, len(values))


def _of_row(cells: Mapping[str, Kept], name: str) -> dict[str, Figures]:
    """A row's cells, {seed: figures}."""
    parted = ((*cell.rpartition("-"), one.figures) for cell, one in cells.items())
    return {seed: figures for start, _, seed, figures in parted if start == name}


def by_seed(cells: Mapping[str, Kept], name: str, column: str) -> dict[str, float]:
    """A column of a row, ``table/row``: {seed: value}, of those that have it."""
    kept = _of_row(cells, name)
    return {seed: float(one[column]) for seed, one in kept.items() if one.get(column) is not None}


def row(cells: Mapping[str, Kept], name: str, column: str) -> Figure | None:
    """A column of all seeds of a row; None where none of them has it."""
    values = list(by_seed(cells, name, column).values())
    if not values:
        return None
    kept = _of_row(cells, name).values()
    found = figure(values, [one[f"{column}_95"] for one in kept if f"{column}_95" in one])
    if column.startswith(_SHARES) and found.low is not None and found.high is not None:
        found = replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    return found


@dataclass(frozen=True)
class Ordering:
    """What a paper states, whether it came out here, and by how much.

    Attributes:
        sure: another draw of seeds would say the same: the interval of the difference ends before the bound.
    """

    stated: str
    held: bool
    by: str
    sure: bool = True

    @property
    def outcome(self) -> str:
        """In words."""
        return f"{'yes' if self.held else 'no'}{'' if self.sure else ', but seeds differ by more'}"


def orderings(cells: Mapping[str, Kept], scale: Scale) -> list[Ordering]:
    """All that can be told from the cells that are there."""
    found: list[Ordering] = []
    for network in scale.networks:
        found += _best_distance(cells, f"fd_{network}")
    found += _alignment(cells)
    for network in scale.networks:
        lowered = [("rectifying the fine-tuned model", "table1/full", "rectification/full")]
        lowered += [
            (
                f"DoG instead of CFG at w = {weight:g}",
                f"comparison/words-cfg-{weight:g}",
                f"comparison/words-dog-{weight:g}",
            )
            for weight in scale.guided
        ]
        lowered += [
            (
                f"DoG instead of CFG on the DiT at w = {weight:g}",
                f"strength/cfg-{weight:g}",
                f"strength/dog-{weight:g}",
            )
            for weight in scale.classes.strengths
            if 1.4 <= weight <= 2
        ]
        lowered += [
            ("the domain's term in assets", "assets/no-domain", "assets/whole"),
            ("score distillation in assets", "assets/no-SDS", "assets/whole"),
        ]
        for what, before, after in lowered:
            stated = f"{what} ({network}) lowers the distance"
            found += _compared(cells, stated, before, after, f"fd_{network}", falls=True)
    found += _forgetting(cells, scale)
    stated = "with score distillation the back of an asset is less empty (edges behind to those in front)"
    found += _compared(cells, stated, "assets/no-SDS", "assets/whole", "behind")
    return found


def _compared(
    cells: Mapping[str, Kept],
    stated: str,
    before: str,
    after: str,
    column: str,
    *,
    falls: bool = False,
    bound: float = 0.0,
    column_before: str | None = None,
    names: tuple[str, str] = ("", ""),
) -> list[Ordering]:
    """Whether a column rises (or ``falls``) by more than ``bound`` from one row to another, seed by seed."""
    column_before = column_before or column
    first, second = by_seed(cells, before, column_before), by_seed(cells, after, column)
    changes = [second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())]
    if not changes:
        return []
    sign = -1 if falls else 1
    change = figure(changes)
    limit = sign * bound
    sides = [row(cells, before, column_before), row(cells, after, column)]
    by = " to ".join(f"{name} {side}".strip() for name, side in zip(names, sides, strict=True))
    if len(changes) > 1:
        count = sum(sign * one > bound for one in changes)
        by += f"; by {change.signed}, as stated in {count} of {len(changes)} seeds"
    else:
        by += f"; by {change.signed}, one seed"
    sure = change.low is None or change.high is None or not change.low <= limit <= change.high
    return [Ordering(stated, sign * change.mean > bound, by, sure)]


def _best_distance(cells: Mapping[str, Kept], column: str) -> list[Ordering]:
    """Ours against the better of each other method's two ways."""
    ways = {
        (method, way): found.mean
        for method in BASELINES
        if method != OURS
        for way in (column, f"unguided_{column}")
        if (found := row(cells, f"table1/{method}", way)) is not None
    }
    if not ways:
        return []
    best, way = min(ways, key=ways.__getitem__)
    return _compared(
        cells,
        f"ours has the lowest {column} of the six, each other method at the better of its two guidances",
        f"table1/{best}",
        f"table1/{OURS}",
        column,
        falls=True,
        column_before=way,
        names=(f"next {best}", "ours"),
    )


def _alignment(cells: Mapping[str, Kept]) -> list[Ordering]:
    told = (
        ("ours is aligned at least 0.20 better than full fine-tuning", "full", 0.2),
        ("ours is aligned within 0.10 of the prior itself", PRIOR, -0.1),
    )
    found = []
    for stated, other, bound in told:
        names = (other, "ours")
        found += _compared(
            cells, stated, f"table1/{other}", f"table1/{OURS}", "align", bound=bound, names=names
        )
    return found


def _forgetting(cells: Mapping[str, Kept], scale: Scale) -> list[Ordering]:
    mark = f"{scale.marks[0]:g}"
    falls = "over its training the alignment of full falls"
    stays = f"over its training the alignment of {OURS} stays (within 0.10)"
    return [
        *_compared(cells, falls, f"forgetting/full-{mark}", "table1/full", "align", falls=True),
        *_compared(cells, stays, f"forgetting/{OURS}-{mark}", f"table1/{OURS}", "align", bound=-0.1),
    ]
