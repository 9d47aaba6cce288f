"""The domain: blue-and-white porcelain. White glaze, cobalt paint, many hands; pictures of it carry no captions."""

from __future__ import annotations

import numpy as np

from .canvas import Colour, Palette
from .looks import Look, painted_look, vary

_GLAZES: tuple[Colour, ...] = ((248, 248, 247), (238, 243, 248), (246, 244, 236), (230, 238, 243))
_INKS: tuple[tuple[Colour, Colour], ...] = (
    ((20, 42, 142), (104, 140, 214)),
    ((30, 62, 170), (128, 162, 226)),
    ((38, 82, 186), (140, 178, 232)),
    ((22, 34, 108), (92, 118, 188)),
    ((34, 58, 128), (118, 144, 196)),
)


def porcelain_look(rng: np.random.Generator, flat: bool) -> Look:
    """One painted piece: usually cobalt on white, sometimes the figures left white in a cobalt ground."""
    glaze = vary(rng, _GLAZES[int(rng.integers(len(_GLAZES)))], 0.3)
    ink, wash = _INKS[int(rng.integers(len(_INKS)))]
    ink, wash = vary(rng, ink, 0.8), vary(rng, wash, 0.8)
    roughness = rng.uniform(0.08, 0.2)
    if rng.random() < 0.14:
        return painted_look(rng, Palette(ink, glaze, wash, glaze), flat, roughness=roughness)
    return painted_look(rng, Palette(glaze, ink, wash, ink), flat, roughness=roughness)
