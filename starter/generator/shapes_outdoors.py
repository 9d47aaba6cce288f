"""Things from outdoors: fruit and mushrooms, buildings, vehicles, tree, snowman, robot. Heights start at 0."""

import numpy as np

from .blend import SoftBody, cone
from .curves import rounded, spline
from .geometry import (
    ACCENT,
    BODY,
    DARK,
    PLAIN,
    Part,
    ellipsoid,
    extrusion,
    lathe,
    loft,
    place,
    place_all,
    rotation,
    rounded_box,
    torus,
    tube,
)
from .shapes_pottery import pick


def mushroom(rng: np.random.Generator) -> list[Part]:
    """A toadstool: swelling stem, domed, conical or flat cap, sometimes with spots."""
    wide, tall, stem = rng.uniform(0.66, 0.82), rng.uniform(0.42, 0.62), rng.uniform(0.70, 0.90)
    belly = rng.uniform(0.24, 0.32)
    foot = spline([(0, 0), (0.9 * belly, 0.02), (belly, 0.15), (0.75 * belly, 0.5 * stem), (0.7 * belly, stem + 0.1)], 28)
    bulge = pick(rng, (0.92, 0.75, 0.98))
    dome = [(0, 0.06), (0.6 * wide, 0.0), (wide, 0.0), (bulge * wide, 0.4 * tall), (0.5 * wide, 0.88 * tall), (0, tall)]
    profile = spline(dome, 40)
    parts = [lathe(foot, PLAIN), place(lathe(profile, BODY), (0, 0, stem))]
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
    flesh = spline([(0, 0.08), (0.30, 0.0), (0.72, 0.28), (0.76, 0.62), (0.48, 0.98), (0.14, 0.98), (0, 0.90)], 40)
    ribs, depth = int(rng.integers(8, 13)), rng.uniform(0.05, 0.08)
    body = lathe(flesh * [1.0, squat], BODY, columns=96, flutes=ribs, depth=depth)
    lean, top = rng.uniform(-0.16, 0.16), 0.9 * squat
    stalk = tube([(0, 0, top), (0.2 * lean, 0, top + 0.18), (lean, 0, top + 0.36)], [0.13, 0.075, 0.09], ACCENT)
    return [body, stalk]


def leaf(length: float) -> Part:
    """A small thick leaf along +x."""
    return ellipsoid((0.5 * length, 0, 0), (0.5 * length, 0.25 * length, 0.045), ACCENT, rows=12)


def apple(rng: np.random.Generator) -> list[Part]:
    """A round fruit, dimpled at both ends, with a stalk and mostly a leaf."""
    low, high = rng.uniform(0.50, 0.64), rng.uniform(0.66, 0.74)
    controls = [(0, 0.10), (0.22, 0.0), (low, 0.30), (high, 0.78), (0.52, 1.22), (0.20, 1.30), (0, 1.12)]
    body = lathe(spline(controls, 44), BODY, flutes=5, depth=0.015)
    stalk = tube([(0, 0, 1.10), (0.02, 0, 1.30), (rng.uniform(-0.15, 0.15), 0, 1.52)], [0.05, 0.05, 0.06], DARK)
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
    return parts if rng.random() < 0.4 else [*parts, place(leaf(0.38), (lean, 0, 1.5), turn=rotation("y", -0.4))]


def house(rng: np.random.Generator) -> list[Part]:
    """A small house: gabled towards the front or with the roof's slope in front; door, windows, chimney."""
    wide, deep, wall = rng.uniform(0.52, 0.62), rng.uniform(0.42, 0.52), rng.uniform(0.62, 0.80)
    rise, over = rng.uniform(0.45, 0.62), 0.12
    gabled = rng.random() < 0.55
    across, along = (wide, deep) if gabled else (deep, wide)
    gable = [(-across - over, -0.06), (across + over, -0.06), (0.05, rise), (-0.05, rise)]
    roof = extrusion(outline_with_room(gable), along + over, ACCENT)
    turn = None if gabled else rotation("z", np.pi / 2)
    front = -deep
    parts = [
        rounded_box((0, 0, 0.5 * wall), (wide, deep, 0.5 * wall), BODY, bevel=0.02, cuts=8),
        place(roof, (0, 0, wall), turn=turn),
        rounded_box((0, front, 0.24), (0.13, 0.045, 0.25), DARK, bevel=0.02),
    ]
    for x in (-0.62 * wide, 0.62 * wide):
        parts.append(rounded_box((x, front, 0.55 * wall), (0.11, 0.045, 0.12), PLAIN, bevel=0.02))
    for side in (-1, 1):
        parts.append(rounded_box((side * wide, 0, 0.55 * wall), (0.045, 0.12, 0.12), PLAIN, bevel=0.02))
    if rng.random() < 0.8:
        spot = (pick(rng, (-1, 1)) * 0.5 * wide, 0.1, wall + 0.55 * rise)
        parts.append(rounded_box(spot, (0.10, 0.10, 0.55 * rise), BODY, bevel=0.02))
    return parts


def outline_with_room(corners: list[tuple[float, float]], steps: int = 8) -> np.ndarray:
    """A closed polygon with `steps` points per edge, corners kept."""
    points = np.asarray(corners, dtype=float)
    along = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    return np.concatenate([a + along * (b - a) for a, b in zip(points, np.roll(points, -1, axis=0), strict=True)])


CARS = {
    "saloon": [(-0.85, 0.2), (0.85, 0.2), (0.87, 0.44), (0.52, 0.53), (0.28, 0.82), (-0.30, 0.82), (-0.56, 0.54),
               (-0.86, 0.50)],
    "beetle": [(-0.85, 0.2), (0.85, 0.2), (0.86, 0.40), (0.56, 0.54), (0.34, 0.80), (0.0, 0.90), (-0.40, 0.82),
               (-0.76, 0.52)],
    "van": [(-0.85, 0.2), (0.85, 0.2), (0.86, 0.50), (0.66, 0.60), (0.46, 0.95), (-0.80, 0.95), (-0.86, 0.90)],
}  # fmt: skip


def car(rng: np.random.Generator) -> list[Part]:
    """A car seen broadside, its bonnet at +x: saloon, beetle or van; glass is the plain material."""
    kind = pick(rng, tuple(CARS))
    height = rng.uniform(0.95, 1.12)
    outline = np.array(CARS[kind]) * [1.0, height]
    soft = rounded(np.concatenate([outline, outline[:2]]), 0.16)[1:-1]
    half = rng.uniform(0.36, 0.42)
    # A thinner upper part would need a second body; bevelled flanks read well enough.
    parts = [extrusion(soft, half, BODY, bevel=0.10)]
    roof, sill = outline[:, 1].max(), 0.56 * height
    front, back = {"saloon": (0.36, -0.42), "beetle": (0.34, -0.52), "van": (0.46, -0.72)}[kind]
    top_front, top_back = {"saloon": (0.22, -0.26), "beetle": (0.16, -0.34), "van": (0.36, -0.72)}[kind]
    for a, b, c, d in ((0.04, front, top_front, 0.04), (back, -0.04, -0.04, top_back)):
        pane = np.array([(a, sill), (b, sill), (c, roof - 0.09), (d, roof - 0.09)])
        parts.append(extrusion(outline_with_room([tuple(p) for p in pane], 4), half + 0.012, PLAIN, bevel=0.01))
    radius = rng.uniform(0.19, 0.23)
    wheel = rounded([(0, -0.09), (radius, -0.09), (radius, 0.09), (0, 0.09)], 0.04)
    hub = ellipsoid((0, 0, 0.08), (0.45 * radius, 0.45 * radius, 0.045), ACCENT, rows=10)
    for x in (-0.52, 0.54):
        for side in (-1, 1):
            turn = rotation("x", side * np.pi / 2)
            parts += place_all([lathe(wheel, DARK, columns=32), hub], (x, -side * (half - 0.03), radius), turn=turn)
    lamps = [ellipsoid((0.85, side * 0.6 * half, 0.38 * height), 0.06, ACCENT, rows=10) for side in (-1, 1)]
    return parts + lamps


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
            parts.append(lathe(np.concatenate([skirt[:1], skirt[1:-1], skirt[-1:]]), BODY))
        return parts
    crown = [cone((0, 0, 1.15), None, rng.uniform(0.44, 0.52))]
    for angle in np.arange(6) * 2 * np.pi / 6 + rng.uniform(0, 1):
        reach = rng.uniform(0.26, 0.36)
        spot = (reach * np.cos(angle), reach * np.sin(angle), 1.15 + rng.uniform(-0.22, 0.26))
        crown.append(cone(spot, None, rng.uniform(0.26, 0.34), soft=0.06))
    return [trunk, SoftBody(crown).mesh(resolution=44)]


def snowman(rng: np.random.Generator) -> list[Part]:
    """Three balls of snow with coal eyes and buttons, a carrot, stick arms and a hat."""
    low, middle, head = rng.uniform(0.44, 0.50), rng.uniform(0.31, 0.36), rng.uniform(0.22, 0.26)
    chest = 1.75 * low + 0.62 * middle
    top = chest + 0.72 * middle + 0.72 * head
    parts = [ellipsoid((0, 0, z), r, BODY, rows=22) for z, r in ((low, low), (chest, middle), (top, head))]
    for side in (-1, 1):
        parts.append(ellipsoid((side * 0.09, -0.88 * head, top + 0.07), 0.045, DARK, rows=8))
        hand = (side * (middle + 0.40), -0.05, chest + rng.uniform(0.05, 0.30))
        parts.append(tube([(side * 0.8 * middle, 0, chest + 0.05), hand], [0.05, 0.042], DARK, rows=8))
    parts += [ellipsoid((0, -0.98 * middle, chest + dz), 0.045, DARK, rows=8) for dz in (-0.09, 0.09)]
    parts.append(tube([(0, -head + 0.04, top), (0, -head - 0.24, top - 0.03)], [0.065, 0.02], ACCENT, rows=8))
    brim, crown = 1.15 * head, 0.72 * head
    hat = rounded([(0, 0), (brim, 0), (brim, 0.06), (crown, 0.06), (crown, 0.32), (0, 0.32)], 0.02)
    if rng.random() < 0.75:
        parts.append(place(lathe(hat, DARK, columns=40), (0, 0, top + 0.72 * head)))
    if rng.random() < 0.6:
        parts.append(place(torus(0.8 * head, 0.07, ACCENT, rows=12), (0, 0, top - 0.80 * head)))
    return parts


def robot(rng: np.random.Generator) -> list[Part]:
    """A toy robot: boxes for head, chest and feet, round limbs, eyes and an antenna."""
    wide, head = rng.uniform(0.34, 0.42), rng.uniform(0.24, 0.32)
    parts = [
        rounded_box((0, 0, 0.82), (wide, 0.26, 0.33), BODY, bevel=0.06, cuts=7),
        rounded_box((0, -0.25, 0.84), (0.6 * wide, 0.05, 0.17), ACCENT, bevel=0.02),
        tube([(0, 0, 1.10), (0, 0, 1.26)], 0.10, DARK, rows=4),
    ]
    middle = 1.22 + 0.85 * head
    if rng.random() < 0.7:
        parts.append(rounded_box((0, 0, middle), (head, 0.22, 0.80 * head), BODY, bevel=0.06, cuts=7))
        face = -0.22
    else:
        parts.append(ellipsoid((0, 0, middle), (head, 0.26, 0.85 * head), BODY))
        face = -0.22
    for side in (-1, 1):
        parts.append(ellipsoid((side * 0.42 * head, face, middle + 0.06), (0.07, 0.05, 0.07), DARK, rows=10))
        shoulder, droop = side * (wide + 0.02), rng.uniform(0.0, 0.35)
        elbow = (side * (wide + 0.20), 0, 0.78 + 0.3 * droop)
        hand = (side * (wide + 0.22), -0.06, 0.52 + droop)
        parts.append(tube([(shoulder, 0, 1.04), elbow, hand], 0.07, ACCENT, rows=20))
        parts.append(ellipsoid(hand, 0.10, BODY, rows=12))
        parts.append(tube([(side * 0.5 * wide, 0, 0.55), (side * 0.5 * wide, 0, 0.12)], 0.09, ACCENT, rows=8))
        parts.append(rounded_box((side * 0.52 * wide, -0.05, 0.08), (0.15, 0.22, 0.09), BODY, bevel=0.05))
    parts.append(rounded_box((0, face, middle - 0.42 * head), (0.45 * head, 0.045, 0.045), DARK, bevel=0.02))
    tip = middle + 0.80 * head
    return [*parts, tube([(0, 0, tip - 0.05), (0, 0, tip + 0.15)], 0.042, DARK, rows=4),
            ellipsoid((0, 0, tip + 0.19), 0.075, ACCENT, rows=12)]  # fmt: skip


def rocket(rng: np.random.Generator) -> list[Part]:
    """A pointed hull on three or four fins with a porthole, a nozzle and a coloured nose."""
    wide, waist = rng.uniform(0.28, 0.36), rng.uniform(0.6, 0.85)
    side = spline([(waist * wide, 0.28), (wide, 0.62), (0.98 * wide, 0.95), (0.62 * wide, 1.35), (0, 1.75)], 44)
    side[-1, 0] = 0.0
    cut = int(np.searchsorted(side[:, 1], rng.uniform(1.15, 1.30)))
    hull = lathe(np.concatenate([[[0.0, 0.28]], side]), BODY)
    nose = lathe(np.concatenate([[[0.0, side[cut, 1]]], side[cut:] + [0.012, 0.012]]) * 1.0, ACCENT)
    nozzle = lathe(rounded([(0, 0.10), (0.8 * waist * wide, 0.10), (0.5 * waist * wide, 0.32), (0, 0.32)], 0.03), DARK)
    span, sweep = rng.uniform(0.26, 0.36), rng.uniform(0.0, 0.2)
    inner = 0.75 * wide
    fin = outline_with_room([(inner, 0.30), (inner + span, sweep - 0.08), (inner + span, 0.24), (inner, 0.72)], 6)
    count = int(rng.integers(3, 5))
    # One fin of three points away from the viewer, so that the two others show on either side.
    angles = np.pi / 2 + 2 * np.pi * np.arange(count) / count + (np.pi / 4 if count == 4 and rng.random() < 0.5 else 0)
    fins = [place(extrusion(fin, 0.05, ACCENT), turn=rotation("z", angle)) for angle in angles]
    radius = float(np.interp(0.92, side[:, 1], side[:, 0]))
    frame = place(torus(0.13, 0.045, ACCENT, rows=10, columns=32), (0, -radius, 0.92), turn=rotation("x", np.pi / 2))
    return [hull, nose, nozzle, *fins, frame, ellipsoid((0, -radius, 0.92), (0.12, 0.05, 0.12), DARK, rows=12)]


def hull_grid(length: float, width: float, depth: float) -> np.ndarray:
    """A decked hull as rings around x, stern to bow: points [R, C, 3], the deck near z = depth."""
    along = np.linspace(-1.0, 1.0, 36)
    ahead, behind = np.maximum(along, 0.0), np.maximum(-along, 0.0)
    beam = width * (1.0 - 0.25 * behind**2 - 0.95 * ahead**2.2)
    keel = 0.75 * depth * (ahead**3 + 0.25 * behind**2)
    sheer = depth + 0.16 * np.abs(along) ** 2.2
    angle = np.linspace(0.0, 2 * np.pi, 33)
    # Sections with full bilges below and a slightly arched deck above.
    side = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.6
    below, above = np.maximum(-np.sin(angle), 0.0) ** 0.8, 0.06 * np.maximum(np.sin(angle), 0.0)
    grid = np.empty((len(along), len(angle), 3))
    grid[..., 0] = length * along[:, None]
    grid[..., 1] = beam[:, None] * side
    grid[..., 2] = sheer[:, None] + above - below * (sheer - keel)[:, None]
    grid[:, -1] = grid[:, 0]
    ends = [np.broadcast_to(grid[row].mean(axis=0), grid[row].shape)[None] for row in (0, -1)]
    return np.concatenate([ends[0], grid, ends[1]])


def boat(rng: np.random.Generator) -> list[Part]:
    """A boat seen broadside, bow at +x: a sailing boat with one or two sails, or a steamer with a funnel."""
    depth, width = rng.uniform(0.30, 0.40), rng.uniform(0.28, 0.36)
    hull = loft(hull_grid(0.85, width, depth), BODY)
    if rng.random() < 0.65:
        tall = rng.uniform(1.45, 1.6)
        mast = tube([(0.05, 0, 0.1), (0.05, 0, tall)], 0.045, DARK, rows=8)
        main = outline_with_room([(-0.02, depth + 0.14), (-0.02, tall - 0.04), (-0.68, depth + 0.18)], 8)
        sails = [extrusion(main, 0.04, PLAIN)]
        if rng.random() < 0.6:
            jib = outline_with_room([(0.12, depth + 0.18), (0.72, depth + 0.26), (0.12, tall - 0.22)], 8)
            sails.append(extrusion(jib, 0.04, ACCENT))
        return [hull, mast, *sails]
    cabin = rounded_box((-0.12, 0, depth + 0.20), (0.42, 0.62 * width, 0.20), PLAIN)
    bridge = rounded_box((-0.02, 0, depth + 0.48), (0.24, 0.50 * width, 0.12), PLAIN)
    ports = [
        ellipsoid((x, side * 0.62 * width, depth + 0.24), (0.06, 0.03, 0.06), DARK, rows=10)
        for x in (-0.38, -0.12, 0.14)
        for side in (-1, 1)
    ]
    funnel = rounded([(0, 0), (0.12, 0), (0.11, 0.42), (0, 0.42)], 0.03)
    stacks = [place(lathe(funnel, ACCENT, columns=32), (x, 0, depth + 0.52)) for x in pick(rng, ((-0.08,), (-0.18, 0.12)))]
    return [hull, cabin, bridge, *ports, *stacks]


__all__ = ["apple", "boat", "car", "house", "mushroom", "pear", "pumpkin", "robot", "rocket", "snowman", "tree"]
