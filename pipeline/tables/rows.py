"""From cells to rows: the mean over seeds with an interval, and whether each ordering that the papers state came out.

With several seeds the interval is Student's, 95 %, over seeds: a training that is run again. With one it is the
bootstrap over pictures, which says nothing of another training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...systems.baselines.table import BASELINES, OURS
from .cells import Kept
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


def row(cells: Mapping[str, Kept], name: str, column: str) -> Figure | None:
    """A column of all seeds of a row, ``table/row``; None where none of them has it."""
    kept = [one.figures for cell, one in cells.items() if cell.rsplit("-", 1)[0] == name]
    values = [float(one[column]) for one in kept if one.get(column) is not None]
    intervals = [one[f"{column}_95"] for one in kept if f"{column}_95" in one]
    if not values:
        return None
    found = figure(values, intervals)
    if column.startswith(_SHARES) and found.low is not None and found.high is not None:
        found = replace(found, low=max(0.0, found.low), high=min(1.0, found.high))
    return found


@dataclass(frozen=True)
class Ordering:
    """What a paper states, whether it came out here, and by how much."""

    stated: str
    held: bool
    by: str


def orderings(cells: Mapping[str, Kept], scale: Scale) -> list[Ordering]:
    """All that can be told from the cells that are there."""
    networks = [name.rsplit("-", 1)[-1] for name in scale.extractors]
    found: list[Ordering] = []
    for network in networks:
        found += _best_distance(cells, f"fd_{network}")
    found += _alignment(cells)
    for network in networks:
        column = f"fd_{network}"
        found += _smaller(
            cells,
            "table1/full",
            "rectification/full",
            column,
            f"rectifying the fine-tuned model ({network})",
        )
        for weight in scale.guided:
            found += _smaller(
                cells,
                f"comparison/words-cfg-{weight:g}",
                f"comparison/words-dog-{weight:g}",
                column,
                f"DoG instead of CFG at w = {weight:g} ({network})",
            )
        for weight in (one for one in scale.classes.strengths if 1.4 <= one <= 2):
            found += _smaller(
                cells,
                f"strength/cfg-{weight:g}",
                f"strength/dog-{weight:g}",
                column,
                f"DoG instead of CFG on the DiT at w = {weight:g} ({network})",
            )
        for without, what in (("no-domain", "the domain's term"), ("no-SDS", "score distillation")):
            found += _smaller(
                cells, f"assets/{without}", "assets/whole", column, f"{what} in assets ({network})"
            )
    found += _forgetting(cells, scale)
    found += _back(cells)
    return found


def _smaller(cells: Mapping[str, Kept], without: str, with_it: str, column: str, what: str) -> list[Ordering]:
    before, after = row(cells, without, column), row(cells, with_it, column)
    if before is None or after is None:
        return []
    gained = before.mean - after.mean
    return [Ordering(f"{what} lowers the distance", gained > 0, f"{before} to {after}")]


def _back(cells: Mapping[str, Kept]) -> list[Ordering]:
    whole, without = (row(cells, f"assets/{name}", "behind") for name in ("whole", "no-SDS"))
    if whole is None or without is None:
        return []
    stated = "without score distillation the back of an asset is emptier (edges behind to those in front)"
    return [Ordering(stated, without.mean < whole.mean, f"{without} without, {whole} with")]


def _best_distance(cells: Mapping[str, Kept], column: str) -> list[Ordering]:
    """Ours against the better of each other method's two ways."""
    ours, others = row(cells, f"table1/{OURS}", column), dict[str, float]()
    for method in BASELINES:
        ways = [row(cells, f"table1/{method}", name) for name in (column, f"unguided_{column}")]
        known = [one.mean for one in ways if one is not None]
        if method != OURS and known:
            others[method] = min(known)
    if ours is None or not others:
        return []
    best = min(others, key=others.__getitem__)
    stated = f"ours has the lowest {column} of the six, each other method at the better of its two guidances"
    return [Ordering(stated, ours.mean < others[best], f"ours {ours}, next {best} {_short(others[best])}")]


def _alignment(cells: Mapping[str, Kept]) -> list[Ordering]:
    ours, full, prior = (row(cells, f"table1/{name}", "align") for name in (OURS, "full", PRIOR))
    found = []
    if ours and full:
        gap = ours.mean - full.mean
        found.append(
            Ordering("ours is aligned at least 0.20 better than full fine-tuning", gap >= 0.2, f"{gap:+.2f}")
        )
    if ours and prior:
        gap = prior.mean - ours.mean
        found.append(Ordering("ours is aligned within 0.10 of the prior itself", gap <= 0.1, f"{-gap:+.2f}"))
    return found


def _forgetting(cells: Mapping[str, Kept], scale: Scale) -> list[Ordering]:
    found = []
    for method, stays in (("full", False), (OURS, True)):
        early, late = (
            row(cells, name, "align")
            for name in (f"forgetting/{method}-{scale.marks[0]:g}", f"table1/{method}")
        )
        if early and late:
            change = late.mean - early.mean
            stated = (
                f"over its training the alignment of {method} {'stays (within 0.10)' if stays else 'falls'}"
            )
            found.append(Ordering(stated, change > -0.1 if stays else change < 0, f"{change:+.2f}"))
    return found
