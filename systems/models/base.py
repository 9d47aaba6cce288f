"""A base: any latent diffusion model that diffusers loads, seen as a noise predictor, a text reader and a codec.

The starter's prior and Stable Diffusion 1.5 go through the same lines: a folder in diffusers' layout.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError
from ...guidance.conditioning import Conditioning
from ...guidance.networks import DiTPredictor, NetworkPredictor, UNetPredictor
from ...guidance.offloading import OneAtATime, seated
from ...guidance.schedules import from_diffusers
from .aliases import resolve
from .latent_spaces import latent_space_of
from .precision import DTYPES, quiet_libraries, ready, resolve_dtype
from .prompt_encoders import READERS
from .weight_files import variant_of


@dataclass(frozen=True)
class Base:
    """A loaded diffusion model: Stable Diffusion 1 or 2, SDXL, DiT, or the starter's prior.

    Attributes:
        name: how the user calls it.
        pipeline: the diffusers pipeline that holds its parts.
        predictor: its frozen network as an eps predictor, taking its turn on a small device; its latent space is
            named after the autoencoder's weights.
        identity: sha256 of its weights' files, for run manifests.
        folder: where it was read from.
        seat: where its networks take turns on a small device; None keeps all there.
    """

    name: str
    pipeline: Any
    predictor: NetworkPredictor
    identity: str
    folder: Path
    seat: OneAtATime | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What its network computes in; models beside it follow."""
        return self.predictor.network.dtype

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one latent at the model's own size."""
        config = self.predictor.network.config
        return config.in_channels, config.sample_size, config.sample_size

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a picture, along each side, one latent stands for."""
        return 2 ** (len(self.pipeline.vae.config.block_out_channels) - 1)

    @property
    def picture_size(self) -> int:
        """Pixels along each side of a picture at the model's own size."""
        return self.latent_shape[1] * self.pixels_per_latent

    @torch.no_grad()
    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Conditioning:
        """What the network is told for each prompt; the empty prompt is the unconditional one.

        Args:
            prompts: texts, or for DiT the names or numbers of classes.
            size: pixels along each side, which SDXL reads too; the model's own if None.
        Raises: BadInput for a class that DiT does not know.
        """
        if self.seat is not None:
            encoders = [getattr(self.pipeline, name, None) for name in ("text_encoder", "text_encoder_2")]
            self.seat.take(*[one for one in encoders if one is not None])
        return READERS[type(self.pipeline).__name__](self.pipeline, list(prompts), size or self.picture_size)

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Text features [B, T, C], float32; the empty prompt is the unconditional one."""
        text = self.condition(prompts).text
        if text is None:
            raise BadInput(f"the base {self.name!r} reads classes, not text; use Stable Diffusion here")
        return text

    @property
    def unconditional(self) -> Conditioning:
        """What a network of the same family that takes no text (a domain) is still told: SDXL's sizes, or nothing."""
        told = self.condition([""])
        return Conditioning(pooled=told.pooled, time_ids=told.time_ids)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, S, S] in [0, 1], differentiable; the mode, where the codec is random."""
        vae = self._codec()
        encoded = vae.encode(pictures.to(vae.device, vae.dtype) * 2 - 1)
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return latents.float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] of latents."""
        vae = self._codec()
        picture = vae.decode((latents / vae.config.scaling_factor).to(vae.device, vae.dtype)).sample
        return (picture.float() / 2 + 0.5).clamp(0, 1)

    def _codec(self) -> Any:
        if self.seat is not None:
            self.seat.take(self.pipeline.vae)
        return self.pipeline.vae

    def cut_off(self, prompt: str) -> str:
        """The end of a prompt that the text encoder does not read, empty if it reads all."""
        words = getattr(self.pipeline, "tokenizer", None)
        if words is None:
            return ""
        ids = words(prompt, truncation=False, add_special_tokens=False, verbose=False).input_ids
        room = words.model_max_length - words.num_special_tokens_to_add()
        return words.decode(ids[room:]).strip()

    def unknown_words(self, prompt: str) -> dict[str, list[str]]:
        """Words of the prompt that a word tokenizer does not know, each with its nearest known words.

        Empty for sub-word tokenizers (Stable Diffusion's), which spell everything, and for classes.
        """
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        known = {} if tokenizer is None else tokenizer.get_vocab()
        if tokenizer is None or tokenizer.unk_token_id is None or len(known) > 20_000:
            return {}
        words = dict.fromkeys(re.findall(r"[\w-]+", prompt.lower()))
        return {
            word: difflib.get_close_matches(
                word, [k for k in known if k.isalpha() or "-" in k], n=3, cutoff=0.5
            )
            for word in words
            if word not in known
        }


def load_base(
    folder: Path | str,
    *,
    name: str | None = None,
    device: str = "cpu",
    dtype: str = "auto",
    allow_pickle: bool = False,
    like: Base | None = None,
    seat: OneAtATime | None = None,
) -> Base:
    """Load a base from a folder in diffusers' layout, or from an alias or hub id that is already downloaded.

    Args:
        dtype: of the network: float32, bfloat16, float16, or auto (see ``precision.resolve_dtype``).
        like: share the parts (text encoders, autoencoder) whose files are the same as this base's: a fine-tuned model
            then costs its own network alone.
        seat: keep one network on the device at a time.
    Raises: BadInput when there is no such model or it is of an unknown kind; SlipcastError when its files are broken.
    """
    where = resolve(str(folder), allow_pickle=allow_pickle)
    kind = _kind(where)
    with quiet_libraries():
        shared = {} if like is None else shared_parts(where, like)
        pipeline = _read_pipeline(where, kind, shared, allow_pickle)
        network = getattr(pipeline, "unet", None) or pipeline.transformer
        parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        for part in parts:
            part.requires_grad_(False).eval()
            part.to(device if seat is None else seat.rest)
        ready(
            network,
            device,
            DTYPES[resolve_dtype(dtype, device)],
            rest=None if seat is None else seat.rest,
        )
    name = name or str(folder)
    options = {"schedule": from_diffusers(pipeline.scheduler), "latent_space": latent_space_of(pipeline.vae)}
    if kind == "DiTPipeline":
        predictor = DiTPredictor(network, name=name, **options)
    else:
        if network.config.in_channels != pipeline.vae.config.latent_channels:
            raise BadInput(
                f"{where} is a network of {network.config.in_channels} input channels (for inpainting or depth); "
                "give the plain model, inpainting works with any"
            )
        prediction_type = pipeline.scheduler.config.prediction_type
        predictor = UNetPredictor(network, prediction_type=prediction_type, name=name, **options)
    return Base(name, pipeline, seated(predictor, seat), weights_identity(where), where, seat)


def shared_parts(folder: Path, like: Base) -> dict[str, Any]:
    """The parts of a loaded base, other than its network, whose weights a model's folder holds once more."""
    found = {}
    for name, part in like.pipeline.components.items():
        same_kind = isinstance(part, torch.nn.Module) and name not in ("unet", "transformer")
        if same_kind and (folder / name).is_dir():
            here, there = weights_identity(folder / name), weights_identity(like.folder / name)
            found |= {name: part} if here == there else {}
    return found


def _kind(folder: Path) -> str:
    index = folder / "model_index.json"
    if not index.is_file():
        raise BadInput(
            f"{folder} is not a diffusers model: it has no model_index.json; give a folder that save_pretrained wrote"
        )
    try:
        kind = str(json.loads(index.read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlipcastError(
            f"the model in {folder} cannot be read (model_index.json is damaged); copy or build it again"
        ) from error
    if kind not in READERS:
        raise BadInput(
            f"{folder} is a {kind}, which slipcast cannot guide (docs/guidance.md says why); "
            f"it reads {', '.join(READERS)}"
        )
    return kind


def _read_pipeline(folder: Path, kind: str, shared: dict[str, Any], allow_pickle: bool) -> Any:
    import diffusers

    from . import learned_codec, patch_codec  # noqa: F401

    # diffusers loads a part from the module that model_index.json names, if that is imported already; earlier versions
    # of slipcast wrote this name.
    sys.modules.setdefault("slipcast.systems.patch_codec", patch_codec)

    options: dict[str, Any] = {"variant": variant_of(folder), "dtype": torch.float32, **shared}
    options["use_safetensors"] = None if allow_pickle else True
    if kind == "StableDiffusionPipeline":
        options["safety_checker"] = None
    try:
        pipeline = getattr(diffusers, kind).from_pretrained(str(folder), **options)
    except Exception as error:  # each library has its own kinds; what is not about reading is raised as it is
        foreign = type(error).__module__.startswith(("safetensors", "huggingface_hub"))
        if not foreign and not isinstance(error, OSError | ValueError | RuntimeError | EOFError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise SlipcastError(
            f"the model in {folder} cannot be read ({reason}); copy or build it again"
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def weights_identity(folder: Path) -> str:
    """sha256 over names and bytes of every weights file of a model folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
