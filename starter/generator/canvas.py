"""A picture to paint pottery on: it wraps round, and strokes that leave it on one side come in on the other.

Row 0 is at the top. A canvas repeats to the left and right, and for tiles also up and down. Sizes are fractions of its
height, so that one motif serves a sheet wrapped round a vase and a tile projected on a chair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """A ware's sRGB colours: ground (glaze), ink (outlines and fills), wash (thin paint), accent (second paint)."""

    ground: Colour
    ink: Colour
    wash: Colour
    accent: Colour


class Canvas:
    """A wrapping picture to draw on; x and y run from 0 to aspect and from 0 (top) to 1 in heights."""

    def __init__(self, width: int, height: int, ground: Colour, *, wrap_vertically: bool):
        self.image = Image.new("RGB", (width, height), ground)
        self.draw = ImageDraw.Draw(self.image)
        self.width, self.height, self.wrap_vertically = width, height, wrap_vertically
        self.aspect = width / height

    def _copies(self, points) -> list[list[tuple[float, float]]]:
        xy = np.asarray(points, np.float64).reshape(-1, 2) * self.height
        (x0, y0), (x1, y1) = (xy.min(0) - 12).tolist(), (xy.max(0) + 12).tolist()
        across = [0.0] + [self.width] * (x0 < 0) + [-self.width] * (x1 > self.width)
        down = [0.0]
        if self.wrap_vertically:
            down += [self.height] * (y0 < 0) + [-self.height] * (y1 > self.height)
        return [[tuple(p) for p in (xy + (dx, dy)).tolist()] for dx in across for dy in down]

    def fill(self, points, colour: Colour) -> None:
        """A filled polygon."""
        for copy in self._copies(points):
            self.draw.polygon(copy, fill=colour)

    def stroke(self, points, colour: Colour, width: float) -> None:
        """A brush line of constant width with round joints and ends."""
        pixels = max(1, round(width * self.height))
        for copy in self._copies(points):
            self.draw.line(copy, fill=colour, width=pixels, joint="curve")
            for x, y in (copy[0], copy[-1]):
                r = pixels / 2
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled disc."""
        for copy in self._copies([(x - radius, y - radius), (x + radius, y + radius)]):
            self.draw.ellipse((*copy[0], *copy[1]), fill=colour)

    def band(self, top: float, bottom: float, colour: Colour) -> None:
        """A horizontal stripe all round."""
        self.draw.rectangle(
            (0, round(top * self.height), self.width, round(bottom * self.height) - 1), fill=colour
        )

    def pixels(self) -> np.ndarray:
        """The picture [H, W, 3] uint8, softened like paint under glaze."""
        return np.asarray(self.image.filter(ImageFilter.GaussianBlur(0.8)), np.uint8).copy()
