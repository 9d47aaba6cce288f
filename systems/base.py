"""A base: any latent diffusion model that diffusers loads, seen as a noise predictor, a text reader and a codec.

The starter's prior and Stable Diffusion 1.5 go through the same lines: a folder in diffusers' layout.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..configs.errors import BadInput, SlipcastError
from ..guidance.predictors import UNetPredictor
from ..guidance.schedules import from_diffusers


@dataclass(frozen=True)
class Base:
    """A loaded diffusion model.

    Attributes:
        name: how the user calls it; also the name of its latent space.
        pipeline: the diffusers pipeline that holds its parts.
        predictor: its frozen UNet as an eps predictor.
        identity: sha256 of its weights' files, for run manifests.
    """

    name: str
    pipeline: Any
    predictor: UNetPredictor
    identity: str

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one latent."""
        config = self.pipeline.unet.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def picture_size(self) -> int:
        """Pixels along each side of a picture."""
        return self.pipeline.unet.config.sample_size * 2 ** (
            len(self.pipeline.vae.config.block_out_channels) - 1
        )

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """Text features [B, T, C], float32; the empty prompt is the unconditional one."""
        words = self.pipeline.tokenizer(
            prompts, padding="max_length", max_length=self.pipeline.tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        return self.pipeline.text_encoder(words.input_ids.to(self.pipeline.text_encoder.device))[0].float()

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, S, S] in [0, 1], differentiable; the mode, where the codec is random."""
        vae = self.pipeline.vae
        encoded = vae.encode(pictures.to(vae.dtype) * 2 - 1)
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return latents.float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] of latents."""
        vae = self.pipeline.vae
        picture = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
        return (picture.float() / 2 + 0.5).clamp(0, 1)

    def unknown_words(self, prompt: str) -> dict[str, list[str]]:
        """Words of the prompt that a word tokenizer does not know, each with its nearest known words.

        Empty for sub-word tokenizers (Stable Diffusion's), which spell everything.
        """
        tokenizer = self.pipeline.tokenizer
        known = tokenizer.get_vocab()
        if tokenizer.unk_token_id is None or len(known) > 20_000:
            return {}
        words = dict.fromkeys(re.findall(r"[\w-]+", prompt.lower()))
        return {
            word: difflib.get_close_matches(
                word, [k for k in known if k.isalpha() or "-" in k], n=3, cutoff=0.5
            )
            for word in words
            if word not in known
        }


def load_base(folder: Path | str, *, name: str | None = None, device: str = "cpu") -> Base:
    """Load a base from a folder in diffusers' layout, or from a hub id that is already downloaded.

    Raises: BadInput when there is no such model; SlipcastError when its files are unreadable.
    """
    where = Path(folder)
    if where.exists() and not (where / "model_index.json").is_file():
        raise BadInput(
            f"{where} is not a diffusers model: it has no model_index.json; give a folder that save_pretrained wrote"
        )
    with quiet_libraries():
        from diffusers.models.attention_processor import AttnProcessor

        pipeline = _read_pipeline(folder)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            part.requires_grad_(False).eval()
        if device == "cpu":
            pipeline.unet.set_attn_processor(AttnProcessor())
        pipeline.unet.to(device=device, dtype=fastest_dtype(device), memory_format=torch.channels_last)
        pipeline.vae.to(device)
        pipeline.text_encoder.to(device)
    name = name or str(folder)
    predictor = UNetPredictor(
        pipeline.unet,
        schedule=from_diffusers(pipeline.scheduler),
        prediction_type=pipeline.scheduler.config.prediction_type,
        latent_space=name,
        name=name,
    )
    return Base(name, pipeline, predictor, weights_identity(where) if where.exists() else str(folder))


def _read_pipeline(folder: Path | str) -> Any:
    from diffusers import StableDiffusionPipeline

    from . import patch_codec  # noqa: F401  diffusers loads parts from modules that are imported already, no others

    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            str(folder), safety_checker=None, dtype=torch.float32
        )
    except Exception as error:  # each library has its own kinds; what is not about reading is raised as it is
        foreign = type(error).__module__.startswith(("safetensors", "huggingface_hub"))
        if not foreign and not isinstance(error, OSError | ValueError | RuntimeError | EOFError):
            raise
        reason = " ".join(str(error).split())[:200]
        if Path(folder).exists():
            raise SlipcastError(
                f"the model in {folder} cannot be read ({reason}); copy or build it again"
            ) from error
        raise BadInput(
            f"no base called {folder} is here and none could be downloaded ({reason}); give a folder"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Errors only from diffusers and transformers: their notes on torchvision and dtypes are about others' settings."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    levels = [library.get_verbosity() for library in (diffusers_logging, transformers_logging)]
    try:
        for library in (diffusers_logging, transformers_logging):
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, level in zip((diffusers_logging, transformers_logging), levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()


def fastest_dtype(device: str = "cpu") -> torch.dtype:
    """bf16 where it is quicker: on GPUs, and on CPUs whose convolutions prove it in a short race."""
    if device != "cpu":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.zeros(4, 64, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.zeros(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        laps = []
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.conv2d(x, weight, padding=1)
            laps.append(time.perf_counter() - start)
        seconds[dtype] = min(laps)
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else torch.float32


def weights_identity(folder: Path) -> str:
    """sha256 over names and bytes of every weights file of a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
