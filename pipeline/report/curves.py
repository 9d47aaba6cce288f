"""The course of a refinement as two drawings: its losses, and how hard each of them pulls, on logarithmic axes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from .markup import Markup, element

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 8, 28
_COLOURS = 8  # of style.css, and then from the first on again with a dashed line
_DECADES = 8.0  # no more below the largest value; what is smaller lies on the axis
_LARGEST = 1_000_000  # bytes of a file that is read

Series = dict[str, list[tuple[int, float]]]
"""{name: [(step, value)]}"""


def read_course(path: Path | None) -> tuple[Series, Series]:
    """(losses, gradients) out of a curve.csv; nothing of a file that is none."""
    losses: Series = {}
    gradients: Series = {}
    try:
        if path is None or path.stat().st_size > _LARGEST:
            return {}, {}
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            for column, text in row.items():
                kind, _, name = str(column).partition(" ")
                series = {"loss": losses, "gradient": gradients}.get(kind)
                if series is not None and isinstance(text, str) and text and math.isfinite(float(text)):
                    series.setdefault(name, []).append((int(row["step"]), float(text)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}, {}
    return losses, gradients


def curves(path: Path | None) -> Markup | None:
    """Both drawings side by side, with the names of the lines; None where there is nothing to draw."""
    losses, gradients = read_course(path)
    if max((len(points) for points in losses.values()), default=0) < 2:
        return None
    names = list(losses)
    drawn = [
        element("figure", _drawing(series, names, title), element("figcaption", title))
        for series, title in ((losses, "Weighted losses"), (gradients, "Norm of each loss's gradient"))
        if series
    ]
    legend = [
        element("li", element("span", class_=f"swatch {_class_of(number)}"), name)
        for number, name in enumerate(names)
    ]
    return element("div", element("div", drawn, class_="plots"), element("ul", legend, class_="legend"))


def _drawing(series: Mapping[str, Sequence[tuple[int, float]]], names: Sequence[str], title: str) -> Markup:
    steps = [step for points in series.values() for step, _ in points]
    sizes = [abs(value) for points in series.values() for _, value in points if value]
    top = math.ceil(math.log10(max(sizes, default=1.0)))
    low = max(top - _DECADES, math.floor(math.log10(min(sizes, default=0.1))))
    low, last = min(low, top - 1), max(1, max(steps, default=1))

    def x(step: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last, 1)

    def y(exponent: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (exponent - low) / (top - low), 1)

    grid = [
        [
            element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(power), y2=y(power), class_="grid"),
            element("text", f"1e{power}", x=_LEFT - 6, y=y(power) + 4, text_anchor="end"),
        ]
        for power in range(int(low), int(top) + 1)
    ]
    ticks = [
        element("text", round(step), x=x(step), y=_HEIGHT - 8, text_anchor=anchor)
        for step, anchor in ((0, "start"), (last / 2, "middle"), (last, "end"))
    ]
    lines = [
        element(
            "polyline",
            element("title", name),
            points=" ".join(f"{x(step)},{y(_exponent(value, low))}" for step, value in series[name]),
            class_=f"line {_class_of(number)}",
        )
        for number, name in enumerate(names)
        if name in series
    ]
    return element(
        "svg",
        grid,
        ticks,
        lines,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title} by step, logarithmic",
        class_="plot",
    )


def _exponent(value: float, low: float) -> float:
    return max(low, math.log10(abs(value))) if value else low


def _class_of(number: int) -> str:
    return f"c{number % _COLOURS}" + (" dashed" if number >= _COLOURS else "")
