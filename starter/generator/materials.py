"""The prior's materials: a name, other ways to say it, and a look with a little variation.

None of them is blue paint on a white ground: blue-and-white porcelain belongs to the domain alone (``porcelain.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Colour, Palette
from .looks import Look, dotted, painted, solid, spatial
from .renderer_colour import MARBLE, MOTTLE, SPECKLE, STRIPES, WOOD


@dataclass(frozen=True)
class Material:
    """name: what the captions say; phrases: it and other ways to say it; make(rng, flat) -> Look.

    ``flat`` tells that the object is low and wide, so that its inside is what one sees.
    """

    name: str
    phrases: tuple[str, ...]
    make: Callable[[np.random.Generator, bool], Look]


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
