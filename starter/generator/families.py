"""All shape families of the starter by their noun.

A builder takes a random generator and returns the parts of one object, not yet normalised.
Front views (camera at -Y): pottery shows spouts and handles in profile, long things show their broadside.
"""

from collections.abc import Callable

import numpy as np

from . import (
    shapes_animals,
    shapes_furniture,
    shapes_garden,
    shapes_household,
    shapes_outdoors,
    shapes_pottery,
)
from .parts import Part, normalise

Builder = Callable[[np.random.Generator], list[Part]]

FAMILIES: dict[str, Builder] = {
    "vase": shapes_pottery.vase,
    "bowl": shapes_pottery.bowl,
    "plate": shapes_pottery.plate,
    "cup": shapes_pottery.cup,
    "mug": shapes_pottery.mug,
    "teapot": shapes_pottery.teapot,
    "pitcher": shapes_pottery.pitcher,
    "bottle": shapes_pottery.bottle,
    "jar": shapes_pottery.jar,
    "amphora": shapes_pottery.amphora,
    "goblet": shapes_pottery.goblet,
    "candlestick": shapes_household.candlestick,
    "lamp": shapes_household.lamp,
    "chair": shapes_furniture.chair,
    "stool": shapes_furniture.stool,
    "table": shapes_furniture.table,
    "bench": shapes_furniture.bench,
    "box": shapes_household.box,
    "barrel": shapes_household.barrel,
    "bell": shapes_household.bell,
    "mushroom": shapes_garden.mushroom,
    "pumpkin": shapes_garden.pumpkin,
    "apple": shapes_garden.apple,
    "pear": shapes_garden.pear,
    "ring": shapes_household.ring,
    "ball": shapes_household.ball,
    "house": shapes_outdoors.house,
    "car": shapes_outdoors.car,
    "tree": shapes_garden.tree,
    "snowman": shapes_garden.snowman,
    "robot": shapes_outdoors.robot,
    "rocket": shapes_outdoors.rocket,
    "boat": shapes_outdoors.boat,
    "cat": shapes_animals.cat,
    "rabbit": shapes_animals.rabbit,
    "pig": shapes_animals.pig,
    "elephant": shapes_animals.elephant,
    "duck": shapes_animals.duck,
    "horse": shapes_animals.horse,
    "fish": shapes_animals.fish,
}

POTTERY: frozenset[str] = frozenset(
    ("vase", "bowl", "plate", "cup", "mug", "teapot", "pitcher", "bottle", "jar", "amphora", "goblet")
)


def build(noun: str, rng: np.random.Generator) -> list[Part]:
    """One object of a family in the common framing. KeyError for a noun that has no family."""
    return normalise(FAMILIES[noun](rng))
