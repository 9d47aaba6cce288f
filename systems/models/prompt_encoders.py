"""How each kind of model reads a prompt: one text encoder, two of them, or a table of classes."""

from __future__ import annotations

from typing import Any

import torch

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...guidance.conditioning import Conditioning


def _read_clip(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """Stable Diffusion 1 and 2: the last hidden states of one text encoder."""
    words = pipe.tokenizer(
        prompts, padding="max_length", max_length=pipe.tokenizer.model_max_length, truncation=True,
        return_tensors="pt",
    )  # fmt: skip
    return Conditioning(text=pipe.text_encoder(words.input_ids.to(pipe.text_encoder.device))[0].float())


def _read_sdxl(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """SDXL: two encoders side by side, pooled text, (height, width) without a crop; the empty prompt is all zeros."""
    text, _, pooled, _ = pipe.encode_prompt(
        prompts, device=pipe.text_encoder.device, do_classifier_free_guidance=False
    )
    if pipe.config.force_zeros_for_empty_prompt:
        kept = torch.tensor([float(bool(prompt)) for prompt in prompts]).to(text)
        text, pooled = text * kept[:, None, None], pooled * kept[:, None]
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32)
    return Conditioning(text=text.float(), pooled=pooled.float(), time_ids=sizes)


def _read_classes(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """DiT: class numbers, or their names; the empty prompt is the null class."""
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


READERS = {
    "StableDiffusionPipeline": _read_clip,
    "StableDiffusionXLPipeline": _read_sdxl,
    "DiTPipeline": _read_classes,
}
"""How each kind of pipeline reads prompts; the keys are the kinds that can be loaded."""
