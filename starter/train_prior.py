"""Train the starter's prior: a small text-conditional latent diffusion model in the layout of Stable Diffusion.

Plain v-prediction loss with noise levels shifted high (layout and text are decided there; a min-SNR weighting learned
neither in trials), 10 % empty captions for guidance, plain matrix-product attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from ..guidance.schedules import from_diffusers
from ..systems.domain.learning import noised
from ..systems.models.patch_codec import PatchCodec
from ..systems.training.loop import Budget, train
from .batches import Pictures
from .generator.captions import VOCABULARY
from .text import MAX_TOKENS, make_text_encoder, make_tokenizer

LATENT_CHANNELS, LATENT_SIZE, TEXT_WIDTH = 16, 16, 256
NOISE_SHIFT = 1.6


@dataclass
class PriorTask:
    """Denoising of captioned pictures; see ``training.Task``."""

    shards: Path
    codec: Path
    widths: tuple[int, ...] = (96, 192)

    def modules(self) -> dict[str, nn.Module]:
        """The UNet and the text encoder, seeded."""
        torch.manual_seed(0)
        return {
            "unet": make_unet(self.widths),
            "text_encoder": make_text_encoder(tokenizer(), width=TEXT_WIDTH),
        }

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open pictures, codec and noise schedule in this process."""
        self._unet: Any = modules["unet"]
        self._text_encoder, self._tokenizer, self._device = modules["text_encoder"], tokenizer(), device
        self._pictures = Pictures(self.shards)
        self._codec = PatchCodec.from_pretrained(self.codec).requires_grad_(False).to(device)
        self._schedule = from_diffusers(make_scheduler())

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of v at shifted noise levels."""
        pictures, captions = self._pictures.draw(batch, generator)
        latents = self._codec.encode(pictures.to(self._device)).latents
        noisy, t, target = noised(latents, self._schedule, generator, NOISE_SHIFT)
        text = self._text_encoder(tokens(self._tokenizer, captions).to(self._device))[0]
        noisy = noisy.to(self._unet.dtype, memory_format=torch.channels_last)
        v = self._unet(noisy, t, text).sample
        return (v.float() - target).square().mean()


def make_unet(widths: tuple[int, ...]) -> UNet2DConditionModel:
    """Cross-attention at the lower level and in the middle only: the 16 x 16 level is all convolutions."""
    levels = len(widths)
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    unet.set_attn_processor(AttnProcessor())
    return unet


def make_scheduler() -> DDIMScheduler:
    """Cosine schedule, v-prediction; sampling starts at the noisiest 'leading' step as Stable Diffusion does."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    """The word tokenizer over the generator's vocabulary."""
    return make_tokenizer(VOCABULARY)


def tokens(words: PreTrainedTokenizerFast, captions: list[str]) -> Tensor:
    """Token ids [B, MAX_TOKENS]."""
    padded = words(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return padded.input_ids


def train_prior(
    shards: Path, codec: Path, work: Path, out: Path, budget: Budget, widths: tuple[int, ...]
) -> None:
    """Train (or go on training) and write a folder that ``StableDiffusionPipeline.from_pretrained`` reads."""
    task = PriorTask(shards=shards, codec=codec, widths=widths)
    modules = train(task, work, budget, label="prior")
    pipeline = StableDiffusionPipeline(
        vae=PatchCodec.from_pretrained(codec),  # pyright: ignore[reportArgumentType]
        text_encoder=modules["text_encoder"],  # pyright: ignore[reportArgumentType]
        tokenizer=tokenizer(),  # pyright: ignore[reportArgumentType]
        unet=modules["unet"],  # pyright: ignore[reportArgumentType]
        scheduler=make_scheduler(),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(out)
