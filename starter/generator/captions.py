"""Words for pictures: noun, material, view and background, and every word that a caption may hold.

Azimuth 0 looks at the object's front, angles here are degrees; backgrounds are plain sRGB colours in [0, 255].
"""

from __future__ import annotations

import numpy as np

from .families import FAMILIES
from .materials import MATERIALS

VIEWS = ("front view", "three-quarter view", "side view", "back view", "view from above")

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "light grey": (205, 205, 205),
    "grey": (140, 140, 140),
    "dark grey": (74, 74, 74),
    "black": (18, 18, 18),
    "beige": (222, 206, 176),
    "brown": (120, 82, 54),
    "red": (186, 52, 46),
    "orange": (226, 142, 62),
    "yellow": (236, 212, 98),
    "green": (96, 150, 92),
    "teal": (50, 124, 126),
    "light blue": (166, 202, 230),
    "blue": (62, 98, 172),
    "purple": (122, 88, 158),
    "pink": (234, 176, 190),
}


def view_words(azimuth_deg: float, elevation_deg: float) -> str:
    """The view in words: front within 22.5 degrees, three-quarter, side, back beyond 112.5; above 40 degrees up."""
    if elevation_deg > 40:
        return "view from above"
    turn = abs((azimuth_deg + 180) % 360 - 180)
    if turn <= 22.5:
        return "front view"
    if turn <= 67.5:
        return "three-quarter view"
    return "side view" if turn <= 112.5 else "back view"


def background_word(rgb) -> str:
    """The name of the listed background nearest to an sRGB colour in [0, 255]."""
    names = list(BACKGROUNDS)
    colours = np.array([BACKGROUNDS[name] for name in names], np.float32)
    return names[int(((colours - np.asarray(rgb, np.float32)) ** 2).sum(1).argmin())]


def caption(noun: str, material: str = "", view: str = "", background: str = "") -> str:
    """'a red plastic chair, front view, grey background'; empty parts are left out."""
    thing = f"{material} {noun}".strip()
    words = f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    if view:
        words += f", {view}"
    return f"{words}, {background} background" if background else words


def random_caption(
    rng: np.random.Generator,
    noun: str,
    material: str,
    azimuth_deg: float,
    elevation_deg: float,
    background_rgb,
) -> str:
    """One wording of a picture: parts are sometimes dropped, materials sometimes said another way."""
    phrases = MATERIALS[material].phrases if material in MATERIALS else (material,)
    phrase = phrases[0] if rng.random() < 0.7 else phrases[int(rng.integers(len(phrases)))]
    return caption(
        noun,
        phrase if rng.random() < 0.92 else "",
        view_words(azimuth_deg, elevation_deg) if rng.random() < 0.8 else "",
        background_word(background_rgb) if rng.random() < 0.75 else "",
    )


def words_of(text: str) -> list[str]:
    """A caption's words in order, without commas."""
    return text.replace(",", " ").split()


def _vocabulary() -> tuple[str, ...]:
    phrases = ["a an background", *VIEWS, *BACKGROUNDS, *FAMILIES]
    phrases += [phrase for material in MATERIALS.values() for phrase in material.phrases]
    return tuple(sorted({word for phrase in phrases for word in words_of(phrase)}))


VOCABULARY: tuple[str, ...] = _vocabulary()
