"""Things from the garden: mushroom, pumpkin, apple, pear, tree, snowman. Heights start at 0."""

import numpy as np

from .blend import SoftBody, cone
from .curves import capped, rounded, spline
from .geometry import ellipsoid, lathe, torus, tube
from .parts import ACCENT, BODY, DARK, PLAIN, Part, place, rotation
from .variation import pick


def mushroom(rng: np.random.Generator) -> list[Part]:
    """A toadstool: swelling stem, domed, conical or flat cap, sometimes with spots."""
    wide, tall, stem = rng.uniform(0.66, 0.82), rng.uniform(0.42, 0.62), rng.uniform(0.70, 0.90)
    belly = rng.uniform(0.24, 0.32)
    foot = spline(
        [(0, 0), (0.9 * belly, 0.02), (belly, 0.15), (0.75 * belly, 0.5 * stem), (0.7 * belly, stem + 0.1)],
        28,
    )
    bulge = pick(rng, (0.92, 0.75, 0.98))
    dome = [
        (0, 0.06),
        (0.6 * wide, 0.0),
        (wide, 0.0),
        (bulge * wide, 0.4 * tall),
        (0.5 * wide, 0.88 * tall),
        (0, tall),
    ]
    profile = spline(dome, 40)
    parts = [lathe(capped(foot), PLAIN), place(lathe(profile, BODY), (0, 0, stem))]
    if rng.random() < 0.6:
        upper = profile[len(profile) // 2 :]
        for angle in np.arange(7) * 2.4 + rng.uniform(0, 6):
            radius, height = upper[int(rng.integers(2, len(upper) - 6))]
            spot = (radius * np.cos(angle), radius * np.sin(angle), stem + height)
            parts.append(ellipsoid(spot, rng.uniform(0.07, 0.11), ACCENT, rows=10))
    return parts


def pumpkin(rng: np.random.Generator) -> list[Part]:
    """A ribbed squat or tall fruit with a bent stalk."""
    squat = rng.uniform(0.80, 1.15)
    flesh = spline(
        [(0, 0.08), (0.30, 0.0), (0.72, 0.28), (0.76, 0.62), (0.48, 0.98), (0.14, 0.98), (0, 0.90)], 40
    )
    ribs, depth = int(rng.integers(8, 13)), rng.uniform(0.05, 0.08)
    body = lathe(flesh * [1.0, squat], BODY, columns=96, flutes=ribs, depth=depth)
    lean, top = rng.uniform(-0.16, 0.16), 0.9 * squat
    stalk = tube(
        [(0, 0, top), (0.2 * lean, 0, top + 0.18), (lean, 0, top + 0.36)], [0.13, 0.075, 0.09], ACCENT
    )
    return [body, stalk]


def leaf(length: float) -> Part:
    """A small thick leaf along +x."""
    return ellipsoid((0.5 * length, 0, 0), (0.5 * length, 0.25 * length, 0.045), ACCENT, rows=12)


def apple(rng: np.random.Generator) -> list[Part]:
    """A round fruit, dimpled at both ends, with a stalk and mostly a leaf."""
    low, high = rng.uniform(0.50, 0.64), rng.uniform(0.66, 0.74)
    controls = [(0, 0.10), (0.22, 0.0), (low, 0.30), (high, 0.78), (0.52, 1.22), (0.20, 1.30), (0, 1.12)]
    body = lathe(spline(controls, 44), BODY, flutes=5, depth=0.015)
    stalk = tube(
        [(0, 0, 1.10), (0.02, 0, 1.30), (rng.uniform(-0.15, 0.15), 0, 1.52)], [0.05, 0.05, 0.06], DARK
    )
    if rng.random() < 0.2:
        return [body, stalk]
    turn = rotation("z", rng.uniform(-0.4, 0.4)) @ rotation("y", -rng.uniform(0.2, 0.6))
    return [body, stalk, place(leaf(0.46), (0.02, 0, 1.36), turn=turn)]


def pear(rng: np.random.Generator) -> list[Part]:
    """A fruit with a heavy base and a slimmer neck, with a stalk."""
    wide, neck = rng.uniform(0.54, 0.64), rng.uniform(0.26, 0.33)
    controls = [(0, 0.06), (0.18, 0.0), (0.9 * wide, 0.25), (wide, 0.52), (0.62 * wide + 0.05, 0.95), (neck, 1.22),
                (0.66 * neck, 1.42), (0, 1.45)]  # fmt: skip
    lean = rng.uniform(-0.12, 0.12)

    def bent(grid: np.ndarray) -> np.ndarray:
        moved = grid.copy()
        moved[..., 0] += lean * (grid[..., 2] / 1.45) ** 2
        return moved

    stalk = tube([(lean, 0, 1.38), (1.3 * lean, 0, 1.55), (2.2 * lean, 0, 1.72)], [0.05, 0.045, 0.055], DARK)
    parts = [lathe(spline(controls, 44), BODY, warp=bent), stalk]
    return (
        parts if rng.random() < 0.4 else [*parts, place(leaf(0.38), (lean, 0, 1.5), turn=rotation("y", -0.4))]
    )


def tree(rng: np.random.Generator) -> list[Part]:
    """A fir of stacked cones or a round-crowned tree on a trunk."""
    trunk = tube([(0, 0, 0), (0, 0, 0.8)], [0.15, 0.11], ACCENT, rows=10)
    if rng.random() < 0.5:
        tiers, wide = int(rng.integers(3, 5)), rng.uniform(0.52, 0.66)
        parts = [trunk]
        for tier in range(tiers):
            low = 0.38 + 1.0 * tier / tiers
            radius, rise = wide * (1 - 0.72 * tier / tiers), 1.15 / tiers + 0.22
            skirt = rounded([(0, low + 0.05), (radius, low), (0, low + rise)], 0.06)
            parts.append(lathe(skirt, BODY))
        return parts
    crown = [cone((0, 0, 1.15), None, rng.uniform(0.44, 0.52))]
    for angle in np.arange(6) * 2 * np.pi / 6 + rng.uniform(0, 1):
        reach = rng.uniform(0.26, 0.36)
        spot = (reach * np.cos(angle), reach * np.sin(angle), 1.15 + rng.uniform(-0.22, 0.26))
        crown.append(cone(spot, None, rng.uniform(0.26, 0.34), soft=0.06))
    return [trunk, SoftBody(crown).mesh(resolution=40)]


def snowman(rng: np.random.Generator) -> list[Part]:
    """Three balls of snow with coal eyes and buttons, a carrot, stick arms and a hat."""
    low, middle, head = rng.uniform(0.44, 0.50), rng.uniform(0.31, 0.36), rng.uniform(0.22, 0.26)
    chest = 1.75 * low + 0.62 * middle
    top = chest + 0.72 * middle + 0.72 * head
    parts = [ellipsoid((0, 0, z), r, BODY, rows=22) for z, r in ((low, low), (chest, middle), (top, head))]
    for side in (-1, 1):
        parts.append(ellipsoid((side * 0.09, -0.88 * head, top + 0.07), 0.045, DARK, rows=8))
        hand = (side * (middle + 0.40), -0.05, chest + rng.uniform(0.05, 0.30))
        parts.append(tube([(side * 0.8 * middle, 0, chest + 0.05), hand], [0.06, 0.05], DARK, rows=8))
    parts += [ellipsoid((0, -0.98 * middle, chest + dz), 0.045, DARK, rows=8) for dz in (-0.09, 0.09)]
    parts.append(tube([(0, -head + 0.04, top), (0, -head - 0.24, top - 0.03)], [0.065, 0.02], ACCENT, rows=8))
    brim, crown = 1.15 * head, 0.72 * head
    hat = rounded([(0, 0), (brim, 0), (brim, 0.06), (crown, 0.06), (crown, 0.32), (0, 0.32)], 0.02)
    if rng.random() < 0.75:
        parts.append(place(lathe(hat, DARK, columns=40), (0, 0, top + 0.72 * head)))
    if rng.random() < 0.6:
        parts.append(place(torus(0.8 * head, 0.07, ACCENT, rows=12), (0, 0, top - 0.80 * head)))
    return parts
