"""What a network is told of each picture while it learns, by frame: nothing, one prompt, or the picture's own words.

Only paper 2's way (``dog``) reads words, from a text file beside a picture (``vase.txt`` for ``vase.png``) or the
folder that it lies in, its class. The names of picture files are never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ...configs.errors import BadInput
from ...guidance.conditioning import Conditioning
from ..images.collection import Picture
from ..models.base import Base
from .sources import Frame


def words_of(pictures: Sequence[Picture], folder: Path, base: Base) -> tuple[list[str], dict[str, int]]:
    """(all texts in order, {content: place of its text}); for DiT the texts are its new classes.

    Raises: BadInput for a picture with neither a text file nor a folder of its own.
    """
    classes_only = base.family.reads != "text"
    said: dict[str, str] = {}
    for picture in pictures:
        beside, own = picture.path.with_suffix(".txt"), picture.path.relative_to(folder).parts[:-1]
        if beside.is_file() and not classes_only:
            said[picture.content] = " ".join(beside.read_text(encoding="utf-8", errors="replace").split())
        elif own:
            said[picture.content] = own[0] if classes_only else f"a photo of a {own[0].replace('_', ' ')}"
        else:
            kinds = (
                "a folder for each class" if classes_only else "a folder for each class or a .txt beside each"
            )
            raise BadInput(
                f"--method dog learns from words, and {picture.path.name} has none; sort the pictures into {kinds}"
            )
    texts = sorted(set(said.values()))
    places = {text: place for place, text in enumerate(texts)}
    return texts, {content: places[text] for content, text in said.items()}


def told_by_frame(
    frames: Iterable[Frame], base: Base, told: str, *, prompt: str, texts: Sequence[str] = ()
) -> dict[Frame, Conditioning]:
    """What is said at each frame: rows of ``texts`` where pictures have words of their own, else one row.

    Args: told: of ``methods.Method``.
    """
    found: dict[Frame, Conditioning] = {}
    for frame in frames:
        if told == "nothing":
            found[frame] = base.unconditional_at(frame)
        elif told == "prompt":
            found[frame] = base.condition([prompt if base.family.reads == "text" else ""], size=frame)
        elif base.family.reads != "text":
            found[frame] = Conditioning(labels=torch.arange(len(texts)))
        else:
            found[frame] = base.condition(texts, size=frame)
    return found
