"""Vessels turned on a wheel, some with handles and spouts (along x: the front view shows the profile).

Each builder draws proportions from the generator and returns parts; heights run from 0 to about 1.7.
"""

from typing import Any

import numpy as np

from .curves import capped, spline
from .geometry import Warp, ellipsoid, lathe, radius_at, tube, vessel
from .parts import ACCENT, BODY, DARK, PLAIN, Part, place, place_all, rotation
from .variation import Profile, pick, varied


def ear(
    profile: np.ndarray,
    low: float,
    high: float,
    reach: float,
    thickness: float,
    side: float,
    slot: int = BODY,
) -> Part:
    """A handle from height `low` to `high` on a turned wall, standing out by `reach` at side +1 (+x) or -1."""
    top, bottom = radius_at(profile, high) - 0.02, radius_at(profile, low) - 0.02
    span = high - low
    out = max(top, bottom) + reach
    path = [
        (side * top, 0.0, high),
        (side * (top + 0.6 * (out - top)), 0.0, high + 0.10 * span),
        (side * out, 0.0, high - 0.30 * span),
        (side * (bottom + 0.75 * (out - bottom)), 0.0, low + 0.22 * span),
        (side * bottom, 0.0, low),
    ]
    return tube(path, [thickness, 1.1 * thickness, 0.9 * thickness, thickness], slot, flat=1.25)


def fluting(rng: np.random.Generator, chance: float = 0.2) -> dict[str, Any]:
    """Now and then: ribs around the body."""
    if rng.random() > chance:
        return {}
    return {"flutes": int(pick(rng, (8, 10, 12))), "depth": rng.uniform(0.025, 0.05)}


def lip(side: float, start: float, amount: float) -> Warp:
    """A warp that pulls a pouring lip out of the rim at side +1 (+x) or -1, from height `start` upward."""

    def pull(grid: np.ndarray) -> np.ndarray:
        rise = np.clip((grid[..., 2] - start) / (grid[..., 2].max() - start), 0.0, 1.0)
        angle = np.arctan2(grid[..., 1], side * grid[..., 0])
        pulled = grid.copy()
        pulled[..., 0] += side * amount * rise**2 * np.exp(-((angle / 0.55) ** 2))
        pulled[..., 2] += 0.35 * amount * rise**2 * np.exp(-((angle / 0.7) ** 2))
        return pulled

    return pull


VASES: tuple[Profile, ...] = (
    ((0.3, 0), (0.33, 0.1), (0.42, 0.35), (0.6, 0.85), (0.53, 1.15), (0.29, 1.38), (0.25, 1.5), (0.36, 1.7)),
    ((0.3, 0), (0.32, 0.15), (0.44, 0.6), (0.6, 1.05), (0.52, 1.35), (0.24, 1.5), (0.21, 1.58), (0.28, 1.7)),
    ((0.36, 0), (0.33, 0.2), (0.28, 0.5), (0.32, 0.9), (0.43, 1.3), (0.62, 1.7)),
    ((0.32, 0), (0.54, 0.2), (0.64, 0.5), (0.48, 0.85), (0.22, 1.1), (0.19, 1.4), (0.3, 1.7)),
    ((0.34, 0), (0.58, 0.28), (0.54, 0.6), (0.29, 0.86), (0.4, 1.15), (0.32, 1.4), (0.17, 1.55), (0.22, 1.7)),
)


def vase(rng: np.random.Generator) -> list[Part]:
    """Baluster, shouldered, trumpet, long-necked or gourd vase."""
    return vessel(varied(rng, pick(rng, VASES)), **fluting(rng))


BOWLS: tuple[Profile, ...] = (
    ((0.32, 0), (0.32, 0.08), (0.55, 0.18), (0.78, 0.42), (0.86, 0.78)),
    ((0.28, 0), (0.29, 0.1), (0.44, 0.26), (0.66, 0.54), (0.9, 0.8)),
    ((0.34, 0), (0.33, 0.1), (0.6, 0.2), (0.76, 0.45), (0.78, 0.62), (0.9, 0.76)),
)


def bowl(rng: np.random.Generator) -> list[Part]:
    """Rounded, conical or flared bowl on a foot."""
    return vessel(varied(rng, pick(rng, BOWLS), width=0.04, height=0.18), **fluting(rng))


def plate(rng: np.random.Generator) -> list[Part]:
    """A dish standing up, leaning back 20 to 30 degrees: its painted face looks to the front."""
    depth = rng.uniform(0.14, 0.22)
    broad = rng.uniform(0.56, 0.64)
    profile = [(0.42, 0.0), (0.45, 0.04), (broad, 0.07), (0.70, 0.55 * depth + 0.03), (0.85, depth)]
    dish = vessel(profile, wall=0.055, floor=0.06, slots=(PLAIN, BODY), **fluting(rng, 0.15))
    return place_all(dish, turn=rotation("x", np.radians(rng.uniform(60.0, 70.0))))


CUPS: tuple[Profile, ...] = (
    ((0.3, 0), (0.3, 0.06), (0.47, 0.2), (0.55, 0.5), (0.6, 0.78)),
    ((0.28, 0), (0.27, 0.08), (0.5, 0.24), (0.54, 0.45), (0.52, 0.6), (0.64, 0.82)),
)


def cup(rng: np.random.Generator) -> list[Part]:
    """A small rounded cup with an ear, often on its saucer."""
    profile = varied(rng, pick(rng, CUPS), width=0.06)
    rim = profile[-1, 1]
    handle = ear(profile, 0.30 * rim, 0.80 * rim, rng.uniform(0.20, 0.28), 0.045, 1.0)
    parts = [*vessel(profile, wall=0.045), handle]
    if rng.random() < 0.6:
        saucer = vessel([(0.32, 0), (0.40, 0.03), (0.62, 0.07), (0.84, 0.16)], wall=0.05, floor=0.06, rows=24)
        parts = place_all(parts, (0.0, 0.0, 0.06)) + saucer
    return parts


MUGS: tuple[Profile, ...] = (
    ((0.46, 0), (0.5, 0.05), (0.5, 0.6), (0.5, 1.15)),
    ((0.52, 0), (0.55, 0.06), (0.5, 0.6), (0.45, 1.15)),
    ((0.42, 0), (0.5, 0.12), (0.55, 0.5), (0.49, 0.85), (0.48, 1.12)),
)


def mug(rng: np.random.Generator) -> list[Part]:
    """A tall straight cup with a large handle."""
    profile = varied(rng, pick(rng, MUGS), width=0.07)
    rim = profile[-1, 1]
    slot = BODY if rng.random() < 0.7 else ACCENT
    handle = ear(profile, 0.20 * rim, 0.84 * rim, rng.uniform(0.30, 0.40), rng.uniform(0.06, 0.08), 1.0, slot)
    return [*vessel(profile, wall=0.06), handle]


TEAPOTS: tuple[Profile, ...] = (
    ((0.32, 0), (0.36, 0.05), (0.58, 0.28), (0.62, 0.52), (0.48, 0.8), (0.28, 0.92)),
    ((0.36, 0), (0.42, 0.05), (0.66, 0.22), (0.68, 0.4), (0.5, 0.62), (0.3, 0.7)),
    ((0.26, 0), (0.3, 0.06), (0.42, 0.3), (0.54, 0.68), (0.48, 0.92), (0.27, 1.04)),
    ((0.46, 0), (0.52, 0.06), (0.5, 0.4), (0.44, 0.76), (0.28, 0.86)),
)


def teapot(rng: np.random.Generator) -> list[Part]:
    """Body, lid with a knob, spout at +x, handle at -x."""
    profile = varied(rng, pick(rng, TEAPOTS), width=0.06)
    top = profile[-1, 1]
    body = vessel(profile, wall=0.06, **fluting(rng, 0.15))
    handle = ear(profile, 0.20 * top, 0.86 * top, rng.uniform(0.30, 0.40), rng.uniform(0.055, 0.07), -1.0)
    return [*body, *lid(rng, profile[-1, 0], top), handle, *spout(rng, profile, top)]


def spout(rng: np.random.Generator, profile: np.ndarray, top: float) -> list[Part]:
    """A curved or straight spout at +x that ends near the height of the rim, with a dark mouth."""
    root = 0.30 * top
    start = radius_at(profile, root) - 0.10
    reach = radius_at(profile, 0.5 * top) + rng.uniform(0.34, 0.42)
    tip = np.array([reach, 0.0, top * rng.uniform(0.92, 1.08)])
    bend = rng.uniform(0.45, 0.75)
    middle = (start + bend * (reach - start), 0.0, root + 0.32 * (tip[2] - root))
    pipe = tube([(start, 0.0, root), middle, tuple(tip)], [0.19, 0.13, 0.09, 0.085], BODY, columns=18)
    return [pipe, ellipsoid(tip + np.array([0.03, 0.0, 0.055]), (0.05, 0.05, 0.04), DARK, rows=10)]


def lid(rng: np.random.Generator, radius: float, height: float, *, slot: int = BODY) -> list[Part]:
    """A domed lid with a knob on an opening of the given radius."""
    rise = rng.uniform(0.10, 0.20)
    edge = radius + 0.02
    dome = spline(
        [(edge, -0.02), (edge, 0.03), (0.72 * edge, 0.6 * rise), (0.3 * edge, 0.95 * rise), (0, rise)], 16
    )
    top = height + rise
    knob = ellipsoid(
        (0.0, 0.0, top + 0.06), (0.085, 0.085, rng.uniform(0.07, 0.10)), pick(rng, (BODY, ACCENT))
    )
    return [place(lathe(capped(dome), slot), (0.0, 0.0, height)), knob]


PITCHERS: tuple[Profile, ...] = (
    ((0.34, 0), (0.42, 0.08), (0.56, 0.45), (0.5, 0.85), (0.32, 1.2), (0.3, 1.4), (0.38, 1.65)),
    ((0.4, 0), (0.46, 0.08), (0.46, 0.5), (0.38, 1.0), (0.33, 1.3), (0.36, 1.6)),
    ((0.3, 0), (0.34, 0.1), (0.5, 0.6), (0.52, 0.9), (0.34, 1.25), (0.4, 1.5)),
)


def pitcher(rng: np.random.Generator) -> list[Part]:
    """A tall pouring jug: lip at -x, handle at +x."""
    profile = varied(rng, pick(rng, PITCHERS), width=0.08)
    rim = profile[-1, 1]
    body = vessel(profile, warp=lip(-1.0, 0.72 * rim, rng.uniform(0.18, 0.28)))
    handle = ear(profile, 0.34 * rim, 0.93 * rim, rng.uniform(0.26, 0.34), rng.uniform(0.055, 0.07), 1.0)
    return [*body, handle]


BOTTLES: tuple[Profile, ...] = (
    ((0.34, 0), (0.37, 0.05), (0.37, 0.8), (0.33, 0.98), (0.15, 1.2), (0.13, 1.5), (0.16, 1.56)),
    ((0.36, 0), (0.52, 0.2), (0.58, 0.5), (0.46, 0.82), (0.18, 1.02), (0.14, 1.45), (0.17, 1.52)),
    ((0.4, 0), (0.44, 0.06), (0.4, 0.5), (0.24, 0.95), (0.14, 1.3), (0.13, 1.52), (0.16, 1.58)),
)


def bottle(rng: np.random.Generator) -> list[Part]:
    """A narrow-necked bottle with a cork."""
    profile = varied(rng, pick(rng, BOTTLES), width=0.08)
    mouth, top = profile[-1]
    cork = spline(
        [(0, -0.15), (0.75 * mouth, -0.14), (0.9 * mouth, 0.02), (0.9 * mouth, 0.12), (0, 0.14)], 20
    )
    return [*vessel(profile, wall=0.05), place(lathe(cork, ACCENT, columns=32), (0.0, 0.0, top))]


JARS: tuple[Profile, ...] = (
    ((0.34, 0), (0.38, 0.06), (0.6, 0.55), (0.58, 0.85), (0.4, 1.05), (0.34, 1.12)),
    ((0.5, 0), (0.56, 0.06), (0.58, 0.5), (0.54, 0.88), (0.42, 1.02)),
    ((0.44, 0), (0.6, 0.2), (0.66, 0.5), (0.56, 0.82), (0.42, 0.94)),
)


def jar(rng: np.random.Generator) -> list[Part]:
    """A broad lidded jar: a cap that slips over the neck, or a low dome."""
    profile = varied(rng, pick(rng, JARS), width=0.06)
    mouth, top = profile[-1]
    parts = vessel(profile, wall=0.06, **fluting(rng, 0.15))
    if rng.random() < 0.5:
        return [*parts, *lid(rng, mouth, top)]
    edge = mouth + 0.03
    cap = spline([(edge, -0.06), (1.03 * edge, 0.10), (0.92 * edge, 0.24), (0.4 * edge, 0.30), (0, 0.31)], 20)
    knob = ellipsoid((0.0, 0.0, top + 0.36), (0.09, 0.09, 0.08), ACCENT)
    return [*parts, place(lathe(capped(cap), BODY), (0.0, 0.0, top)), knob]


AMPHORAE: tuple[Profile, ...] = (
    ((0.22, 0), (0.24, 0.06), (0.18, 0.14), (0.48, 0.7), (0.5, 1.0), (0.22, 1.25), (0.2, 1.5), (0.3, 1.7)),
    ((0.28, 0), (0.28, 0.08), (0.3, 0.16), (0.54, 0.6), (0.5, 0.95), (0.24, 1.2), (0.22, 1.45), (0.34, 1.6)),
    (
        (0.14, 0),
        (0.16, 0.08),
        (0.26, 0.35),
        (0.46, 0.85),
        (0.44, 1.1),
        (0.18, 1.32),
        (0.17, 1.55),
        (0.26, 1.7),
    ),
)


def amphora(rng: np.random.Generator) -> list[Part]:
    """A tall jar with two handles from neck to shoulder."""
    profile = varied(rng, pick(rng, AMPHORAE), width=0.07)
    low, high = profile[-4, 1] + 0.02, profile[-2, 1] + 0.06
    reach = rng.uniform(0.02, 0.12)
    handles = [ear(profile, low, high, reach, 0.05, side) for side in (-1.0, 1.0)]
    return [*vessel(profile, wall=0.055), *handles]


GOBLETS: tuple[Profile, ...] = (
    ((0.4, 0), (0.36, 0.06), (0.1, 0.16), (0.08, 0.5), (0.14, 0.62), (0.46, 0.85), (0.52, 1.2), (0.48, 1.5)),
    (
        (0.38, 0),
        (0.34, 0.05),
        (0.12, 0.14),
        (0.09, 0.45),
        (0.12, 0.6),
        (0.38, 0.78),
        (0.52, 1.1),
        (0.62, 1.45),
    ),
    (
        (0.42, 0),
        (0.38, 0.06),
        (0.1, 0.14),
        (0.15, 0.38),
        (0.09, 0.58),
        (0.44, 0.76),
        (0.46, 1.1),
        (0.5, 1.45),
    ),
)


def goblet(rng: np.random.Generator) -> list[Part]:
    """A drinking cup on a stem and a broad foot."""
    return vessel(varied(rng, pick(rng, GOBLETS), width=0.08), wall=0.055, rows=52)
