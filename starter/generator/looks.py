"""How objects are coloured: the table of numbers and the textures that the renderer reads, and makers of them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .canvas import Colour, Palette
from .decoration import paint_dots, paint_sheet, paint_tile
from .renderer_colour import COLUMNS, SHEET, SOLID, TILE, linear_from_srgb

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
    sheet, tile = paint_sheet(rng, palette), paint_tile(rng, palette)
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
        tile = paint_dots(c, g)
        body = table_row(TILE, g, scale=rng.uniform(1.8, 2.4), offset=rng.uniform(0, 1, 3), roughness=0.25)
        return _look(rng, body, table_row(SOLID, g, roughness=0.25), table_row(SOLID, c, roughness=0.25),
                     colours=(c, g), tile=tile)  # fmt: skip

    return make
