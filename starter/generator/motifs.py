"""The brush motifs of painted pottery: each fills a band of a canvas from ``top`` to ``bottom``.

Strokes are bold: at 128 pixels a vase is about 160 sheet-pixels round, and the paint must still read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .canvas import Canvas, Palette


def petal(x: float, y: float, angle: float, length: float, width: float, bend: float = 0.0) -> np.ndarray:
    """Outline of a leaf or petal that starts at (x, y)."""
    t = np.linspace(0, 1, 7)
    half = width * np.sin(np.pi * t**0.8)
    along = np.concatenate([t, t[::-1]]) * length
    across = np.concatenate([half, -half[::-1]]) + bend * along**2 / max(length, 1e-6)
    c, s = math.cos(angle), math.sin(angle)
    return np.stack([x + along * c - across * s, y + along * s + across * c], 1)


def _blossom(canvas: Canvas, rng, p: Palette, x: float, y: float, radius: float) -> None:
    petals, turn = int(rng.integers(5, 9)), rng.uniform(0, 6.28)
    for k in range(petals):
        angle = turn + k * 2 * math.pi / petals
        width = radius * 2.1 / petals
        canvas.fill(petal(x, y, angle, radius, width), p.ink)
        canvas.fill(petal(x, y, angle, radius * 0.72, width * 0.5), p.wash)
    canvas.disc(x, y, radius * 0.30, p.accent)
    canvas.disc(x, y, radius * 0.14, p.ground)


def peonies(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Large flower heads between leaves."""
    h, mid = bottom - top, 0.5 * (top + bottom)
    count = max(1, round(canvas.aspect / (h * 0.8)))
    for k in range(count):
        x, y = (k + 0.5) * canvas.aspect / count, mid + rng.uniform(-0.05, 0.05) * h
        for _ in range(6):
            canvas.fill(petal(x, y, rng.uniform(0, 6.28), h * rng.uniform(0.46, 0.6), h * 0.085), p.ink)
        _blossom(canvas, rng, p, x, y, 0.36 * h)
        edge = x + 0.5 * canvas.aspect / count
        canvas.fill(petal(edge, mid - 0.35 * h, 1.57, 0.7 * h, 0.07 * h), p.wash)
        canvas.disc(edge, mid, 0.06 * h, p.ink)


def vines(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """A waving stem with leaves, curls and a flower in every bend."""
    h, mid = bottom - top, 0.5 * (top + bottom)
    waves = max(1, round(canvas.aspect / (1.5 * h)))
    x = np.linspace(0, canvas.aspect, 20 * waves + 1)
    phase = 2 * np.pi * waves / canvas.aspect
    y = mid + 0.24 * h * np.sin(phase * x)
    canvas.stroke(np.stack([x, y], 1), p.ink, 0.035 * h + 0.006)
    for k in range(2 * waves):
        cx, side = (k + 0.5) * canvas.aspect / (2 * waves), -1 if k % 2 else 1
        for dx in (-0.34, -0.16, 0.16, 0.34):
            fx = cx + dx * h
            fy = mid + 0.24 * h * math.sin(phase * fx)
            canvas.fill(
                petal(fx, fy, side * 1.2 + dx, 0.24 * h, 0.055 * h), p.ink if abs(dx) > 0.2 else p.wash
            )
        _blossom(canvas, rng, p, cx, mid - side * 0.20 * h, 0.25 * h)


def scrolls(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Rows of large spirals."""
    h = bottom - top
    rows = 1 if h < 0.45 else int(rng.integers(1, 3))
    size = h / rows
    count = max(1, round(canvas.aspect / (0.95 * size)))
    t = np.linspace(0, 1, 26)
    for r in range(rows):
        for k in range(count):
            x, y = (k + 0.5 * (r % 2) + 0.5) * canvas.aspect / count, top + (r + 0.5) * size
            angle = t * 2.2 * 2 * np.pi * (1 if (k + r) % 2 else -1)
            radius = 0.45 * size * (1 - 0.9 * t)
            curl = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)
            canvas.stroke(curl, p.ink, 0.065 * size)
            canvas.disc(x + 0.5 * canvas.aspect / count, y - 0.3 * size, 0.07 * size, p.accent)
            canvas.disc(x + 0.5 * canvas.aspect / count, y + 0.3 * size, 0.07 * size, p.wash)


def fish(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Carp with scales among water weed."""
    h, mid = bottom - top, 0.5 * (top + bottom)
    count = max(1, round(canvas.aspect / (0.95 * h)))
    for k in range(count):
        x, y = (k + 0.5) * canvas.aspect / count, mid + rng.uniform(-0.1, 0.1) * h
        s = 0.36 * h * (1 if rng.random() < 0.5 else -1)
        a = abs(s)
        t = np.linspace(0, 2 * np.pi, 15)[:-1]
        body = np.stack([np.cos(t), 0.40 * np.sin(t) * (0.72 + 0.28 * np.cos(t))], 1)
        for fin in (
            [(-0.65, 0), (-1.25, -0.5), (-1.0, 0), (-1.25, 0.5)],
            [(0.3, -0.3), (-0.1, -0.75), (-0.4, -0.28)],
        ):
            canvas.fill(np.array(fin) * (s, a) + (x, y), p.ink)
        canvas.fill(body * (s, a) + (x, y), p.ink)
        canvas.fill(body * (0.75 * s, 0.72 * a) + (x, y), p.wash)
        for i in range(3):
            canvas.disc(x + (0.1 - 0.28 * i) * s, y, 0.10 * a, p.ink)
        canvas.disc(x + 0.62 * s, y - 0.08 * a, 0.12 * a, p.ground)
        canvas.disc(x + 0.62 * s, y - 0.08 * a, 0.06 * a, p.ink)
        edge = x + 0.5 * canvas.aspect / count
        for lean in (-0.4, 0.0, 0.4):
            canvas.fill(
                petal(edge, mid + 0.48 * h, -1.57 + lean, 0.75 * h, 0.05 * h), p.wash if lean else p.ink
            )


def bamboo(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Jointed stems with long leaves."""
    h = bottom - top
    count = max(2, round(canvas.aspect / (0.62 * h)))
    for k in range(count):
        x, lean = (k + 0.5) * canvas.aspect / count, rng.uniform(-0.08, 0.08)
        for j in range(4):
            y = bottom - (j + 0.06) * h / 4
            step = (x + lean * j * h / 4, y), (x + lean * (j + 0.8) * h / 4, y - 0.21 * h)
            canvas.stroke(step, p.ink, 0.055 * h)
        for j in range(7):
            y, side = top + rng.uniform(0.08, 0.8) * h, 1 if j % 2 else -1
            angle = rng.uniform(0.2, 0.9)
            leaf = petal(x, y, angle if side > 0 else math.pi - angle, rng.uniform(0.24, 0.34) * h, 0.042 * h)
            canvas.fill(leaf, p.ink if rng.random() < 0.65 else p.wash)


def _pagoda(canvas: Canvas, p: Palette, x: float, y: float, h: float) -> None:
    for j in range(3):
        w = (0.24 - 0.05 * j) * h
        canvas.fill(
            [(x - 0.6 * w, y), (x + 0.6 * w, y), (x + 0.6 * w, y - 0.15 * h), (x - 0.6 * w, y - 0.15 * h)],
            p.ground,
        )
        y -= 0.15 * h
        canvas.fill([(x - 1.25 * w, y + 0.05 * h), (x + 1.25 * w, y + 0.05 * h), (x, y - 0.08 * h)], p.accent)


def landscape(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Hills over water, with a pagoda, clouds and trees."""
    h = bottom - top
    count = max(3, round(canvas.aspect / (0.55 * h)))
    for colour, low, high in ((p.wash, 0.25, 0.45), (p.ink, 0.5, 0.62)):
        for k in range(count):
            x, w = (k + rng.uniform(0.2, 0.8)) * canvas.aspect / count, h * rng.uniform(0.3, 0.45)
            peak = top + h * rng.uniform(low - 0.1, high)
            base = top + 0.80 * h
            canvas.fill(
                [
                    (x - w, base),
                    (x - 0.3 * w, peak + 0.1 * h),
                    (x, peak),
                    (x + 0.4 * w, peak + 0.14 * h),
                    (x + w, base),
                ],
                colour,
            )
    canvas.band(top + 0.79 * h, top + 0.83 * h, p.ink)
    for r in range(2):
        y = top + (0.89 + 0.07 * r) * h
        for k in range(2 * count):
            x = (k + 0.5 * r) * canvas.aspect / (2 * count)
            canvas.stroke([(x, y), (x + 0.22 * h, y)], p.wash if r else p.ink, 0.028 * h)
    for k in range(2):
        _pagoda(canvas, p, (0.5 * k + rng.uniform(0.15, 0.35)) * canvas.aspect, top + 0.79 * h, h)
    for k in range(count):
        cx, cy = (k + rng.random()) * canvas.aspect / count, top + rng.uniform(0.04, 0.16) * h
        canvas.stroke([(cx, cy), (cx + 0.22 * h, cy)], p.wash, 0.05 * h)


def lattice(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """A diamond net with a dot or a flower in every mesh."""
    h = bottom - top
    rows = 2 if h > 0.4 else 1
    size = h / rows
    count = max(2, round(canvas.aspect / (size * 0.8)))
    w = canvas.aspect / count
    for r in range(rows):
        for k in range(count):
            x, y = k * w, top + r * size
            canvas.stroke([(x, y), (x + w, y + size)], p.ink, 0.055 * size)
            canvas.stroke([(x + w, y), (x, y + size)], p.ink, 0.055 * size)
            canvas.disc(x, y + 0.5 * size, 0.15 * size, p.accent)
            canvas.disc(x + 0.5 * w, y + 0.14 * size, 0.085 * size, p.wash)
            canvas.disc(x + 0.5 * w, y + 0.86 * size, 0.085 * size, p.wash)


def dots(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Staggered rows of dots."""
    h = bottom - top
    rows = 4 if h > 0.6 else 3
    size = h / rows
    count = max(2, round(canvas.aspect / (1.1 * size)))
    radius = rng.uniform(0.24, 0.34) * size
    for r in range(rows):
        for k in range(count):
            x = (k + 0.5 * (r % 2) + 0.25) * canvas.aspect / count
            canvas.disc(x, top + (r + 0.5) * size, radius, p.ink if (r % 2 == 0) else p.accent)


def plum(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Crooked branches with small blossoms."""
    h = bottom - top
    count = max(1, round(canvas.aspect / (0.9 * h)))
    for k in range(count):
        x, y = (k + 0.2) * canvas.aspect / count, bottom - 0.04 * h
        branch = [(x, y)]
        for _ in range(5):
            x, y = x + rng.uniform(0.02, 0.26) * h, y - rng.uniform(0.13, 0.2) * h
            branch.append((x, y))
        canvas.stroke(branch, p.ink, 0.06 * h)
        for bx, by in branch[1:]:
            side = 1 if rng.random() < 0.5 else -1
            tip = (
                bx + side * rng.uniform(0.15, 0.3) * h,
                max(top + 0.1 * h, by - rng.uniform(0.02, 0.14) * h),
            )
            canvas.stroke([(bx, by), tip], p.ink, 0.03 * h)
            _blossom(canvas, rng, p, *tip, 0.135 * h)


def panels(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Upright lotus petals side by side, each with a smaller one inside."""
    h = bottom - top
    count = max(3, round(canvas.aspect / (0.42 * h)))
    for k in range(count):
        x, w = (k + 0.5) * canvas.aspect / count, 0.5 * canvas.aspect / count
        for scale, colour in ((0.96, p.ink), (0.74, p.ground), (0.5, p.wash), (0.24, p.ink)):
            shape = np.array(
                [(-1, 1.0), (-1, 0.35), (-0.55, 0.1), (0, 0.0), (0.55, 0.1), (1, 0.35), (1, 1.0)]
            )
            shape[:, 1] = 0.98 + (shape[:, 1] - 1) * (0.4 + 0.56 * scale)
            canvas.fill(shape * (w * scale, h) + (x, top), colour)


def birds(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Flying birds and small flowers."""
    h, mid = bottom - top, 0.5 * (top + bottom)
    count = max(1, round(canvas.aspect / (1.0 * h)))
    for k in range(count):
        x, y = (k + 0.5) * canvas.aspect / count, mid + rng.uniform(-0.08, 0.08) * h
        s = 0.4 * h * (1 if rng.random() < 0.5 else -1)
        canvas.fill(
            petal(x - 0.9 * s, y + 0.12 * h, 0.0 if s > 0 else math.pi, 1.6 * abs(s), 0.10 * h), p.ink
        )
        for lean, colour in ((-2.1, p.ink), (-1.1, p.wash)):
            canvas.fill(
                petal(x - 0.1 * s, y + 0.1 * h, lean if s > 0 else math.pi - lean, 0.46 * h, 0.1 * h), colour
            )
        canvas.disc(x + 0.62 * s, y + 0.08 * h, 0.095 * h, p.ink)
        canvas.disc(x + 0.66 * s, y + 0.06 * h, 0.03 * h, p.ground)
        edge = x + 0.5 * canvas.aspect / count
        _blossom(canvas, rng, p, edge, mid - 0.24 * h, 0.17 * h)
        _blossom(canvas, rng, p, edge, mid + 0.26 * h, 0.14 * h)


def rings(canvas: Canvas, rng, p: Palette, top: float, bottom: float) -> None:
    """Plain horizontal bands, broad and narrow."""
    h, count = bottom - top, int(rng.integers(3, 6))
    for k in range(count):
        y = top + (k + 0.25) * h / count
        canvas.band(y, y + h / count * rng.uniform(0.3, 0.55), (p.ink, p.wash, p.accent)[k % 3])


MOTIFS: dict[str, Callable] = {
    "peonies": peonies,
    "vines": vines,
    "scrolls": scrolls,
    "fish": fish,
    "bamboo": bamboo,
    "landscape": landscape,
    "lattice": lattice,
    "dots": dots,
    "plum": plum,
    "panels": panels,
    "birds": birds,
    "rings": rings,
}
