"""How one family's checkpoints are laid out in a single file, as data; a family's own file names its layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNET, VAE = "model.diffusion_model.", "first_stage_model."


@dataclass(frozen=True)
class Encoder:
    """A text encoder in a checkpoint.

    Attributes:
        part: its name in diffusers' layout.
        tokenizer: the name of its tokenizer there.
        prefix: before the names of its weights.
        open_clip: whether these are OpenCLIP's names; else they are transformers'.
        projected: whether its pooled features are projected.
        without_last: whether its last layer is left unread, as Stable Diffusion 2 does.
        pad: what its tokenizer fills prompts up with.
    """

    part: str
    tokenizer: str
    prefix: str
    open_clip: bool = False
    projected: bool = False
    without_last: bool = False
    pad: str = "<|endoftext|>"


@dataclass(frozen=True)
class Original:
    """A layout, and what is known of its models that the shapes of weights do not say.

    Attributes:
        name: in words.
        pipeline: the key of its family.
        encoders: by these a file is recognised.
        heads: attention heads of its UNet where all levels have as many; None for heads of 64 numbers.
        scaling_factor: of its latents.
        latents: to a side at the model's own size, by what the network predicts.
        scheduler: what its scheduler's config says beside the schedule that all share.
        index: what ``model_index.json`` would say beside the parts.
    """

    name: str
    pipeline: str
    encoders: tuple[Encoder, ...]
    scaling_factor: float
    latents: Mapping[str, int]
    heads: int | None = None
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
