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
from ..guidance.training import draw_example
from ..systems.training.loop import Budget, train
from .batches import CAPTION_DROPOUT
from .generator.captions import VOCABULARY
from .latents import Latents, cache_latents, load_codec
from .text import make_text_encoder, make_tokenizer, tokens

LATENT_CHANNELS, LATENT_SIZE, TEXT_WIDTH = 8, 16, 256
NOISE_SHIFT = 1.6
PREDICTION_TYPE = "v_prediction"


@dataclass
class PriorTask:
    """Denoising of captioned pictures, whose latents are cached; see ``training.Task``."""

    latents: Path
    channels: int = LATENT_CHANNELS
    widths: tuple[int, ...] = (96, 192)

    def modules(self) -> dict[str, nn.Module]:
        """The UNet and the text encoder, seeded."""
        torch.manual_seed(0)
        return {
            "unet": make_unet(self.widths, self.channels),
            "text_encoder": make_text_encoder(tokenizer(), width=TEXT_WIDTH),
        }

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open latents and noise schedule in this process."""
        self._unet: Any = modules["unet"]
        self._text_encoder, self._device = modules["text_encoder"], device
        self._latents, self._schedule = Latents(self.latents, device), from_diffusers(make_scheduler())
        self._empty = tokens(tokenizer(), [""])[0].to(device)

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of v at shifted noise levels; ``CAPTION_DROPOUT`` of the captions are empty."""
        latents, told = self._latents.draw(batch, generator)
        silent = torch.rand(batch, generator=generator) < CAPTION_DROPOUT
        told[silent.to(told.device)] = self._empty
        example = draw_example(latents, self._schedule, PREDICTION_TYPE, generator, shift=NOISE_SHIFT)
        noisy = example.x.to(self._unet.dtype, memory_format=torch.channels_last)
        return example.loss(self._unet(noisy, example.t, self._text_encoder(told)[0]).sample)


def make_unet(widths: tuple[int, ...], channels: int = LATENT_CHANNELS) -> UNet2DConditionModel:
    """Cross-attention at the lower level and in the middle only: the 16 x 16 level is all convolutions."""
    levels = len(widths)
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=channels,
        out_channels=channels,
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
        prediction_type=PREDICTION_TYPE,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    """The word tokenizer over the generator's vocabulary."""
    return make_tokenizer(VOCABULARY)


def train_prior(
    shards: Path,
    codec: Path,
    work: Path,
    out: Path,
    budget: Budget,
    widths: tuple[int, ...],
    *,
    draws: int = 2,
) -> None:
    """Train (or go on training) and write a folder that ``StableDiffusionPipeline.from_pretrained`` reads.

    Args: draws: cached latents of each picture, see ``latents``; shards that came since an earlier call are added.
    """
    vae = load_codec(codec)
    cached = cache_latents(shards, vae, tokenizer(), work / "latents", device=budget.device, draws=draws)
    modules = train(PriorTask(cached, vae.config.latent_channels, widths), work, budget, label="prior")
    pipeline = StableDiffusionPipeline(
        vae=vae.cpu(),
        text_encoder=modules["text_encoder"],  # pyright: ignore[reportArgumentType]
        tokenizer=tokenizer(),  # pyright: ignore[reportArgumentType]
        unet=modules["unet"],  # pyright: ignore[reportArgumentType]
        scheduler=make_scheduler(),  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(out)
