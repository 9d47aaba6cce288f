"""Furniture standing on legs: chair, stool, table, bench. The front looks along -y; heights start at 0."""

import numpy as np

from .curves import capped, rounded, spline
from .geometry import lathe, rounded_box, tube
from .parts import ACCENT, BODY, Part, place, rotation
from .variation import pick


def leg(
    foot: tuple[float, float], top: tuple[float, float], height: float, radius: float, style: str
) -> Part:
    """One leg from the floor at `foot` (x, y) up to `height` at `top`; round, tapered, turned or square."""
    if style == "square":
        middle = (0.5 * (foot[0] + top[0]), 0.5 * (foot[1] + top[1]), 0.5 * height)
        return rounded_box(middle, (radius, radius, 0.5 * height), BODY, bevel=0.02)
    radii = {
        "round": [radius, radius],
        "tapered": [0.8 * radius, 1.15 * radius],
        "turned": [0.8 * radius, 1.3 * radius, 0.85 * radius, 1.3 * radius, 0.9 * radius, 1.2 * radius],
    }[style]
    return tube([(*foot, radius), (*top, height - 1.2 * radius)], radii, BODY, rows=24, columns=12)


def legs(rng: np.random.Generator, half_x: float, half_y: float, height: float, radius: float) -> list[Part]:
    """Four legs under the corners of a rectangle; all but square ones may splay outward."""
    style = pick(rng, ("round", "tapered", "square", "turned"))
    splay = 1.0 if style == "square" else rng.uniform(1.0, 1.15)
    corners = [(sx * half_x, sy * half_y) for sx in (-1, 1) for sy in (-1, 1)]
    return [leg((splay * x, splay * y), (x, y), height, radius, style) for x, y in corners]


def backrest(
    rng: np.random.Generator, half: float, y: float, low: float, high: float, slats: int
) -> list[Part]:
    """Two posts with a panel, upright slats or cross rails between them, in the plane y."""
    posts = [
        tube([(side * half, y, low - 0.05), (side * half, y + 0.05, high)], 0.06, BODY, rows=8)
        for side in (-1, 1)
    ]
    middle, span = 0.5 * (low + high), 0.5 * (high - low)
    kind = pick(rng, ("panel", "slats", "rails"))
    if kind == "panel":
        panel = rounded_box((0, y + 0.02, middle + 0.2 * span), (half, 0.05, 0.7 * span), ACCENT)
        return [*posts, panel]
    if kind == "slats":
        rail = rounded_box((0, y + 0.03, high - 0.09), (half, 0.05, 0.09), BODY)
        places = np.linspace(-half, half, slats + 2)[1:-1]
        upright = [rounded_box((x, y + 0.02, middle), (0.055, 0.045, span), BODY, bevel=0.02) for x in places]
        return [*posts, rail, *upright]
    levels = np.linspace(low + 0.45 * span, high - 0.10, 3)
    return [*posts, *(rounded_box((0, y + 0.03, z), (half, 0.05, 0.085), BODY) for z in levels)]


def chair(rng: np.random.Generator) -> list[Part]:
    """A four-legged chair with a straight back at +y."""
    width, depth = rng.uniform(0.40, 0.50), rng.uniform(0.38, 0.46)
    seat, top = rng.uniform(0.68, 0.80), rng.uniform(1.60, 1.75)
    pad = rounded_box((0, 0, seat), (width, depth, 0.07), pick(rng, (BODY, ACCENT)), bevel=0.05)
    under = legs(rng, width - 0.08, depth - 0.08, seat, rng.uniform(0.06, 0.075))
    parts = [pad, *under, *backrest(rng, width - 0.06, depth - 0.06, seat, top, int(rng.integers(2, 5)))]
    if rng.random() < 0.25:
        for side in (-1, 1):
            x = side * width
            arm = [(x, depth - 0.08, seat + 0.35), (x, -0.7 * depth, seat + 0.35), (x, -0.75 * depth, seat)]
            parts.append(tube(rounded(arm, 0.12), 0.055, BODY, rows=20))
    return parts


def round_seat(radius: float, height: float, thickness: float, slot: int) -> Part:
    """A flat disc with rounded edges whose top is at `height`."""
    low = height - thickness
    return lathe(rounded([(0, low), (radius, low), (radius, height), (0, height)], 0.4 * thickness), slot)


def stool(rng: np.random.Generator) -> list[Part]:
    """A tall narrow seat without a back: three or four splayed legs and a ring of rungs, round or square."""
    height, radius = rng.uniform(1.25, 1.5), rng.uniform(0.42, 0.52)
    count, slot = int(rng.integers(3, 5)), pick(rng, (BODY, ACCENT))
    angles = np.pi / count + 2 * np.pi * np.arange(count) / count - np.pi / 2
    spread = rng.uniform(1.15, 1.45)
    inner = 0.72 * radius
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    style = pick(rng, ("round", "tapered", "turned"))
    parts = [leg(tuple(spread * inner * d), tuple(inner * d), height - 0.05, 0.065, style) for d in direction]
    level = rng.uniform(0.28, 0.42)
    at = inner * (spread + (1 - spread) * level)
    for here, there in zip(direction, np.roll(direction, -1, axis=0), strict=True):
        ends = [(*(at * here), level * height), (*(at * there), level * height)]
        parts.append(tube(ends, 0.045, BODY, rows=4, columns=10))
    if rng.random() < 0.65:
        return [*parts, round_seat(radius, height + 0.06, 0.14, slot)]
    return [*parts, rounded_box((0, 0, height), (0.9 * radius, 0.9 * radius, 0.07), slot, bevel=0.05)]


PEDESTAL = ((0.42, 0), (0.40, 0.06), (0.14, 0.16), (0.10, 0.4), (0.17, 0.6), (0.10, 0.85), (0.24, 1.0))


def table(rng: np.random.Generator) -> list[Part]:
    """A wide table: rectangular on four legs, round on four legs, or round on a turned pedestal."""
    height = rng.uniform(0.85, 1.05)
    kind = pick(rng, ("rectangle", "rectangle", "round", "pedestal"))
    slot = pick(rng, (BODY, ACCENT))
    if kind == "rectangle":
        width, depth = rng.uniform(0.72, 0.85), rng.uniform(0.40, 0.52)
        apron = rounded_box((0, 0, height - 0.14), (width - 0.10, depth - 0.08, 0.08), BODY, bevel=0.02)
        top = rounded_box((0, 0, height), (width, depth, 0.06), slot, bevel=0.03, cuts=9)
        return [top, apron, *legs(rng, width - 0.12, depth - 0.10, height, rng.uniform(0.06, 0.085))]
    top = round_seat(rng.uniform(0.74, 0.85), height + 0.06, 0.11, slot)
    if kind == "round":
        return [top, *legs(rng, 0.46, 0.46, height, rng.uniform(0.06, 0.08))]
    foot = spline(np.array(PEDESTAL) * [rng.uniform(0.9, 1.15), height], 48)
    return [top, lathe(capped(foot), BODY)]


def bench(rng: np.random.Generator) -> list[Part]:
    """A long garden bench with a backrest at +y and, mostly, arms."""
    width, depth = rng.uniform(0.78, 0.85), rng.uniform(0.30, 0.36)
    seat, top = rng.uniform(0.42, 0.50), rng.uniform(0.95, 1.10)
    planks = [
        rounded_box((0, y, seat), (width, 0.31 * depth, 0.06), BODY, bevel=0.03, cuts=9)
        for y in np.linspace(-0.67 * depth, 0.67 * depth, 3)
    ]
    parts = [*planks, *legs(rng, width - 0.10, depth - 0.07, seat, rng.uniform(0.06, 0.08))]
    lean = rotation("x", -rng.uniform(0.05, 0.2))
    parts += [
        place(part, (0, depth, seat), turn=lean) for part in backrest(rng, width - 0.06, 0, 0, top - seat, 7)
    ]
    if rng.random() < 0.7:
        for side in (-1, 1):
            x, rise = side * (width - 0.06), seat + rng.uniform(0.24, 0.30)
            arm = [(x, depth, rise), (x, -depth, rise), (x, -depth, seat)]
            parts.append(tube(rounded(arm, 0.10), 0.055, BODY, rows=20))
    return parts
