"""Image prompts as users write them, shown to a base: pictures that its branches of the prompt see beside the text.

The adapter and its image encoder are read, asked once and let go: what stays are a few keys and values a layer
(``guidance.image_attention``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...configs.errors import BadInput
from ...configs.image_prompts import image_prompt_text
from ...configs.paths import given_path
from ...guidance.conditioning import ImagePrompt, Shown
from ...guidance.image_attention import cross_attentions
from ..models.aliases import resolve
from ..models.base import Base
from ..models.identity import model_identity, sha256_once
from ..models.image_encoder import ImageEncoder, find_encoder
from ..models.ip_adapter import Adapter, features_of, read_adapter
from ..models.known import ALIASES
from ..models.single_file.header import read_header
from .lora_families import family_of_base, family_of_width


class Found(NamedTuple):
    """Where the files of an image prompt lie, its scale, and the adapter's licence as far as it is known."""

    picture: Path
    adapter: Path
    encoder: Path
    pooled: bool
    scale: float
    licence: str

    @property
    def identity(self) -> str:
        """A hash of all that decides what is shown."""
        parts = [sha256_once(self.picture), model_identity(self.adapter), model_identity(self.encoder)]
        return " ".join([*parts, repr(self.scale)])


def find_image_prompt(
    text: str, base: Path, *, encoder: str | None = None, allow_pickle: bool = False
) -> Found:
    """The files of one image prompt; the adapter says which encoder it needs, and no weight is read.

    Args:
        text: as in ``configs.image_prompts``.
        base: the base's folder, which may hold an encoder, or its file.
        encoder: folder of the image encoder, or a model's with one inside; looked for beside the adapter if None.
    Raises: BadInput for a file that is not there, or cannot be used.
    """
    told = image_prompt_text(text)
    picture = given_path(told.picture, "--image-prompt")
    if not picture.is_file():
        raise BadInput(f"there is no picture {told.picture}; --image-prompt expects one, PNG or JPEG")
    network = told.network or usual_adapter(base)
    path = _file(network)
    wanted = features_of(path)
    if encoder is None:
        places = [path.parent / "image_encoder", path.parent.parent / "image_encoder"]
        places += [path.parent.parent / "models" / "image_encoder"]  # as the authors' own folder has them
        places += [base / "image_encoder"]
    else:
        named = resolve(encoder, allow_pickle=allow_pickle)
        places = [named, named / "image_encoder"]
    licence = ALIASES[network].licence if network in ALIASES else "unknown"
    return Found(picture, path, find_encoder(path, wanted, places), wanted.pooled, told.scale, licence)


def _file(network: str) -> Path:
    """The adapter's file: as it was named, or the only one of a folder."""
    where = resolve(network, allow_pickle=True)  # pickles are refused by ``features_of``
    if where.is_file():
        return where
    inside = sorted(path for path in where.iterdir() if path.suffix in (".safetensors", ".bin"))
    safe = [path for path in inside if path.suffix == ".safetensors"] or inside
    if len(safe) != 1:
        said = f"several, {' and '.join(path.name for path in safe[:2])}" if safe else "none"
        raise BadInput(
            f"--image-prompt expects the .safetensors file of an IP-Adapter, and {where} holds {said}"
        )
    return safe[0]


def usual_adapter(base: Path) -> str:
    """The alias of the adapter that goes with a base where none is named: SDXL's have two text encoders."""
    if base.is_file():
        two = bool(read_header(base).under("conditioner.embedders.1."))
    else:
        two = (base / "text_encoder_2").is_dir()
    return "ip-adapter-sdxl" if two else "ip-adapter"


def load_image_prompts(
    wanted: Sequence[str], base: Base, *, encoder: str | None = None, allow_pickle: bool = False
) -> tuple[Shown, ...]:
    """Image prompts written as ``picture[:network][:scale]``, for the network of a base; those of scale 0 are left out.

    Raises: BadInput for a missing picture or network, an adapter of another family, or a base that reads no text.
    """
    if not wanted:
        return ()
    if not base.family.takes_images:
        why = (
            f"slipcast reads no IP-Adapters for models of the kind of {base.name!r}"
            if base.family.reads == "text"
            else f"{base.name!r} draws classes, and there are no IP-Adapters for such models"
        )
        raise BadInput(f"{why}; leave --image-prompt out")
    encoders: dict[Path, ImageEncoder] = {}
    device = "cpu" if base.offload is not None else base.device
    shown = []
    for text in wanted:
        found = find_image_prompt(text, base.folder, encoder=encoder, allow_pickle=allow_pickle)
        adapter = read_adapter(found.adapter)
        _refuse_another_family(found.adapter, adapter, base)
        if found.encoder not in encoders:
            encoders[found.encoder] = ImageEncoder(found.encoder, device, allow_pickle=allow_pickle)
        features = encoders[found.encoder].features(found.picture, pooled=found.pooled)
        if found.scale:
            shown.append(Shown(*(_prompt(adapter, one, base, found.scale) for one in features)))
    return tuple(shown)


@torch.no_grad()
def _prompt(adapter: Adapter, features: Tensor, base: Base, scale: float) -> ImagePrompt:
    tokens = adapter.projection(features)
    names = cross_attentions(base.predictor.network)
    made: list[dict[str, Tensor]] = [
        {
            name: F.linear(tokens, pair[i]).to(base.device)
            for name, pair in zip(names, adapter.matrices, strict=True)
        }
        for i in (0, 1)
    ]
    return ImagePrompt(*made, scale=scale, text_width=adapter.width)


def _refuse_another_family(path: Path, adapter: Adapter, base: Base) -> None:
    network: Any = base.predictor.network
    layers = list(cross_attentions(network).values())
    ours = network.config.cross_attention_dim
    shapes = [(layer.to_k.out_features, layer.to_v.out_features) for layer in layers]
    theirs = [(len(key), len(value)) for key, value in adapter.matrices]
    if adapter.width == ours and theirs == shapes:
        return
    raise BadInput(
        f"{path} is an IP-Adapter for {_told(adapter.width, len(theirs))}, and the base {base.name!r} is "
        f"{family_of_base(base)}, {_numbers(ours, len(layers))}; give one made for that base"
    )


def _told(width: int, layers: int) -> str:
    return f"{family_of_width(width)}, {_numbers(width, layers)}"


def _numbers(width: int, layers: int) -> str:
    return f"{width} numbers a word and {layers} attentions over text"
