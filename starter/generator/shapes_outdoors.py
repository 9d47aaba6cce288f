"""Built things: house, car, robot, rocket, boat. Heights start at 0; car and boat have their front at +x."""

import numpy as np

from .curves import capped, rounded, spline
from .geometry import ellipsoid, extrusion, lathe, rounded_box, torus, tube
from .parts import ACCENT, BODY, DARK, PLAIN, Part, loft, place, place_all, rotation
from .variation import pick


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
    return np.concatenate(
        [a + along * (b - a) for a, b in zip(points, np.roll(points, -1, axis=0), strict=True)]
    )


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
        parts.append(
            extrusion(outline_with_room([tuple(p) for p in pane], 4), half + 0.012, PLAIN, bevel=0.01)
        )
    radius = rng.uniform(0.19, 0.23)
    wheel = rounded([(0, -0.09), (radius, -0.09), (radius, 0.09), (0, 0.09)], 0.04)
    hub = ellipsoid((0, 0, 0.08), (0.45 * radius, 0.45 * radius, 0.045), ACCENT, rows=10)
    for x in (-0.52, 0.54):
        for side in (-1, 1):
            turn = rotation("x", side * np.pi / 2)
            parts += place_all(
                [lathe(wheel, DARK, columns=32), hub], (x, -side * (half - 0.03), radius), turn=turn
            )
    lamps = [ellipsoid((0.85, side * 0.6 * half, 0.38 * height), 0.06, ACCENT, rows=10) for side in (-1, 1)]
    return parts + lamps


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
    side = spline(
        [(waist * wide, 0.28), (wide, 0.62), (0.98 * wide, 0.95), (0.62 * wide, 1.35), (0, 1.75)], 44
    )
    side[-1, 0] = 0.0
    cut = int(np.searchsorted(side[:, 1], rng.uniform(1.15, 1.30)))
    hull = lathe(capped(side), BODY)
    nose = lathe(capped(side[cut:] * [1.04, 1.0] + [0.0, 0.012]), ACCENT)
    nozzle = lathe(
        rounded([(0, 0.10), (0.8 * waist * wide, 0.10), (0.5 * waist * wide, 0.32), (0, 0.32)], 0.03), DARK
    )
    span, sweep = rng.uniform(0.26, 0.36), rng.uniform(0.0, 0.2)
    inner = 0.75 * wide
    fin = outline_with_room(
        [(inner, 0.30), (inner + span, sweep - 0.08), (inner + span, 0.24), (inner, 0.72)], 6
    )
    count = int(rng.integers(3, 5))
    # One fin of three points away from the viewer, so that the two others show on either side.
    angles = (
        np.pi / 2
        + 2 * np.pi * np.arange(count) / count
        + (np.pi / 4 if count == 4 and rng.random() < 0.5 else 0)
    )
    fins = [place(extrusion(fin, 0.05, ACCENT, bevel=0.015), turn=rotation("z", angle)) for angle in angles]
    radius = float(np.interp(0.92, side[:, 1], side[:, 0]))
    frame = place(
        torus(0.13, 0.045, ACCENT, rows=10, columns=32), (0, -radius, 0.92), turn=rotation("x", np.pi / 2)
    )
    return [
        hull,
        nose,
        nozzle,
        *fins,
        frame,
        ellipsoid((0, -radius, 0.92), (0.12, 0.05, 0.12), DARK, rows=12),
    ]


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
        if rng.random() < 0.75:
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
    stacks = [
        place(lathe(funnel, ACCENT, columns=32), (x, 0, depth + 0.52))
        for x in pick(rng, ((-0.08,), (-0.18, 0.12)))
    ]
    return [hull, cabin, bridge, *ports, *stacks]
