"""Things in the house: candlestick, lamp, box, barrel, bell, ring, ball."""

from itertools import pairwise

import numpy as np

from .curves import capped, rounded, spline
from .geometry import ellipsoid, extrusion, lathe, rounded_box, torus, tube, turned_grid, vessel
from .parts import ACCENT, BODY, DARK, PLAIN, Part, loft, place, place_all, rotation
from .variation import pick, varied

STEMS = (
    (
        (0.44, 0),
        (0.44, 0.05),
        (0.2, 0.14),
        (0.09, 0.3),
        (0.16, 0.42),
        (0.09, 0.55),
        (0.12, 0.75),
        (0.28, 0.88),
    ),
    ((0.46, 0), (0.42, 0.06), (0.14, 0.16), (0.1, 0.45), (0.1, 0.7), (0.3, 0.86)),
    ((0.42, 0), (0.44, 0.06), (0.34, 0.14), (0.12, 0.26), (0.2, 0.5), (0.11, 0.74), (0.26, 0.86)),
)


def candlestick(rng: np.random.Generator) -> list[Part]:
    """A turned foot and stem with a drip pan, a candle and its flame."""
    controls = varied(rng, pick(rng, STEMS), width=0.08) * [1.2, 1.0]
    pan = controls[-1, 1]
    holder = capped(np.concatenate([spline(controls, 56), [[controls[-1, 0], pan + 0.05]]]))
    height, thick = rng.uniform(0.32, 0.55), rng.uniform(0.11, 0.14)
    candle = rounded([(0, pan), (thick, pan), (thick, pan + height), (0, pan + height)], 0.04)
    flame = spline([(0, 0), (0.06, 0.06), (0.05, 0.13), (0, 0.24)], 16)
    return [
        lathe(holder, BODY),
        lathe(candle, PLAIN, columns=32),
        place(lathe(flame, ACCENT, columns=24), (0.0, 0.0, pan + height + 0.01)),
    ]


LAMP_FEET = (
    ((0.30, 0), (0.32, 0.05), (0.16, 0.12), (0.36, 0.45), (0.30, 0.68), (0.08, 0.85), (0.07, 1.0)),
    ((0.36, 0), (0.34, 0.06), (0.10, 0.12), (0.075, 0.4), (0.075, 0.8), (0.07, 1.0)),
    ((0.26, 0), (0.40, 0.18), (0.44, 0.40), (0.30, 0.66), (0.09, 0.80), (0.07, 1.0)),
    ((0.34, 0), (0.32, 0.08), (0.20, 0.2), (0.26, 0.5), (0.16, 0.75), (0.07, 0.9), (0.07, 1.0)),
)


def lamp(rng: np.random.Generator) -> list[Part]:
    """A table lamp: a turned foot under a wide shade."""
    foot = lathe(capped(spline(varied(rng, pick(rng, LAMP_FEET), width=0.10, height=0.0), 48)), BODY)
    low, high = rng.uniform(0.82, 0.90), rng.uniform(1.50, 1.65)
    wide = rng.uniform(0.52, 0.66)
    narrow = wide * rng.uniform(0.45, 0.85)
    wall = 0.055
    outline = [(wide - wall, low), (wide, low), (narrow, high), (narrow - wall, high), (wide - wall, low)]
    shade = loft(turned_grid(densified(outline, 10), 48), ACCENT, ring=True)
    pole = tube([(0, 0, 0.95), (0, 0, high)], 0.045, PLAIN, rows=6)
    # Arms that carry the shade, so that lamp and shade are one piece.
    arms = [tube([(0.06 - narrow, 0, high - 0.08), (narrow - 0.06, 0, high - 0.08)], 0.04, PLAIN, rows=4)]
    return [foot, shade, pole, *arms, ellipsoid((0, 0, high + 0.05), 0.06, BODY, rows=12)]


def densified(outline, steps: int) -> np.ndarray:
    """A polyline with `steps` points added evenly on every stretch, so that vertex paint has room."""
    points = np.asarray(outline, dtype=float)
    along = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    pieces = [start + along * (stop - start) for start, stop in pairwise(points)]
    return np.concatenate([*pieces, points[-1:]])


def box(rng: np.random.Generator) -> list[Part]:
    """A knobbed casket, a gift with a ribbon, or a chest with a domed lid."""
    width, depth, height = rng.uniform(0.55, 0.72), rng.uniform(0.42, 0.55), rng.uniform(0.34, 0.48)
    return pick(rng, (casket, gift, chest))(width, depth, height)


def casket(width: float, depth: float, height: float) -> list[Part]:
    """A box with an overhanging lid and a knob."""
    return [
        rounded_box((0, 0, height), (width, depth, height), BODY, cuts=8),
        rounded_box((0, 0, 2 * height + 0.07), (width + 0.05, depth + 0.05, 0.09), ACCENT, cuts=8),
        ellipsoid((0, 0, 2 * height + 0.22), 0.09, DARK, rows=14),
    ]


def gift(width: float, depth: float, height: float) -> list[Part]:
    """A parcel with a ribbon both ways around it and a bow."""
    height *= 1.2
    ribbons = [
        rounded_box((0, 0, height), (0.09, depth + 0.03, height + 0.03), ACCENT, bevel=0.02),
        rounded_box((0, 0, height), (width + 0.03, 0.09, height + 0.03), ACCENT, bevel=0.02),
    ]
    loop = [(0, 0, 0), (0.16, 0, 0.2), (0.34, 0, 0.2), (0.3, 0, 0.04), (0, 0, 0)]
    bow = [tube([(side * x, y, z) for x, y, z in loop], 0.05, ACCENT, flat=1.8) for side in (-1, 1)]
    return [
        rounded_box((0, 0, height), (width, depth, height), BODY, cuts=8),
        *ribbons,
        *place_all(bow, (0, 0, 2 * height + 0.05)),
    ]


def chest(width: float, depth: float, height: float) -> list[Part]:
    """A treasure chest: the lid is half a barrel, with bands and a lock."""
    angle = np.linspace(0.0, np.pi, 19)
    outline = np.stack([depth * np.cos(angle), 0.75 * depth * np.sin(angle)], axis=1)
    outline = np.concatenate([outline, [[-depth, -0.03], [depth, -0.03]]])
    turn, top = rotation("z", np.pi / 2), 2 * 0.8 * height
    lid = place(extrusion(outline, width, BODY), (0, 0, top + 0.04), turn=turn)
    bands = [
        place(extrusion(1.06 * outline, 0.07, ACCENT), (side * 0.6 * width, 0, top + 0.04), turn=turn)
        for side in (-1, 1)
    ]
    straps = [
        rounded_box((side * 0.6 * width, 0, 0.8 * height), (0.07, depth + 0.03, 0.8 * height), ACCENT)
        for side in (-1, 1)
    ]
    lock = rounded_box((0, -depth - 0.02, top), (0.09, 0.05, 0.11), DARK)
    return [
        rounded_box((0, 0, 0.8 * height), (width, depth, 0.8 * height), BODY, cuts=8),
        lid,
        *bands,
        *straps,
        lock,
    ]


def barrel(rng: np.random.Generator) -> list[Part]:
    """A bulging cask with hoops and a sunken head."""
    end, belly, height = rng.uniform(0.44, 0.52), rng.uniform(0.58, 0.68), rng.uniform(1.35, 1.65)
    side = spline([(end, 0), (0.95 * belly, 0.28 * height), (belly, 0.5 * height), (0.95 * belly, 0.72 * height),
                   (end, height)], 40)  # fmt: skip
    head = [[end - 0.06, height], [end - 0.07, height - 0.06], [0.0, height - 0.06]]
    shell = lathe(capped(np.concatenate([side, head])), BODY)
    hoops = []
    for level in (0.06, 0.30, 0.70, 0.94):
        radius = float(np.interp(level * height, side[:, 1], side[:, 0]))
        hoops.append(place(torus(radius, 0.05, ACCENT, rows=10), (0, 0, level * height), scale=(1, 1, 1.5)))
    bung = ellipsoid((0, -belly, 0.5 * height), (0.07, 0.05, 0.07), DARK, rows=10)
    return [shell, *hoops, *([bung] if rng.random() < 0.5 else [])]


BELLS = (
    ((0.70, 0), (0.60, 0.12), (0.47, 0.40), (0.42, 0.80), (0.28, 1.05), (0.08, 1.12)),
    ((0.72, 0), (0.66, 0.08), (0.56, 0.40), (0.48, 0.72), (0.26, 0.94), (0.08, 1.0)),
)


def bell(rng: np.random.Generator) -> list[Part]:
    """A hollow flaring bell with a clapper, hung from a loop or held by a handle."""
    profile = varied(rng, pick(rng, BELLS), width=0.06)
    top = profile[-1, 1]
    # A bell is a vessel upside down.
    shell = place_all(
        vessel((profile * [1, -1])[::-1] + [0, top], wall=0.07), (0, 0, top), turn=rotation("x", np.pi)
    )
    rim = place(torus(profile[0, 0] - 0.03, 0.055, ACCENT, rows=12), (0, 0, 0.02))
    clapper = [
        tube([(0, 0, 0.0), (0, 0, 0.5 * top)], 0.05, DARK, rows=4),
        ellipsoid((0, 0, -0.06), 0.14, DARK),
    ]
    if rng.random() < 0.5:
        grip = tube([(-0.12, 0, top - 0.05), (-0.15, 0, top + 0.2), (0, 0, top + 0.33), (0.15, 0, top + 0.2),
                     (0.12, 0, top - 0.05)], 0.055, ACCENT)  # fmt: skip
    else:
        handle = spline([(0, -0.1), (0.09, -0.05), (0.075, 0.15), (0.12, 0.42), (0.08, 0.55), (0, 0.58)], 24)
        grip = place(lathe(handle, ACCENT, columns=28), (0, 0, top))
    return [*shell, rim, *clapper, grip]


def ring(rng: np.random.Generator) -> list[Part]:
    """A thick ring standing up so that the hole is seen, sometimes with a gem on top."""
    jewelled = rng.random() < 0.4
    thick = rng.uniform(0.10, 0.14) if jewelled else rng.uniform(0.15, 0.26)
    hoop = place(torus(0.85 - thick, thick, BODY), turn=rotation("x", np.radians(rng.uniform(65.0, 95.0))))
    if not jewelled:
        return [hoop]
    cut = rounded([(0, -0.22), (0.24, 0.05), (0.15, 0.17), (0, 0.17)], 0.02)
    return [hoop, place(lathe(cut, ACCENT, columns=24), (0, 0, 0.95))]


def ball(rng: np.random.Generator) -> list[Part]:
    """A ball, plain or with one, two or three raised seams."""
    sphere = ellipsoid((0, 0, 0), 0.8, BODY, rows=40)
    tilt = rotation("y", rng.uniform(-0.6, 0.6)) @ rotation("x", rng.uniform(-0.6, 0.6))
    seam = place(torus(0.79, 0.045, ACCENT, rows=10), scale=(1, 1, rng.uniform(1.0, 2.2)))
    turns = (np.eye(3), rotation("x", np.pi / 2), rotation("y", np.pi / 2))
    return [sphere, *(place(seam, turn=tilt @ turn) for turn in turns[: rng.integers(0, 4)])]
