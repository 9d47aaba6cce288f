"""A refinement's log as a picture: losses and pushes on logarithmic axes, opacity on a plain one, by step."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _PANEL = 1000, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 290, 34, 30  # around the axes of a panel; the names stand on the right
_FONT, _LINE = 14, 20
_LARGEST = 600  # points of a line
_DECADES = 8  # no more below the largest value
_COLOURS = ("#2f6db5", "#d9822b", "#3a9a5b", "#c23b3b", "#7a57b5", "#8a6242", "#cf6ab0", "#6b7280")
_INK, _GRID = "#30343b", "#d8dce2"

Series = dict[str, list[tuple[int, float]]]
"""{name: [(step, value)]}"""


def progress_picture(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """The picture as a PNG; the same lines make the same bytes.

    Args:
        lines: of the log, one for each step.
    """
    panels = [
        ("Weighted losses", _series(lines, "losses"), True),
        ("Loss of the LoRA that learns the renders", _series(lines, "own_loss"), True),
        ("Length of each term's push", _series(lines, "terms"), True),
        ("Opacity: share of the views that the object covers", _series(lines, "opacity"), False),
    ]
    panels = [panel for panel in panels if panel[1]] or panels[:1]
    last = max(1, max((line["step"] for line in lines), default=0))
    picture = Image.new("RGB", (_WIDTH, _PANEL * len(panels)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(_FONT)
    for row, (title, series, logarithmic) in enumerate(panels):
        _draw_panel(draw, font, row * _PANEL, title, series, last, logarithmic)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _series(lines: Sequence[Mapping[str, Any]], kind: str) -> Series:
    found: Series = {}
    for line in lines:
        told = line.get(kind, {})
        for name, value in (told if isinstance(told, Mapping) else {kind: told}).items():
            if value is not None:
                found.setdefault(name, []).append((line["step"], value))
    return {name: points[:: -(-len(points) // _LARGEST)] for name, points in found.items()}


def _draw_panel(
    draw: ImageDraw.ImageDraw,
    font: Any,
    top: int,
    title: str,
    series: Series,
    last: int,
    logarithmic: bool,
) -> None:
    left, right, high, low = _LEFT, _WIDTH - _RIGHT, top + _TOP, top + _PANEL - _BOTTOM
    ticks, share = _logarithmic(series) if logarithmic else _plain()

    def place(step: int, value: float) -> tuple[float, float]:
        return left + (right - left) * step / last, low - (low - high) * min(1.0, max(0.0, share(value)))

    draw.text((left, top + 8), title, fill=_INK, font=font)
    for text, value in ticks:
        _, y = place(0, value)
        draw.line([(left, y), (right, y)], fill=_GRID)
        draw.text((left - 8, y), text, fill=_INK, font=font, anchor="rm")
    for step in sorted({0, last // 2, last}):
        draw.text((place(step, 1.0)[0], low + 6), str(step), fill=_INK, font=font, anchor="ma")
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place(*point) for point in points]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        else:
            draw.circle(places[0], 3, fill=colour)
        y = high + number * _LINE
        if y < low:
            draw.line([(right + 14, y), (right + 32, y)], fill=colour, width=4)
            draw.text((right + 40, y), _shortened(draw, font, name), fill=_INK, font=font, anchor="lm")


def _shortened(draw: ImageDraw.ImageDraw, font: Any, name: str) -> str:
    """A name that fits beside the axes."""
    while draw.textlength(name, font) > _RIGHT - 48:
        name = name.rstrip("…")[:-1] + "…"
    return name


def _plain() -> tuple[list[tuple[str, float]], Callable[[float], float]]:
    return [(f"{value:g}", value) for value in (0.0, 0.25, 0.5, 0.75, 1.0)], lambda value: value


def _logarithmic(series: Series) -> tuple[list[tuple[str, float]], Callable[[float], float]]:
    """Ticks at powers of ten, and the share of the height; what is 0 or far below the rest lies on the axis."""
    sizes = [abs(value) for points in series.values() for _, value in points if value]
    most = math.ceil(math.log10(max(sizes, default=1.0)))
    least = min(most - 1, max(most - _DECADES, math.floor(math.log10(min(sizes, default=0.1)))))
    every = -(-(most - least) // 5)
    ticks = [(f"1e{power}", 10.0**power) for power in range(most, least - 1, -every)]
    return ticks, lambda value: (math.log10(abs(value)) - least) / (most - least) if value else 0.0
