"""DiT: a transformer that draws one of a thousand classes (arxiv.org/abs/2212.09748)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ....configs.errors import BadInput
from ....configs.names import unknown_name
from ....guidance.class_networks import DiTPredictor
from ....guidance.conditioning import Conditioning
from .family import Family, Sides


def _assemble(parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    from diffusers import DiTPipeline

    return DiTPipeline(**parts, id2label=index.get("id2label"))


def _condition(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """Class numbers, or their names; the empty prompt is the null class."""
    known = pipe.labels or {}
    null = pipe.transformer.config.num_embeds_ada_norm
    numbers = []
    for prompt in prompts:
        if prompt and not prompt.isdecimal() and prompt not in known:
            raise unknown_name("class of this model", prompt, known)
        numbers.append(null if not prompt else int(prompt) if prompt.isdecimal() else known[prompt])
        if not 0 <= numbers[-1] <= null:
            raise BadInput(f"this model's classes are numbered 0 to {null - 1}, not {prompt}")
    return Conditioning(labels=torch.tensor(numbers))


DIT = Family(
    parts={
        "transformer": ("DiTTransformer2DModel", "Transformer2DModel"),
        "vae": (),
        "scheduler": (),
    },
    network="transformer",
    encoders=(),
    assemble=_assemble,
    condition=_condition,
    predictor=DiTPredictor,
    reads="classes",
    weighs_words=False,
    takes_images=False,
    null_text=False,
    sides=lambda network: Sides(network.config.patch_size),
    only_square=True,  # it takes the root of its tokens' number for their rows
)
