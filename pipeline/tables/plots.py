"""Curves of the tables as pictures: a panel for each column, the mean over seeds as a line, every seed as a dot.

Pillow draws them, so that no plotting library is needed: ``SCALE`` times too large, then reduced, which smooths
all edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCALE = 3
WIDTH, HEIGHT = 340, 250
ACROSS = 3
"""Panels in a row, so that what is written can be read in the middle of a page."""
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 50, 40
"""Of a panel, around its axes."""
PAPER, INK, QUIET, GRID = "#ffffff", "#1f2328", "#6a7178", "#e4e6e9"
COLOURS = ("#2468b2", "#d94220", "#3a8f4f", "#8a5bb5")
TICKS = 5

Points = Mapping[float, Sequence[float]]
"""{x: a value for each seed}"""


@dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        title: of what is up.
        lines: by name, in the order of their colours.
    """

    title: str
    lines: Mapping[str, Points]


def draw(
    panels: Sequence[Panel], along: str, marks: Mapping[float, str], *, doubling: bool = False
) -> np.ndarray:
    """Panels in rows, [H, W, 3] uint8.

    Args:
        along: what the horizontal axis tells.
        marks: {x: how it is written}.
        doubling: every doubling of x is as wide as any other.
    """
    position: Callable[[float], float] = math.log if doubling else float
    first, last = position(min(marks)), position(max(marks))
    rows, columns = -(-len(panels) // ACROSS), min(len(panels), ACROSS)
    board = Image.new("RGB", (WIDTH * columns, HEIGHT * rows), PAPER)
    for place, panel in enumerate(panels):
        drawn = _drawn(panel, along, marks, lambda x: (position(x) - first) / (last - first))
        board.paste(drawn, (place % ACROSS * WIDTH, place // ACROSS * HEIGHT))
    return np.asarray(board)


def _drawn(
    panel: Panel, along: str, marks: Mapping[float, str], part_of: Callable[[float], float]
) -> Image.Image:
    board = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    pen = ImageDraw.Draw(board)
    values = [value for points in panel.lines.values() for each in points.values() for value in each]
    ticks = ticks_of(min(values), max(values))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(x: float) -> float:
        return LEFT + width * part_of(x)

    def up(y: float) -> float:
        return TOP + height * (ticks[-1] - y) / (ticks[-1] - ticks[0])

    _write(pen, LEFT, 20, panel.title, 13, INK, "ls")
    for tick in ticks:
        _line(pen, [(LEFT, up(tick)), (WIDTH - RIGHT, up(tick))], GRID, 1)
        _write(pen, LEFT - 7, up(tick), f"{tick:g}", 11, QUIET, "rm")
    for x, words in marks.items():
        _write(pen, across(x), HEIGHT - BOTTOM + 15, words, 11, QUIET, "ms")
    _write(pen, LEFT + width / 2, HEIGHT - 7, along, 11, QUIET, "ms")
    legend = float(LEFT)
    for colour, (name, points) in zip(COLOURS, panel.lines.items(), strict=False):
        means = [(across(x), up(float(np.mean(each)))) for x, each in sorted(points.items())]
        _line(pen, means, colour, 2)
        for x, each in points.items():
            for value in each:
                _disc(pen, across(x), up(value), 2.2, colour)
        _line(pen, [(legend, 35), (legend + 16, 35)], colour, 2)
        legend += 36 + _write(pen, legend + 21, 35, name, 11, INK, "lm")
    return board.reduce(SCALE)


def ticks_of(low: float, high: float) -> list[float]:
    """Round numbers from below all values to above them, some ``TICKS``, each 1, 2 or 5 of a power of ten apart."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * one for one in (1, 2, 5, 10) if power * one * TICKS >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(place * step, 10) for place in range(first, max(last, first + 1) + 1)]


def _line(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str, width: float) -> None:
    pen.line([(x * SCALE, y * SCALE) for x, y in points], colour, round(width * SCALE), joint="curve")


def _disc(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: str) -> None:
    pen.ellipse(
        [SCALE * (x - radius), SCALE * (y - radius), SCALE * (x + radius), SCALE * (y + radius)], colour
    )


def _write(
    pen: ImageDraw.ImageDraw, x: float, y: float, words: str, size: int, colour: str, anchor: str
) -> float:
    """Words; returns their width."""
    font = ImageFont.load_default(size * SCALE)
    pen.text((x * SCALE, y * SCALE), words, colour, font, anchor=anchor)
    return pen.textlength(words, font) / SCALE
