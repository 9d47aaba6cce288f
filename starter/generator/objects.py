"""One object of the starter's world: a shape of a family, dressed in a material, with its light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import captions
from .families import FAMILIES
from .geometry import Part, normalise
from .looks import SLOTS, Look
from .materials import MATERIALS
from .porcelain import porcelain_look

HELD_OUT = ("teapot", "chair", "cat", "lamp", "car", "elephant", "goblet")
"""Nouns that are never porcelain in the domain's training pictures: the honest test of domain guidance."""

PORCELAIN = "blue and white porcelain"


@dataclass(frozen=True)
class GeneratedObject:
    """Arrays of one object in the contract's frame, framed by ``geometry.normalise``.

    vertices, normals [V, 3] and uv [V, 2] float32, faces [F, 3] int32, face_row [F] int32 (row of ``table``), table,
    sheet, tile: see ``materials.Look``; key_light [3] float32: unit vector towards the light, fixed to the world.
    """

    noun: str
    material: str
    domain: bool
    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    face_row: np.ndarray
    table: np.ndarray
    sheet: np.ndarray
    tile: np.ndarray
    key_light: np.ndarray

    def caption(self, view: str = "", background: str = "") -> str:
        """What the picture shows, in the captions' words."""
        return captions.caption(self.noun, self.material, view, background)


def is_turned(part: Part) -> bool:
    """Whether u runs once round a vertical axis, so that a painted sheet can be wrapped round the part."""
    height = np.ptp(part.vertices[:, 2])
    if height < 0.35 or np.ptp(part.uv[:, 0]) < 0.9:
        return False
    centre = 0.5 * (part.vertices[:, :2].min(0) + part.vertices[:, :2].max(0))
    xy = part.vertices[:, :2] - centre
    radius = np.hypot(xy[:, 0], xy[:, 1])
    wide = radius > 0.3 * radius.max()
    angle = np.arctan2(xy[wide, 1], xy[wide, 0])
    return bool(np.cos(angle - 2 * np.pi * part.uv[wide, 0]).mean() > 0.93)


def dress(
    parts: Sequence[Part],
    look: Look,
    rng: np.random.Generator,
    *,
    noun: str,
    material: str,
    domain: bool = False,
) -> GeneratedObject:
    """Merge framed parts into one object that wears a look."""
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    rows = [part.slot + (0 if is_turned(part) else SLOTS) for part in parts]
    azimuth, elevation = math.radians(rng.normal(-32, 8)), math.radians(rng.normal(50, 5))
    key = (
        math.sin(azimuth) * math.cos(elevation),
        -math.cos(azimuth) * math.cos(elevation),
        math.sin(elevation),
    )
    return GeneratedObject(
        noun=noun,
        material=material,
        domain=domain,
        vertices=np.concatenate([part.vertices for part in parts]).astype(np.float32),
        faces=np.concatenate([part.faces + k for part, k in zip(parts, offsets, strict=True)]).astype(
            np.int32
        ),
        normals=np.concatenate([part.normals for part in parts]).astype(np.float32),
        uv=np.concatenate([part.uv for part in parts]).astype(np.float32),
        face_row=np.concatenate(
            [np.full(len(part.faces), row, np.int32) for part, row in zip(parts, rows, strict=True)]
        ),
        table=look.table,
        sheet=look.sheet,
        tile=look.tile,
        key_light=np.array(key, np.float32),
    )


def nouns(*, domain: bool) -> list[str]:
    """The nouns that are drawn: all families for the prior, all but the held-out ones for the domain."""
    return [noun for noun in FAMILIES if not (domain and noun in HELD_OUT)]


def make_object(
    rng: np.random.Generator, *, domain: bool = False, noun: str | None = None, material: str | None = None
) -> GeneratedObject:
    """A random object.

    Args: domain: blue-and-white porcelain, without the held-out nouns unless ``noun`` asks for one (evaluation only);
        noun, material: fix what is otherwise drawn uniformly.
    """
    choices = nouns(domain=domain)
    noun = noun or choices[int(rng.integers(len(choices)))]
    if noun not in FAMILIES:
        raise ValueError(f"no family of shapes is called {noun!r}; the nouns are {', '.join(FAMILIES)}")
    parts = normalise(FAMILIES[noun](rng))
    size = np.ptp(np.concatenate([part.vertices for part in parts]), axis=0)
    flat = bool(size[2] < 0.55 * max(size[0], size[1]))
    if domain:
        return dress(parts, porcelain_look(rng, flat), rng, noun=noun, material=PORCELAIN, domain=True)
    name = material or list(MATERIALS)[int(rng.integers(len(MATERIALS)))]
    return dress(parts, MATERIALS[name].make(rng, flat), rng, noun=noun, material=name)
