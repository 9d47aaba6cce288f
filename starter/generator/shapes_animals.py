"""Animals as soft bodies. Cat and rabbit sit and look along -y; the others stand with the head at +x."""

from collections.abc import Sequence

import numpy as np

from .blend import Cone, SoftBody, cone, mirrored
from .geometry import ellipsoid, tube
from .parts import ACCENT, DARK, PLAIN, Part, place
from .variation import pick


def eyes(body: SoftBody, start: tuple, direction: tuple, radius: float, axis: int) -> list[Part]:
    """Two dark eyes where a ray and its mirror image (axis 0 x, 1 y) leave the body."""
    parts = []
    for side in (1.0, -1.0):
        origin, towards = list(start), list(direction)
        origin[axis], towards[axis] = side * origin[axis], side * towards[axis]
        parts.append(ellipsoid(body.surface(tuple(origin), tuple(towards)), radius, DARK, rows=10))
    return parts


def cat(rng: np.random.Generator) -> list[Part]:
    """A sitting cat: pointed ears, front paws, a tail curled round one side or standing up."""
    plump, head, ear = rng.uniform(0.92, 1.10), rng.uniform(0.30, 0.35), rng.uniform(0.26, 0.36)
    pieces = [
        cone((0, 0.16, -0.48), (0, -0.02, 0.12), (0.42 * plump, 0.25 * plump)),
        *mirrored(cone((0.27, 0.06, -0.58), None, 0.24 * plump), 0),
        *mirrored(cone((0.30, -0.10, -0.76), (0.27, -0.32, -0.77), 0.10), 0),
        *mirrored(cone((0.14, -0.20, 0.0), (0.13, -0.36, -0.76), (0.13, 0.10), soft=0.08), 0),
        cone((0, -0.14, 0.42), None, head, scale=(1.12, 0.95, 0.95)),
        *mirrored(cone((0.06, -0.14 - 0.85 * head, 0.33), None, 0.10, soft=0.06), 0),
        *mirrored(
            cone((0.20, -0.12, 0.36 + head), (0.27, -0.12, 0.42 + head + 0.7 * ear), (0.13, 0.03), soft=0.05),
            0,
        ),
    ]
    side = pick(rng, (-1, 1))
    curled = [(0, 0.45, -0.72), (0.45, 0.35, -0.76), (0.58, 0.0, -0.77), (0.46, -0.32, -0.77)]
    raised = [(0, 0.45, -0.70), (0.40, 0.50, -0.62), (0.58, 0.42, -0.25), (0.50, 0.35, 0.10)]
    pieces += chain([(side * x, y, z) for x, y, z in pick(rng, (curled, raised))], (0.11, 0.08))
    body = SoftBody(pieces)
    nose = body.surface((0, -0.14, 0.38), (0, -1, 0))
    look = eyes(body, (0.0, -0.14, 0.44), (0.45, -1.0, 0.10), 0.062, 0)
    return [body.mesh(), *look, ellipsoid(nose, (0.06, 0.04, 0.04), ACCENT, rows=10)]


def chain(
    points: Sequence[tuple[float, float, float]], radii: tuple[float, float], soft: float = 0.06
) -> list[Cone]:
    """Round cones from point to point with a radius that runs evenly from the first to the last."""
    sizes = np.linspace(radii[0], radii[1], len(points))
    return [
        cone(points[k], points[k + 1], (float(sizes[k]), float(sizes[k + 1])), soft=soft)
        for k in range(len(points) - 1)
    ]


def rabbit(rng: np.random.Generator) -> list[Part]:
    """A sitting rabbit: an egg of a body, long upright ears (one may flop), a ball of a tail."""
    plump, ear = rng.uniform(0.92, 1.08), rng.uniform(0.42, 0.58)
    spread = rng.uniform(0.02, 0.14)
    pieces = [
        cone((0, 0.12, -0.46), (0, 0.0, -0.05), (0.42 * plump, 0.27 * plump)),
        *mirrored(cone((0.28, -0.02, -0.60), None, 0.22 * plump), 0),
        *mirrored(cone((0.26, -0.10, -0.78), (0.24, -0.42, -0.79), (0.10, 0.09), soft=0.06), 0),
        *mirrored(cone((0.12, -0.20, -0.22), (0.10, -0.36, -0.48), (0.11, 0.09), soft=0.06), 0),
        cone((0, -0.12, 0.22), None, 0.30, scale=(1.0, 1.0, 0.95)),
        *mirrored(cone((0.07, -0.36, 0.13), None, 0.11, soft=0.08), 0),
        cone((0, 0.56 * plump, -0.62), None, 0.15, soft=0.04),
    ]
    flop = rng.random() < 0.25
    for side in (-1, 1):
        base, middle = (side * 0.12, -0.08, 0.42), (side * (0.14 + 0.5 * spread), -0.06, 0.44 + 0.55 * ear)
        tip = (side * (0.14 + spread), -0.05, 0.46 + ear)
        if flop and side == 1:
            tip = (side * 0.42, -0.10, 0.40 + 0.45 * ear)
        pieces.append(cone(base, middle, (0.09, 0.13), soft=0.04, scale=(1.0, 0.7, 1.0)))
        pieces.append(cone(middle, tip, (0.13, 0.07), soft=0.04, scale=(1.0, 0.7, 1.0)))
    body = SoftBody(pieces)
    nose = body.surface((0, -0.12, 0.17), (0, -1, 0))
    look = eyes(body, (0.0, -0.12, 0.24), (0.62, -1.0, 0.22), 0.055, 0)
    return [body.mesh(), *look, ellipsoid(nose, (0.05, 0.04, 0.035), ACCENT, rows=10)]


def four_legs(front: float, back: float, half: float, top: float, floor: float, radii: tuple) -> list[Cone]:
    """Four straight legs under x = front and x = back, y = +-half, from height `top` to `floor`."""
    return [
        leg
        for x in (front, back)
        for leg in mirrored(cone((x, half, top), (x, half, floor), radii, soft=0.08), 1)
    ]


def pig(rng: np.random.Generator) -> list[Part]:
    """A stout pig: round barrel, disc snout, short legs, curly tail."""
    fat, leg = rng.uniform(0.42, 0.50), rng.uniform(0.11, 0.14)
    floor = -fat - rng.uniform(0.16, 0.24)
    pieces = [
        cone((-0.42, 0, 0), (0.30, 0, 0.0), (fat, 0.95 * fat)),
        cone((0.56, 0, 0.14), None, 0.30),
        cone((0.75, 0, 0.06), (0.90, 0, 0.05), (0.16, 0.15), soft=0.06),
        *four_legs(0.34, -0.48, 0.22, -0.2, floor, (leg + 0.03, leg)),
        *mirrored(cone((0.50, 0.18, 0.38), (0.62, 0.26, 0.54), (0.11, 0.04), soft=0.04), 1),
    ]
    body = SoftBody(pieces)
    angle = np.linspace(0, 3.2 * np.pi, 20)
    curl = np.stack([-0.42 - fat - 0.02 * angle, 0.08 * np.sin(angle), 0.18 + 0.08 * np.cos(angle)], axis=1)
    nostrils = [ellipsoid((1.045, side * 0.06, 0.06), (0.03, 0.035, 0.05), DARK, rows=8) for side in (-1, 1)]
    look = eyes(body, (0.60, 0.0, 0.22), (0.35, 1.0, 0.25), 0.05, 1)
    return [body.mesh(), *look, *nostrils, tube(curl, [0.065, 0.055], ACCENT, rows=40)]


def elephant(rng: np.random.Generator) -> list[Part]:
    """A heavy body on pillar legs, fan ears, tusks, and a trunk that hangs or is raised."""
    bulk, leg = rng.uniform(0.42, 0.48), rng.uniform(0.15, 0.18)
    hanging = [(0.78, 0, 0.20), (0.97, 0, -0.05), (1.02, 0, -0.38), (1.10, 0, -0.60)]
    raised = [(0.78, 0, 0.20), (1.02, 0, 0.10), (1.16, 0, 0.30), (1.14, 0, 0.60)]
    trunk = pick(rng, (hanging, hanging, raised))
    ear = rng.uniform(0.28, 0.36)
    pieces = [
        cone((-0.38, 0, 0.02), (0.25, 0, 0.08), (bulk, 0.96 * bulk)),
        cone((0.62, 0, 0.32), None, 0.31),
        *chain(trunk, (0.19, 0.09), soft=0.08),
        *four_legs(0.30, -0.46, 0.23, -0.15, -0.72, (leg + 0.03, leg)),
        *mirrored(cone((0.44, 0.32, 0.26), None, ear, soft=0.04, scale=(0.9, 0.28, 1.15)), 1),
        *chain([(-0.78, 0, 0.15), (-0.90, 0, -0.05), (-0.92, 0, -0.28)], (0.07, 0.06)),
    ]
    body = SoftBody(pieces)
    tusks = [
        tube(
            [(0.82, s * 0.14, 0.10), (0.98, s * 0.19, -0.08), (1.14, s * 0.19, -0.02)],
            [0.075, 0.065, 0.05],
            PLAIN,
        )
        for s in (-1, 1)
    ]
    return [body.mesh(resolution=50), *tusks, *eyes(body, (0.74, 0.0, 0.40), (0.15, 1.0, 0.15), 0.048, 1)]


def duck(rng: np.random.Generator) -> list[Part]:
    """A swimming duck: boat-shaped body, folded wings, flat bill, tail turned up."""
    neck, plump = rng.uniform(0.0, 0.16), rng.uniform(0.92, 1.08)
    x, z = 0.50, 0.52 + neck
    pieces = [
        cone((-0.28, 0, -0.22), (0.20, 0, -0.20), (0.38 * plump, 0.43 * plump), scale=(1.0, 1.0, 0.95)),
        cone((-0.45, 0, -0.12), (-0.88, 0, 0.16), (0.28, 0.07), scale=(1.0, 1.1, 0.8)),
        cone((0.34, 0, 0.0), (x - 0.04, 0, z - 0.12), (0.24, 0.18)),
        cone((x, 0, z), None, rng.uniform(0.26, 0.30)),
        *mirrored(cone((0.12, 0.36 * plump, -0.14), (-0.42, 0.30 * plump, -0.04), (0.20, 0.07), soft=0.03,
                       scale=(1.0, 0.45, 1.0)), 1),
    ]  # fmt: skip
    body = SoftBody(pieces)
    bill = SoftBody(
        [
            cone((x + 0.20, 0, z - 0.06), (x + 0.46, 0, z - 0.09), (0.15, 0.12), scale=(1.0, 1.0, 0.5)),
        ]
    )
    look = eyes(body, (x + 0.06, 0.0, z + 0.05), (0.40, 1.0, 0.20), 0.05, 1)
    return [body.mesh(), bill.mesh(ACCENT, resolution=20), *look]


def horse(rng: np.random.Generator) -> list[Part]:
    """A standing horse: long legs, arched neck, mane and tail in the accent material."""
    build, stretch = rng.uniform(0.25, 0.30), rng.uniform(0.95, 1.08)
    lift = rng.uniform(-0.04, 0.10)
    poll = (0.66, 0.0, 0.66 + lift)
    floor, leg = -0.86 * stretch, rng.uniform(0.075, 0.095)
    pieces = [
        cone((-0.44, 0, 0.02), (0.28, 0, 0.02), (build, 0.95 * build)),
        cone((0.32, 0, 0.10), poll, (0.24, 0.14), scale=(1.0, 0.85, 1.0)),
        cone(poll, (0.98, 0, 0.44 + lift), (0.16, 0.10), soft=0.06, scale=(1.0, 0.9, 1.0)),
        *mirrored(cone((0.62, 0.08, 0.80 + lift), (0.62, 0.09, 0.93 + lift), (0.06, 0.025), soft=0.03), 1),
        *four_legs(0.32, -0.52, 0.14, -0.1, floor, (leg + 0.05, leg)),
        *four_legs(0.34, -0.50, 0.14, floor + 0.04, floor, (leg + 0.02, leg + 0.03)),
    ]
    body = SoftBody(pieces)
    mane = [(0.64, 0, 0.86 + lift), (0.50, 0, 0.74 + lift), (0.34, 0, 0.48 + lift), (0.20, 0, 0.28)]
    tail = [(-0.68, 0, 0.14), (-0.82, 0, 0.10), (-0.92, 0, -0.15), (-0.92, 0, -0.48)]
    look = eyes(body, (0.78, 0.0, 0.62 + lift), (0.0, 1.0, 0.15), 0.042, 1)
    return [
        body.mesh(resolution=56),
        tube(mane, [0.06, 0.10, 0.10, 0.05], ACCENT, flat=0.7),
        tube(tail, [0.06, 0.09, 0.11, 0.05], ACCENT),
        *look,
    ]


def fish(rng: np.random.Generator) -> list[Part]:
    """A fish in profile: flattened body, forked or fan tail, fins in the accent material."""
    deep, slim = rng.uniform(0.34, 0.46), rng.uniform(0.50, 0.62)
    flat = (1.0, slim, 1.0)
    body = SoftBody(
        [
            cone((0.28, 0, 0), (-0.12, 0, 0), (0.88 * deep, deep), scale=flat),
            cone((0.30, 0, -0.02), (0.66, 0, -0.02), (0.80 * deep, 0.16), scale=flat),
            cone((-0.12, 0, 0), (-0.62, 0, 0), (0.9 * deep, 0.12), scale=flat),
        ]
    )
    thin = (1.0, 0.35, 1.0)
    forked, reach = rng.random() < 0.6, rng.uniform(0.34, 0.44)
    tail = mirrored_z(cone((-0.60, 0, 0.0), (-0.96, 0, reach), (0.11, 0.13), soft=0.06, scale=thin))
    if not forked:
        tail.append(cone((-0.62, 0, 0), (-0.92, 0, 0), (0.14, 0.24), soft=0.06, scale=thin))
    dorsal = cone((0.16, 0, 0.85 * deep), (-0.28, 0, 0.85 * deep + 0.16), (0.15, 0.10), scale=thin)
    belly = cone((0.0, 0, -0.85 * deep), (-0.22, 0, -0.85 * deep - 0.14), (0.13, 0.07), scale=thin)
    fins = [SoftBody(tail).mesh(ACCENT, resolution=34)]
    fins += [SoftBody([piece]).mesh(ACCENT, resolution=20) for piece in (dorsal, belly)]
    side = slim * deep
    pectoral = ellipsoid((0, 0, 0), (0.17, 0.05, 0.09), ACCENT, rows=12)
    fins += [place(pectoral, (0.10, s * (side - 0.01), -0.10)) for s in (-1, 1)]
    return [body.mesh(), *fins, *eyes(body, (0.48, 0.0, 0.08), (0.1, 1.0, 0.05), 0.058, 1)]


def mirrored_z(piece: Cone) -> list[Cone]:
    """A cone and its mirror image below the horizontal plane."""
    other = list(piece)
    other[2], other[5] = -other[2], -other[5]
    return [piece, tuple(other)]
