"""True pictures for ``benchmarks.fidelity``: what the generator draws, rendered once and kept outside of the tree.

Each noun's object of number k has the seed [set's seed, k, len(noun), domain], as when the first figures were measured.

    views   six objects of each noun, eight views round each (every 45 degrees, elevation 15), 256 px: 432 pictures
    front   so many objects of each noun, one view within 8 degrees of the front, elevation 11 to 19, 128 px

All over a plain background of 235 in 255.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from slipcast.configs.atomic import fingerprint, sha256_of_file, write_safetensors
from slipcast.starter import generator
from slipcast.starter.generator.objects import GeneratedObject, make_object
from slipcast.starter.generator.renderer import Lighting, light_object, render_rgba

NOUNS = ("teapot", "vase", "mug", "pitcher", "goblet", "lamp", "chair", "bottle", "cup")
GROUND = 235
OBJECTS, VIEWS, VIEW_SIZE, FRONT_SIZE = 6, 8, 256, 128
REFERENCE_SEED, OTHER_SEEDS, OTHER_MATERIAL_SEEDS = 101, (202, 203, 204), (303, 304, 305)
REFERENCE_FRONTS, FRONTS = 16, 8  # of each noun


def default_folder() -> Path:
    """Where pictures are kept: slipcast/fidelity in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipcast/fidelity"


def views(data: Path, seed: int, *, domain: bool = True) -> np.ndarray:
    """uint8 [432, 256, 256, 3], ordered by noun, object, view."""

    def drawn() -> Iterator[np.ndarray]:
        for noun in NOUNS:
            for number in range(OBJECTS):
                thing = make_object(_rng(seed, number, noun, domain), domain=domain, noun=noun)
                light = light_object(thing)
                for azimuth in np.radians(np.arange(VIEWS) * 360 / VIEWS):
                    yield _picture(thing, float(azimuth), float(np.radians(15)), VIEW_SIZE, light)

    return _kept(data, f"views-{seed}-{'domain' if domain else 'open'}", drawn)


def fronts(data: Path, seed: int, count: int, *, domain: bool = True) -> np.ndarray:
    """uint8 [9 count, 128, 128, 3], ordered by noun, object."""

    def drawn() -> Iterator[np.ndarray]:
        for noun in NOUNS:
            for number in range(count):
                rng = _rng(seed, number, noun, domain)
                thing = make_object(rng, domain=domain, noun=noun)
                light = light_object(thing)
                azimuth, elevation = np.radians(rng.uniform(-8, 8)), np.radians(rng.uniform(11, 19))
                yield _picture(thing, float(azimuth), float(elevation), FRONT_SIZE, light)

    return _kept(data, f"fronts-{seed}-{count}-{'domain' if domain else 'open'}", drawn)


def _rng(seed: int, number: int, noun: str, domain: bool) -> np.random.Generator:
    return np.random.default_rng([seed, number, len(noun), domain])


def _picture(
    thing: GeneratedObject, azimuth: float, elevation: float, size: int, light: Lighting
) -> np.ndarray:
    rgba = render_rgba(thing, azimuth, elevation, size, light)[0].astype(np.float32)
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + GROUND * (1 - alpha)).astype(np.uint8)


def _kept(data: Path, name: str, drawn: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """The pictures from the folder, or drawn and put there; another generator keeps files of its own."""
    files = sorted(Path(str(generator.__file__)).parent.glob("*.py"))
    source = fingerprint([sha256_of_file(file) for file in files])
    path = data / f"{name}-{source[:8]}.safetensors"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, {"pictures": np.stack(list(drawn()))})
    return load_file(path)["pictures"]
