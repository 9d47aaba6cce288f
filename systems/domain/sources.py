"""What a domain learns from: batches of latents, and what the network is told beside each.

``Encoded`` draws pictures anew and encodes them each time; ``CachedLatents`` reads what ``cache_latents`` encoded.
A latent is known by its picture's content, the encoder, the frame, the ground and whether it is mirrored: nothing else
of a run's settings makes the cache out of date, and a picture keeps its latents under any name and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...configs.atomic import explain_os_errors, fingerprint, write_safetensors
from ...configs.errors import SlipcastError
from ...guidance.conditioning import Condition, Conditioning, as_conditioning
from ..images.collection import Picture
from ..images.framing import frame_of, grounds_of, read_framed
from ..models.base import Base
from ..models.codec import Codec

Frame = tuple[int, int]
_AT_ONCE = 64  # pictures in one file of the cache: what an interruption loses at most


class PictureSource(Protocol):
    """Training pictures; must be picklable, since every worker opens its own."""

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        """Pictures [B, 3, S, S] in [-1, 1], chosen and augmented by the generator."""
        ...


class Batches(Protocol):
    """Batches for denoising."""

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """Clean latents [B, C, h, w], float32, and what the network is told beside them."""
        ...


class LatentSource(Protocol):
    """Where batches come from: picklable, opened once in every worker."""

    def open(self, device: str) -> Batches:
        """Ready to draw in this process, for a network on a device."""
        ...


@dataclass(frozen=True)
class Encoded:
    """Pictures that are drawn anew, and encoded, for every batch."""

    pictures: PictureSource
    codec: Codec
    condition: Condition

    def open(self, device: str) -> Encoded:
        """With the codec on the device."""
        return replace(self, codec=self.codec.alone(device))

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """See ``Batches``."""
        with torch.no_grad():
            pictures = self.pictures.draw_pictures(batch, generator)
            return self.codec.encode(pictures / 2 + 0.5), self.condition


class Framing(NamedTuple):
    """How pictures become latents: see ``images.framing``; ``cell`` is what sides are multiples of."""

    square: int
    aspect: str
    cell: int
    grounds: int = 1
    flip: bool = True


def variants_of(picture: Picture, framing: Framing) -> list[tuple[str, tuple[int, int, int], bool]]:
    """(key in the cache, ground, mirrored) of every latent that a picture has."""
    grounds = grounds_of(picture.content, framing.grounds if picture.transparent else 1)
    return [
        (f"{picture.content}:{'-'.join(map(str, ground))}:{'flip' if flip else 'plain'}", ground, flip)
        for ground in grounds
        for flip in ((False, True) if framing.flip else (False,))
    ]


def cache_latents(
    pictures: Sequence[Picture],
    base: Base,
    framing: Framing,
    cache: Path,
    *,
    advance: Callable[[int], Callable[[int], None]] = lambda total: lambda n: None,
) -> dict[Frame, Path]:
    """Encode what is missing; the folders below ``cache`` that hold the latents, by frame.

    Args: advance: told the number of pictures to encode, returns what is called after some of them.
    Raises: SlipcastError for pictures or an encoder that answer with NaN, or a disk that is full.
    """
    missing: list[tuple[Frame, Picture]] = []
    folders: dict[Frame, Path] = {}
    known: dict[Frame, set[str]] = {}
    for picture in pictures:
        frame = frame_of(picture.size, framing.square, framing.aspect, framing.cell)
        if frame not in folders:
            folders[frame] = (
                cache / base.codec.latent_space / f"{frame[0]}x{frame[1]}-{_shape(framing.aspect)}"
            )
            folders[frame].mkdir(parents=True, exist_ok=True)
            known[frame] = {key for keys in _index(folders[frame]).values() for key in keys}
        if any(key not in known[frame] for key, _, _ in variants_of(picture, framing)):
            missing.append((frame, picture))
    done = advance(len(missing))
    for frame, folder in folders.items():
        own = [picture for one, picture in missing if one == frame]
        for start in range(0, len(own), _AT_ONCE):
            some = own[start : start + _AT_ONCE]
            made: dict[str, Tensor] = {}
            for picture in some:
                made |= _encoded(picture, frame, base, framing, known[frame])
                done(1)
            with explain_os_errors(folder, "keeping latents"):
                write_safetensors(folder / f"{fingerprint(sorted(made))[:24]}.safetensors", made)
    return folders


def _shape(aspect: str) -> str:
    return "pad" if aspect == "pad" else "crop"  # a bucket is a crop whose frame is its own


@torch.no_grad()
def _encoded(
    picture: Picture, frame: Frame, base: Base, framing: Framing, known: set[str]
) -> dict[str, Tensor]:
    wanted = [one for one in variants_of(picture, framing) if one[0] not in known]
    shown = []
    for _, ground, flip in wanted:
        rgb = read_framed(picture.path, frame, framing.aspect, ground)
        shown.append(rgb.flip(-1) if flip else rgb)
    latents = base.encode(torch.stack(shown)).to("cpu", torch.float16)
    if not bool(latents.isfinite().all()):
        raise SlipcastError(f"the latents of {picture.path} do not fit into float16; leave the picture out")
    return {key: latent.clone() for (key, _, _), latent in zip(wanted, latents, strict=True)}


def _index(folder: Path) -> dict[Path, list[str]]:
    """Which latents each file of a folder holds; a file that cannot be read holds none, and is made again."""
    found: dict[Path, list[str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                found[path] = list(file.keys())
        except (OSError, SafetensorError):
            path.unlink(missing_ok=True)
    return found


@dataclass(frozen=True)
class CachedLatents:
    """Latents of some pictures, and what the network is told beside each.

    Attributes:
        folders: of the cache, by frame.
        pictures: in any order; they are taken in that of their contents.
        framing: how they became latents.
        told: what is said, by frame: one row for all pictures, or one for each text.
        rows: {content: row of ``told``}; empty where all are told the same.
    """

    folders: Mapping[Frame, Path]
    pictures: Sequence[Picture]
    framing: Framing
    told: Mapping[Frame, Conditioning]
    rows: Mapping[str, int] = field(default_factory=dict)

    def open(self, device: str) -> OpenLatents:
        """Read the latents into memory: main memory, since a GPU's is worth more."""
        by_frame: dict[Frame, list[Picture]] = {}
        for picture in sorted(self.pictures, key=lambda one: one.content):
            framing = self.framing
            frame = frame_of(picture.size, framing.square, framing.aspect, framing.cell)
            by_frame.setdefault(frame, []).append(picture)
        held = {
            frame: _Held.read(
                self.folders[frame], pictures, self.framing, [self.rows.get(p.content, 0) for p in pictures]
            )
            for frame, pictures in sorted(by_frame.items())
        }
        return OpenLatents(self, held, device)

    def condition(self, frame: Frame, rows: Tensor) -> Conditioning:
        """What the network is told beside pictures of a frame with these rows [B]."""
        told = as_conditioning(self.told[frame])
        if not self.rows:
            return told

        def own(value: Tensor | None) -> Tensor | None:
            return value if value is None or len(value) == 1 else value[rows]

        return Conditioning(
            own(told.text), own(told.pooled), own(told.time_ids), own(told.labels), own(told.guidance)
        )


@dataclass(frozen=True)
class OpenLatents:
    """Cached latents in memory, by frame.

    A batch comes from one frame, since a tensor has one shape: a frame is drawn as often as it has pictures.
    """

    source: CachedLatents
    held: Mapping[Frame, _Held]
    device: str

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """See ``Batches``."""
        frames, which = list(self.held), 0
        if len(frames) > 1:
            shares = torch.tensor([float(len(held.firsts)) for held in self.held.values()])
            which = int(torch.multinomial(shares, 1, generator=generator))
        held = self.held[frames[which]]
        pictures = torch.randint(len(held.firsts), (batch,), generator=generator)
        variants = (torch.rand(batch, generator=generator) * held.counts[pictures]).long()
        latents = held.latents[held.firsts[pictures] + variants].float().to(self.device)
        return latents, self.source.condition(frames[which], held.rows[pictures])

    def plainly(self) -> list[tuple[Frame, Tensor, Tensor]]:
        """(frame, latents [N, C, h, w], rows [N]) of every picture once: unmirrored, over the first ground."""
        return [(frame, held.latents[held.firsts].float(), held.rows) for frame, held in self.held.items()]


@dataclass(frozen=True)
class _Held:
    """Latents [M, C, h, w] float16 of one frame; of each picture its first, how many it has, and its row of text."""

    latents: Tensor
    firsts: Tensor
    counts: Tensor
    rows: Tensor

    @classmethod
    def read(cls, folder: Path, pictures: Sequence[Picture], framing: Framing, rows: Sequence[int]) -> _Held:
        where = {key: path for path, keys in _index(folder).items() for key in keys}
        keys = [[key for key, _, _ in variants_of(one, framing)] for one in pictures]
        gone = [one for some in keys for one in some if one not in where]
        if gone:
            raise SlipcastError(f"{folder} has lost {len(gone)} latents; the same command makes them again")
        loaded: dict[str, Tensor] = {}
        wanted = {key for some in keys for key in some}
        for path in sorted({where[key] for key in wanted}):
            with safe_open(path, framework="pt") as file:
                loaded |= {key: file.get_tensor(key) for key in file.keys() if key in wanted}  # noqa: SIM118
        counts = torch.tensor([len(some) for some in keys])
        return cls(
            torch.stack([loaded[key] for some in keys for key in some]),
            counts.cumsum(0) - counts,
            counts,
            torch.tensor(list(rows)),
        )
