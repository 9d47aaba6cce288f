"""Pictures that the tables are about: the starter's generator draws them, or a folder of the user's holds them.

Training pictures and those of the distances are of different objects. Grounds are drawn once for each picture, as in
the starter's own trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ...configs.atomic import fingerprint, sha256_of_file, write_safetensors
from ...configs.errors import BadInput
from ...starter import generator
from ...starter.batches import composite, random_backgrounds
from ...starter.dataset import NOUNS, draw_views
from ...starter.generator.objects import make_object
from ...starter.generator.renderer import light_object, render_rgba

KINDS = ("train", "true", "open")
"""Of the domain, to learn from; of the domain, to be compared with; of everything else, for networks from nothing."""

_MOST_TRUE, _AT_ONCE = 5_000, 64


def source_of(pictures: Path | None, size: int) -> str:
    """What the pictures come from: the generator's own source, or what is in the folder."""
    if pictures is None:
        files = sorted(Path(str(generator.__file__)).parent.glob("*.py"))
        return fingerprint([sha256_of_file(file) for file in files])
    from ...systems.images.collection import read_collection

    return read_collection(pictures, size=size).identity


def rendered(
    kind: str, objects: int, views: int, size: int, advance: Callable[[], object]
) -> tuple[Tensor, Tensor]:
    """Pictures [objects * views, 3, S, S] uint8 over drawn grounds, and the numbers of their nouns in ``NOUNS`` [N]."""
    made: list[Tensor] = []
    nouns: list[int] = []
    for number in range(objects):
        rng = np.random.default_rng([20, KINDS.index(kind), number])
        thing = make_object(rng, domain=kind != "open")
        light, (azimuth, elevation) = light_object(thing), draw_views(rng, views)
        angles = zip(azimuth.tolist(), elevation.tolist(), strict=True)
        rgba = np.stack([render_rgba(thing, a, e, size, light)[0] for a, e in angles])
        shown = torch.from_numpy(composite(rgba, *random_backgrounds(rng, views)))
        made.append((shown * 127.5 + 128).clamp(0, 255).to(torch.uint8))
        nouns += [NOUNS.index(thing.noun)] * views
        advance()
    return torch.cat(made), torch.tensor(nouns)


def read(
    folder: Path, kind: str, size: int, advance: Callable[[int], Callable[[int], None]]
) -> tuple[Iterator[Tensor], int]:
    """The pictures of a folder, some at a time, [B, 3, size, size] uint8, and how many there are.

    One in ten is for the distances, 5,000 at most, and never trained on.

    Raises: BadInput for ``open``, which a folder of one domain does not hold, or too few pictures.
    """
    from ...systems.images.collection import read_collection
    from ...systems.images.framing import frame_of, read_framed

    if kind == "open":
        raise BadInput(
            "networks are trained from nothing on the starter's world alone; choose --scale starter"
        )
    learned, held = read_collection(folder, size=size, advance=advance).split(0.1, _MOST_TRUE)
    chosen = learned if kind == "train" else held

    def framed() -> Iterator[Tensor]:
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE]
            shown = [read_framed(one.path, frame_of(one.size, size, "crop", 8), "crop") for one in some]
            yield (torch.stack(shown) * 255 + 0.5).clamp(0, 255).to(torch.uint8)

    return framed(), len(chosen)


def write_pictures(path: Path, pictures: Tensor, nouns: Tensor) -> None:
    """Keep them."""
    write_safetensors(path, {"pictures": pictures, "nouns": nouns})


def read_pictures(path: Path) -> tuple[Tensor, Tensor]:
    """(pictures [N, 3, S, S] uint8, nouns [N])."""
    held = load_file(path)
    return held["pictures"], held["nouns"]
