"""Curves as inline SVG on plain axes, drawn as the reports draw theirs; a table of the numbers is beside each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ..report.markup import element

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 12, 30
_COLOURS = 8  # of style.css
_TICKS = 4

Series = Mapping[str, Sequence[tuple[float, float]]]
"""{name: [(x, y)]}"""


def plot(
    series: Series, title: str, *, along: str = "step", from_zero: bool = False, top: float | None = None
) -> Markup:
    """A drawing of lines, its legend, and its numbers as a table behind a summary; empty where there are no points.

    Args:
        series: a name without points has its colour, so that two drawings of the same names can be compared.
        title: what is drawn, as a label for those who do not see it.
        along: what the horizontal axis counts.
        from_zero: let the vertical axis begin at 0.
        top: where it ends at least, so that two drawings have one scale.
    """
    drawn = {name: [p for p in points if math.isfinite(p[1])] for name, points in series.items()}
    kinds = {name: f"c{number % _COLOURS}" for number, name in enumerate(drawn)}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return Markup("")
    legend = [element("li", element("span", class_=f"swatch {kinds[name]}"), name) for name in drawn]
    figure = element("div", _svg(drawn, kinds, title, along, from_zero, top), class_="drawing")
    names = element("ul", legend, class_="legend") if len(series) > 1 else ""
    table = element("details", element("summary", "As numbers"), _table(drawn, along))
    return Markup(element("div", figure, names, table, class_="plotted"))


def _svg(
    series: Series,
    kinds: Mapping[str, str],
    title: str,
    along: str,
    from_zero: bool,
    top: float | None,
) -> str:
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    ticks = _ticks(0.0 if from_zero else min(ys), max([*ys, *([] if top is None else [top])]))
    low, high, first, last = ticks[0], ticks[-1], min(xs), max(xs)

    def x(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - first) / ((last - first) or 1.0), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low), 1)

    grid = [
        [
            element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick), class_="grid"),
            element("text", f"{tick:.4g}", x=_LEFT - 6, y=y(tick) + 4, text_anchor="end"),
        ]
        for tick in ticks
    ]
    below = [
        element("text", text, x=x(value), y=_HEIGHT - 8, text_anchor=anchor)
        for value, text, anchor in ((first, f"{first:g}", "start"), (last, f"{along} {last:g}", "end"))
        if anchor == "end" or last > first
    ]
    lines = []
    for name, points in series.items():
        kind = kinds[name]
        places = [(x(one), y(value)) for one, value in points]
        if len(places) > 1:
            path = " ".join(f"{a},{b}" for a, b in places)
            lines.append(element("polyline", element("title", name), points=path, class_=f"line {kind}"))
        if len(places) <= 16:
            lines += [element("circle", cx=a, cy=b, r=3, class_=f"point {kind}") for a, b in places]
    return element(
        "svg",
        grid,
        below,
        lines,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title} by {along}",
        class_="plot",
    )


def _ticks(low: float, high: float) -> list[float]:
    """A few round numbers around all values."""
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.1
    step = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step *= next(n for n in (1, 2, 5, 10) if (high - low) / (n * step) <= _TICKS)
    return [round(n * step, 12) for n in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def _table(series: Series, along: str) -> str:
    steps = sorted({x for points in series.values() for x, _ in points})
    of = {name: dict(points) for name, points in series.items()}
    head = element(
        "tr", element("th", along, scope="col"), [element("th", name, scope="col") for name in series]
    )
    kept = steps if len(steps) <= 60 else [steps[round(i * (len(steps) - 1) / 59)] for i in range(60)]
    rows = [
        element(
            "tr",
            element("th", f"{step:g}", scope="row"),
            [
                element("td", f"{of[name][step]:.4g}" if step in of[name] else "", class_="right")
                for name in series
            ],
        )
        for step in kept
    ]
    table = element("table", element("thead", head), element("tbody", rows))
    return element(
        "div", table, class_="scroll", tabindex="0", role="region", aria_label="The same as numbers"
    )
