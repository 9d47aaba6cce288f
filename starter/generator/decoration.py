"""Whole decorations: a field of motifs between border bands for bodies of revolution, and tiles for everything else."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Colour, Palette
from .motifs import MOTIFS, petal


def border(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """One ornamental band between two lines."""
    h = bottom - top
    canvas.band(top, bottom, p.ground)
    style = int(rng.integers(5))
    count = round(canvas.aspect / (1.1 * h))
    w = canvas.aspect / count
    for k in range(count):
        x = (k + 0.5) * w
        if style == 0:
            canvas.fill([(x - 0.5 * w, bottom), (x, top + 0.15 * h), (x + 0.5 * w, bottom)], p.ink)
        elif style == 1:
            canvas.disc(x, top + 0.5 * h, 0.26 * h, p.ink)
        elif style == 2:
            canvas.fill(petal(x - 0.45 * w, top + 0.5 * h, 0.0, 0.9 * w, 0.3 * h), p.ink)
        elif style == 3:
            canvas.stroke(
                [(x - 0.5 * w, bottom - 0.2 * h), (x, top + 0.2 * h), (x + 0.5 * w, bottom - 0.2 * h)],
                p.ink,
                0.18 * h,
            )
    if style == 4:
        canvas.band(top, bottom, p.ink)
    canvas.band(top, top + 0.2 * h, p.ink)
    canvas.band(bottom - 0.2 * h, bottom, p.ink)


def paint_sheet(rng: np.random.Generator, palette: Palette, *, height: int = 224) -> np.ndarray:
    """Decoration for one body of revolution [H, 2.2 H, 3] uint8: a main field between rim and foot bands."""
    canvas = Canvas(round(2.2 * height), height, palette.ground, wrap_vertically=False)
    rim, foot = rng.uniform(0.05, 0.09), rng.uniform(0.05, 0.10)
    top, bottom = 0.02 + rim, 0.97 - foot
    name = list(MOTIFS)[int(rng.integers(len(MOTIFS)))]
    if rng.random() < 0.35:
        # A second field, as on large vases: a shoulder or a skirt of another motif.
        split = rng.uniform(0.3, 0.42) if rng.random() < 0.5 else rng.uniform(0.64, 0.74)
        other = ("panels", "scrolls", "lattice", "vines")[int(rng.integers(4))]
        first, second = (other, name) if split < 0.5 else (name, other)
        MOTIFS[first](canvas, rng, palette, top + 0.015, split - 0.03)
        MOTIFS[second](canvas, rng, palette, split + 0.03, bottom - 0.015)
        canvas.band(split - 0.018, split + 0.018, palette.ink)
    else:
        MOTIFS[name](canvas, rng, palette, top + 0.03, bottom - 0.03)
    border(canvas, rng, palette, 0.01, 0.01 + rim)
    border(canvas, rng, palette, 0.98 - foot, 0.98)
    return canvas.pixels()


TILE_MOTIFS = ("peonies", "vines", "scrolls", "lattice", "dots", "birds", "fish", "plum")


def paint_tile(rng: np.random.Generator, palette: Palette, *, size: int = 160) -> np.ndarray:
    """Decoration that repeats both ways [S, S, 3] uint8, for whatever is not a body of revolution."""
    canvas = Canvas(size, size, palette.ground, wrap_vertically=True)
    name = TILE_MOTIFS[int(rng.integers(len(TILE_MOTIFS)))]
    MOTIFS[name](canvas, rng, palette, 0.04, 0.96)
    return canvas.pixels()


def paint_dots(colour: Colour, ground: Colour, *, size: int = 96) -> np.ndarray:
    """A polka-dot tile [S, S, 3] uint8."""
    canvas = Canvas(size, size, ground, wrap_vertically=True)
    for x, y in ((0.25, 0.25), (0.75, 0.75)):
        canvas.disc(x, y, 0.19, colour)
    return canvas.pixels()
