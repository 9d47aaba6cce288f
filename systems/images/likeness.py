"""Which pictures are nearly the same: a difference hash finds candidates, small colour copies decide.

The hash (64 signs of differences between neighbouring greys of a 9 x 8 copy) survives scaling and re-encoding. It is
blind to colour and all zeros for plain grounds, so two pictures are near only if their 8 x 8 colour copies agree too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

_BANDS = 4  # of 16 bits: hashes that differ in 3 bits or fewer agree in at least one
_MOST_BITS, _MOST_DIFFERENCE = 3, 3.0
_WINDOW = 32


@dataclass(frozen=True)
class Likeness:
    """What a picture is compared by: the hash's bits [64] and a copy of 8 x 8 colours [192], 0 to 255."""

    bits: np.ndarray
    colours: np.ndarray


def likeness(picture: Image.Image) -> Likeness:
    """Of an RGB picture of any size."""
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    colours = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), np.float32)
    return Likeness((grey[:, 1:] > grey[:, :-1]).ravel(), colours.ravel())


def near_groups(pictures: Sequence[Likeness]) -> list[list[int]]:
    """Groups of places whose pictures are nearly the same; pictures of their own are in none.

    Those that share a band are compared along the order of their brightness, with the next ``_WINDOW``: copies are
    about as bright, and thousands of pictures over one white ground need not all be compared with each other.
    """
    if not pictures:
        return []
    bits, colours = np.stack([p.bits for p in pictures]), np.stack([p.colours for p in pictures])
    parent = list(range(len(pictures)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    brightness = colours.mean(1)
    for band in np.split(np.packbits(bits, axis=1), _BANDS, axis=1):
        sharing: dict[bytes, list[int]] = defaultdict(list)
        for place in np.argsort(brightness, kind="stable"):
            sharing[band[place].tobytes()].append(int(place))
        for places in sharing.values():
            for first, place in enumerate(places):
                others = np.array(places[first + 1 : first + 1 + _WINDOW], int)
                apart = np.abs(colours[others] - colours[place]).mean(1)
                near = ((bits[others] != bits[place]).sum(1) <= _MOST_BITS) & (apart <= _MOST_DIFFERENCE)
                for other in others[near]:
                    parent[root(int(other))] = root(place)
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(pictures)):
        groups[root(place)].append(place)
    return [group for group in groups.values() if len(group) > 1]
