"""The prior's materials: a name, other ways to say it, and a look (numbers and textures) with a little variation.

None of them is blue paint on a white ground: blue-and-white porcelain belongs to the domain alone (``porcelain.py``).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import motifs
from .motifs import Colour, Palette
from .renderer_colour import (
    COLUMNS,
    MARBLE,
    MOTTLE,
    SHEET,
    SOLID,
    SPECKLE,
    STRIPES,
    TILE,
    WOOD,
    linear_from_srgb,
)

BLANK = np.zeros((1, 1, 3), np.uint8)
BODY, PLAIN, ACCENT, DARK = 0, 1, 2, 3
SLOTS = 4


@dataclass(frozen=True)
class Look:
    """How an object is coloured.

    table [8, COLUMNS] float32: rows 0..3 for the slots of bodies of revolution, rows 4..7 for the slots of all other
    parts; sheet and tile: sRGB textures [H, W, 3] uint8; colours: the sRGB colours that it is made of.
    """

    table: np.ndarray
    sheet: np.ndarray = field(default_factory=lambda: BLANK)
    tile: np.ndarray = field(default_factory=lambda: BLANK)
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True)
class Material:
    """name: what the captions say; phrases: it and other ways to say it; make(rng, flat) -> Look.

    ``flat`` tells that the object is low and wide, so that its inside is what one sees.
    """

    name: str
    phrases: tuple[str, ...]
    make: Callable[[np.random.Generator, bool], Look]


def table_row(
    kind: int,
    colour: Colour,
    other: Colour | None = None,
    *,
    scale: float = 1.0,
    amount: float = 1.0,
    roughness: float = 0.4,
    metallic: float = 0.0,
    coat: float = 1.0,
    offset=(0.0, 0.0, 0.0),
) -> np.ndarray:
    """One row of a look's table; colours are sRGB in [0, 255]."""
    a, b = linear_from_srgb(np.array(colour) / 255), linear_from_srgb(np.array(other or colour) / 255)
    row = np.concatenate([[kind, scale, roughness, metallic, coat, amount], a, b, offset]).astype(np.float32)
    assert len(row) == COLUMNS
    return row


def vary(rng: np.random.Generator, colour: Colour, strength: float = 1.0) -> Colour:
    """A colour of the same name: hue, saturation and value move a little."""
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    h = (h + strength * rng.uniform(-0.012, 0.012)) % 1
    s = min(1.0, max(0.0, s * (1 + strength * rng.uniform(-0.10, 0.10))))
    v = min(0.97, max(0.03, v * (1 + strength * rng.uniform(-0.08, 0.08))))
    r, g, b = colorsys.hsv_to_rgb(h, s, v)
    return round(255 * r), round(255 * g), round(255 * b)


def darker(colour: Colour, factor: float = 0.72) -> Colour:
    """The same colour with less light."""
    r, g, b = (round(c * factor) for c in colour)
    return r, g, b


def _look(rng, body: np.ndarray, plain: np.ndarray, accent: np.ndarray, *, colours, **textures) -> Look:
    dark = table_row(SOLID, vary(rng, (34, 30, 30)), roughness=0.3)
    rows = np.stack([body, plain, accent, dark])
    return Look(np.concatenate([rows, rows]), colours=tuple(colours), **textures)


def solid(
    colour: Colour, *, roughness: float, metallic: float = 0.0, coat: float = 1.0, accent: float = 0.72
):
    """One even colour; accents are a darker shade of it."""

    def make(rng: np.random.Generator, flat: bool) -> Look:
        c = vary(rng, colour)
        second = darker(c, accent) if max(c) > 90 else (c[0] + 40, c[1] + 40, c[2] + 40)
        finish: dict[str, Any] = dict(
            roughness=roughness * rng.uniform(0.8, 1.2), metallic=metallic, coat=coat
        )
        body, trim = table_row(SOLID, c, **finish), table_row(SOLID, second, **finish)
        return _look(rng, body, body, trim, colours=(c, second))

    return make


def spatial(
    kind: int,
    first: Colour,
    second: Colour,
    *,
    scale: float,
    amount: float,
    roughness: float,
    coat: float = 1.0,
):
    """Two colours mixed by a pattern that is solid in space."""

    def make(rng: np.random.Generator, flat: bool) -> Look:
        a, b = vary(rng, first), vary(rng, second)
        finish: dict[str, Any] = dict(
            roughness=roughness, coat=coat, amount=amount, offset=rng.uniform(3, 40, 3)
        )
        body = table_row(kind, a, b, scale=scale * rng.uniform(0.85, 1.2), **finish)
        trim = table_row(kind, darker(a, 0.75), darker(b, 0.75), scale=scale, **finish)
        return _look(rng, body, body, trim, colours=(a, b))

    return make


def painted_look(rng: np.random.Generator, palette: Palette, flat: bool, *, roughness: float = 0.16) -> Look:
    """A painted ware: the sheet on bodies of revolution, the tile elsewhere, plain glaze inside unless ``flat``."""
    gloss: dict[str, Any] = dict(roughness=roughness)
    tile_row = table_row(
        TILE, palette.ground, scale=rng.uniform(1.2, 1.6), offset=rng.uniform(0, 1, 3), **gloss
    )
    ground = table_row(SOLID, palette.ground, **gloss)
    ink = table_row(SOLID, palette.ink, **gloss)
    fine = tile_row.copy()
    fine[1] *= 1.35
    accent = (fine, ink, ground)[int(rng.choice(3, p=(0.7, 0.25, 0.05)))]
    dark = table_row(SOLID, darker(palette.ink, 0.6), **gloss)
    inside = tile_row if flat else ground
    turned = [table_row(SHEET, palette.ground, **gloss), inside, accent, dark]
    table = np.stack([*turned, tile_row, inside, accent, dark])
    sheet, tile = motifs.paint_sheet(rng, palette), motifs.paint_tile(rng, palette)
    return Look(table, sheet, tile, (palette.ground, palette.ink, palette.wash, palette.accent))


def painted(palette: Palette, *, roughness: float = 0.16):
    """Motifs in one palette."""

    def make(rng: np.random.Generator, flat: bool) -> Look:
        inks = (vary(rng, c) for c in (palette.ink, palette.wash, palette.accent))
        return painted_look(rng, Palette(vary(rng, palette.ground, 0.3), *inks), flat, roughness=roughness)

    return make


def dotted(colour: Colour, ground: Colour):
    """Polka dots."""

    def make(rng: np.random.Generator, flat: bool) -> Look:
        c, g = vary(rng, colour), vary(rng, ground, 0.4)
        tile = motifs.paint_dots(c, g)
        body = table_row(TILE, g, scale=rng.uniform(1.8, 2.4), offset=rng.uniform(0, 1, 3), roughness=0.25)
        return _look(rng, body, table_row(SOLID, g, roughness=0.25), table_row(SOLID, c, roughness=0.25),
                     colours=(c, g), tile=tile)  # fmt: skip

    return make


WHITE, CREAM, BLACK = (244, 243, 238), (236, 222, 190), (30, 28, 30)

_PLASTICS: dict[str, Colour] = {
    "red": (205, 34, 36),
    "orange": (238, 118, 24),
    "yellow": (246, 204, 40),
    "green": (46, 146, 62),
    "blue": (32, 88, 200),
    "purple": (118, 58, 166),
    "pink": (238, 132, 170),
    "turquoise": (36, 174, 176),
    "white": (240, 240, 238),
    "grey": (134, 136, 138),
    "black": (32, 32, 34),
    "brown": (122, 76, 46),
}

_WOODS: dict[str, tuple[Colour, Colour]] = {
    "oak": ((204, 158, 100), (150, 102, 56)),
    "walnut": ((118, 76, 48), (66, 40, 26)),
    "pine": ((230, 194, 138), (192, 142, 84)),
    "mahogany": ((148, 62, 38), (88, 30, 20)),
}

_METALS: dict[str, Colour] = {
    "gold": (255, 202, 84),
    "silver": (226, 228, 232),
    "copper": (236, 142, 104),
    "bronze": (176, 124, 64),
    "iron": (104, 104, 108),
}

_GLAZES: dict[str, tuple[Colour, Colour]] = {
    "celadon": ((172, 204, 178), (146, 184, 158)),
    "cobalt blue": ((26, 44, 132), (36, 62, 160)),
    "oxblood red": ((138, 20, 24), (96, 10, 16)),
    "turquoise": ((52, 168, 172), (30, 132, 142)),
    "amber": ((190, 112, 28), (140, 74, 18)),
    "black": ((24, 22, 26), (44, 38, 40)),
    "yellow": ((232, 188, 56), (206, 152, 34)),
    "green": ((50, 112, 66), (30, 80, 52)),
}

_WARES: dict[str, Palette] = {
    "red and white porcelain": Palette(WHITE, (188, 30, 30), (232, 132, 116), (214, 90, 40)),
    "green and white porcelain": Palette(WHITE, (24, 110, 62), (134, 194, 140), (72, 150, 60)),
    "purple and white porcelain": Palette(WHITE, (100, 40, 130), (184, 142, 206), (160, 60, 140)),
    "black and white pottery": Palette((238, 230, 212), (34, 28, 26), (122, 108, 98), (34, 28, 26)),
    "black and orange pottery": Palette((204, 104, 48), (28, 22, 22), (84, 40, 26), (28, 22, 22)),
    "orange and black pottery": Palette((30, 24, 24), (214, 112, 52), (160, 74, 36), (236, 160, 96)),
    "brown and cream pottery": Palette(CREAM, (104, 58, 30), (182, 130, 84), (142, 74, 34)),
    "green and yellow pottery": Palette((232, 194, 74), (36, 104, 52), (130, 154, 58), (150, 60, 30)),
    "gold and black lacquer": Palette((26, 22, 24), (222, 170, 66), (150, 104, 40), (240, 204, 110)),
    "gold and red lacquer": Palette((150, 22, 24), (232, 184, 78), (190, 96, 46), (246, 214, 126)),
    "pink and green porcelain": Palette((246, 240, 228), (206, 66, 110), (240, 168, 186), (60, 138, 72)),
}

_STRIPES: dict[str, tuple[Colour, Colour]] = {
    "red and white": ((206, 40, 40), WHITE),
    "green and yellow": ((52, 142, 66), (244, 208, 66)),
    "black and white": (BLACK, WHITE),
    "purple and orange": ((112, 60, 160), (240, 136, 40)),
    "blue and yellow": ((38, 86, 186), (246, 206, 54)),
}

_DOTS: dict[str, tuple[Colour, Colour]] = {
    "red": (WHITE, (204, 38, 38)),
    "yellow": ((206, 60, 40), (246, 206, 60)),
    "green": ((244, 222, 90), (52, 140, 70)),
    "blue": ((246, 206, 60), (36, 84, 184)),
    "pink": (WHITE, (236, 128, 168)),
}


def _materials() -> dict[str, Material]:
    found: list[Material] = []

    def add(name: str, make, *others: str) -> None:
        found.append(Material(name, (name, *others), make))

    for word, colour in _PLASTICS.items():
        add(f"{word} plastic", solid(colour, roughness=0.30), word)
    for word, (a, b) in _WOODS.items():
        add(
            f"{word} wooden",
            spatial(WOOD, a, b, scale=7.0, amount=0.8, roughness=0.55, coat=0.6),
            "wooden",
            word,
        )
    for word, colour in _METALS.items():
        rough = 0.45 if word == "iron" else 0.16
        add(f"{word} metal", solid(colour, roughness=rough, metallic=1.0, coat=0.2), word, "metal")
    add(
        "white marble",
        spatial(MARBLE, (238, 236, 232), (140, 140, 146), scale=3.0, amount=0.75, roughness=0.2),
        "marble",
    )
    add(
        "black marble",
        spatial(MARBLE, (40, 40, 44), (220, 216, 208), scale=3.4, amount=0.7, roughness=0.2),
        "marble",
    )
    add(
        "green jade",
        spatial(MOTTLE, (74, 148, 96), (150, 200, 150), scale=2.6, amount=0.8, roughness=0.22),
        "jade",
    )
    add(
        "grey granite",
        spatial(SPECKLE, (70, 70, 74), (206, 202, 198), scale=24, amount=1.0, roughness=0.4),
        "granite",
    )
    add(
        "red granite",
        spatial(SPECKLE, (96, 50, 44), (214, 150, 130), scale=24, amount=1.0, roughness=0.4),
        "granite",
    )
    add(
        "sandstone",
        spatial(SPECKLE, (190, 158, 112), (224, 198, 156), scale=20, amount=0.8, roughness=0.9, coat=0.1),
        "stone",
    )
    add(
        "terracotta",
        spatial(MOTTLE, (186, 94, 58), (206, 122, 84), scale=3, amount=0.6, roughness=0.9, coat=0.15),
        "terracotta clay",
    )
    add(
        "grey clay",
        spatial(MOTTLE, (132, 126, 118), (160, 152, 142), scale=3, amount=0.6, roughness=0.9, coat=0.1),
        "clay",
    )
    add("white porcelain", solid((244, 243, 238), roughness=0.12, accent=0.92), "plain white porcelain")
    for word, (a, b) in _GLAZES.items():
        add(
            f"{word} glazed",
            spatial(MOTTLE, a, b, scale=2.2, amount=0.8, roughness=0.12),
            f"{word} glazed pottery",
        )
    for name, palette in _WARES.items():
        add(name, painted(palette), f"painted {name}")
    for words, (a, b) in _STRIPES.items():
        add(f"{words} striped", spatial(STRIPES, a, b, scale=4.2, amount=0.5, roughness=0.3), "striped")
    for word, (a, b) in _DOTS.items():
        add(f"{word} polka-dot", dotted(a, b), "polka-dot")
    return {material.name: material for material in found}


MATERIALS: dict[str, Material] = _materials()
