"""The picture of ``benchmarks.toy``: small scatter plots in a grid, a row per recipe and a column per weight.

Pillow draws it, so that no plotting library is needed: three times too large, then reduced, which smooths all edges.
Lengths are pixels of the finished picture; LEFT to TOP alone are on the plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from slipcast.guidance.mixture import (
    CLASS_A,
    CLASS_B,
    OUTSIDE,
    MixturePredictor,
    nearest_mode,
    toy_figures,
)

SCALE = 3
UNIT = 88
"""Pixels for a length of 1 on the plane."""
LEFT, RIGHT, BOTTOM, TOP = -0.4, 3.4, -1.4, 3.4
"""The part of the plane that is shown."""
PANEL = round((RIGHT - LEFT) * UNIT), round((TOP - BOTTOM) * UNIT)
GAP, MARGIN, HEADER, CAPTION, LEGEND = 26, 30, 66, 40, 44

PAPER, INK, QUIET, PRIOR, FAINT = "#ffffff", "#1f2328", "#6a7178", "#ececee", "#b9bdc3"
BLUE, RED = (36, 104, 178), (217, 66, 32)
DOT, OPACITY = 1.5, 0.4
"""A sample's radius, and how much of what is below it a dot covers."""

LEGEND_ITEMS = (
    (PRIOR, None, "pre-trained mode, 1 sd"),
    (None, INK, "mode of class A, 3 sd"),
    (None, FAINT, "mode of class B, 3 sd"),
    (BLUE, None, "sample inside class A"),
    (RED, None, "outside"),
)
LEGEND_NUMBER = "34%", "of the samples are nearest to this mode"


class Canvas:
    """A drawing board on which everything is ``SCALE`` times as large."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def disc(self, x: float, y: float, radius: float, fill: Any = None, outline: Any = None) -> None:
        """A disc or a ring about (x, y)."""
        corners = [SCALE * (x - radius), SCALE * (y - radius), SCALE * (x + radius), SCALE * (y + radius)]
        self.pen.ellipse(corners, fill, outline, width=round(1.3 * SCALE) if outline else 0)

    def text(self, x: float, y: float, words: str, size: int, colour: Any = INK, anchor: str = "ls") -> float:
        """Words on a thin halo of paper, so that they can be read over dots.

        Returns: their width.
        """
        font = ImageFont.load_default(size * SCALE)
        place = SCALE * x, SCALE * y
        self.pen.text(place, words, colour, font, anchor=anchor, stroke_width=2 * SCALE, stroke_fill=PAPER)
        return self.pen.textlength(words, font) / SCALE

    def dots(self, pixels: np.ndarray, colour: tuple[int, int, int]) -> None:
        """Translucent dots at [N, 2]: n of them in one place cover 1 - (1 - opacity)^n of it, in any order."""
        width, height = self.image.size
        reach = int(DOT * SCALE) + 1
        offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
        offsets = offsets[(offsets**2).sum(1) <= (DOT * SCALE) ** 2]
        places = (np.rint(pixels * SCALE).astype(int)[:, None] + offsets).reshape(-1, 2)
        x, y = places[((places >= 0) & (places < (width, height))).all(1)].T
        covered = 1 - (1 - OPACITY) ** np.bincount(y * width + x, minlength=width * height)
        below = np.asarray(self.image, dtype=float)
        mixed = below + covered.reshape(height, width, 1) * (np.array(colour) - below)
        self.image.paste(Image.fromarray(np.rint(mixed).astype(np.uint8)))

    def finished(self) -> Image.Image:
        """The picture at its own size, in 256 colours: a third of the file, and no difference to be seen."""
        small = self.image.reduce(SCALE)
        # Maximum coverage keeps the colours that few pixels have, here the outside samples' red.
        return small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)


def on_panel(points: Any) -> np.ndarray:
    """Where points of the plane [N, 2] lie on a panel; y of the plane goes up."""
    return (np.asarray(points, dtype=float) - (LEFT, TOP)) * (UNIT, -UNIT)


def draw_panel(points: Tensor, prior: MixturePredictor) -> Canvas:
    """One scatter plot, with the share of the samples that each mode of class A has got."""
    panel = Canvas(*PANEL)
    for x, y in on_panel(prior.means.flatten(1)):
        panel.disc(x, y, prior.variance**0.5 * UNIT, PRIOR)
    for x, y in on_panel(CLASS_B):
        panel.disc(x, y, OUTSIDE * UNIT, outline=FAINT)
    outside = nearest_mode(points)[0] > OUTSIDE
    for chosen, colour in ((~outside, BLUE), (outside, RED)):
        panel.dots(on_panel(points.flatten(1)[chosen]), colour)
    for (x, y), share in zip(on_panel(CLASS_A), toy_figures(points).modes, strict=True):
        panel.disc(x, y, OUTSIDE * UNIT, outline=INK)
        side = 1 if x > PANEL[0] / 2 else -1  # away from the other modes
        told = f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
        panel.text(x + side * (OUTSIDE * UNIT + 6), y, told, 15, anchor="lm" if side > 0 else "rm")
    return panel


def draw_legend(canvas: Canvas, y: float) -> None:
    """What the discs, rings and dots are, in one line."""
    x = MARGIN
    for fill, outline, words in LEGEND_ITEMS:
        radius = 4 if fill in (BLUE, RED) else 8
        canvas.disc(x + radius, y, radius, fill, outline)
        x += 2 * radius + 7
        x += canvas.text(x, y, words, 14, QUIET, anchor="lm") + 20
    x += canvas.text(x, y, LEGEND_NUMBER[0], 14, anchor="lm") + 6
    canvas.text(x, y, LEGEND_NUMBER[1], 14, QUIET, anchor="lm")


def draw_figure(rows: Mapping[str, Mapping[float, Tensor]], prior: MixturePredictor, path: Path) -> None:
    """Draw the samples [B, 2, 1, 1] of each title and weight, over the modes of the prior."""
    columns = max(len(row) for row in rows.values())
    height = HEADER + PANEL[1] + CAPTION
    canvas = Canvas(
        2 * MARGIN + columns * PANEL[0] + (columns - 1) * GAP, len(rows) * height + LEGEND + MARGIN // 2
    )
    for i, (title, row) in enumerate(rows.items()):
        canvas.text(MARGIN, i * height + 28, title, 19)
        for j, (weight, points) in enumerate(row.items()):
            x, y = MARGIN + j * (PANEL[0] + GAP), i * height + HEADER
            middle = x + PANEL[0] / 2
            heading = f"w = {weight:g}" + (", no guidance" if weight == 1 else "")
            canvas.text(middle, y - 10, heading, 16, QUIET, anchor="ms")
            canvas.image.paste(draw_panel(points, prior).image, (x * SCALE, y * SCALE))
            corners = [SCALE * value for value in (x, y, x + PANEL[0], y + PANEL[1])]
            canvas.pen.rectangle(corners, outline=FAINT, width=SCALE)
            share = toy_figures(points).outside
            canvas.text(middle, y + PANEL[1] + 24, f"{share:.1%} outside", 17, anchor="ms")
    draw_legend(canvas, len(rows) * height + LEGEND / 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.finished().save(path, optimize=True)
