"""A base: any latent diffusion model that diffusers loads, seen as a noise predictor, a text reader and a codec.

The starter's prior and Stable Diffusion 1.5 go through the same lines: a folder in diffusers' layout.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput
from ...guidance.conditioning import Conditioning
from ...guidance.control_residuals import home_of
from ...guidance.networks import NetworkPredictor
from ...guidance.offloading import CPUOffload, offloaded
from .aliases import resolve
from .codec import Codec
from .families.family import Family
from .families.table import family_of
from .identity import model_identity, network_identity, same_part
from .other_vae import read_vae
from .precision import DTYPES, quiet_libraries, ready, resolve_dtype
from .reading import read_pipeline
from .single_file.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Base:
    """A loaded diffusion model: Stable Diffusion 1 or 2, SDXL, DiT, or the starter's prior.

    Attributes:
        name: how the user calls it.
        family: what is known of its kind.
        pipeline: the diffusers pipeline that holds its parts.
        predictor: its frozen network as an eps predictor, taking its turn on a small device; its latent space is
            named after the autoencoder's weights.
        identity: of all files that it was read from, for run manifests.
        folder: the folder, or the file, that it was read from.
        offload: where its networks take turns on a small device; None keeps all there.
    """

    name: str
    family: Family
    pipeline: Any
    predictor: NetworkPredictor
    identity: str
    folder: Path
    offload: CPUOffload | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What its network computes in; models beside it follow."""
        return self.predictor.network.dtype

    @property
    def device(self) -> torch.device:
        """Where its network computes, even while it waits elsewhere for its turn; latents are kept there."""
        return (
            home_of(self.predictor.network)[0] if self.offload is None else torch.device(self.offload.device)
        )

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one latent at the model's own size."""
        return self.family.latent_shape(self.predictor.network)

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a picture, along each side, one latent stands for."""
        return self.codec.pixels_per_latent

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
        self._seat_encoders()
        return self.family.condition(self.pipeline, list(prompts), size or self.picture_size)

    def _seat_encoders(self) -> None:
        if self.offload is not None and self.family.encoders:
            self.offload.take(*[getattr(self.pipeline, name) for name in self.family.encoders])

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Text features [B, T, C], float32; the empty prompt is the unconditional one."""
        text = self.condition(prompts).text
        if text is None:
            raise BadInput(f"the base {self.name!r} reads classes, not text; use Stable Diffusion here")
        return text

    @property
    @torch.no_grad()
    def unconditional(self) -> Conditioning:
        """What a network of the same family that takes no text (a domain) is still told: SDXL's sizes, or nothing."""
        self._seat_encoders()
        return self.family.unconditional(self.pipeline, self.picture_size)

    @property
    def codec(self) -> Codec:
        """Its autoencoder."""
        return self.family.codec(self.pipeline, self.name, self.offload)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, S, S] in [0, 1], differentiable; see ``Codec.encode``."""
        return self.codec.encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] of latents; see ``Codec.decode``."""
        return self.codec.decode(latents)

    @cached_property
    def network_identity(self) -> str:
        """Of its network alone, equal for fp16 and full copies: what belongs to this base names it."""
        return network_identity(self.folder, self.predictor.prediction_type)

    def cut_off(self, prompt: str) -> str:
        """The end of a prompt that the text encoder does not read, empty if it reads all."""
        words = getattr(self.pipeline, "tokenizer", None)
        if words is None:
            return ""
        ids = words(prompt, truncation=False, add_special_tokens=False, verbose=False).input_ids
        room = words.model_max_length - words.num_special_tokens_to_add()
        return words.decode(ids[room:]).strip()

    def unknown_words(self, prompt: str) -> dict[str, list[str]]:
        """Words of the prompt that the tokenizer does not know, each with its nearest known words.

        Empty for sub-word tokenizers (Stable Diffusion's), which spell everything, and for classes.
        """
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        if tokenizer is None or tokenizer.unk_token_id is None:
            return {}
        words = dict.fromkeys(re.findall(r"[\w-]+", prompt.lower()))
        unknown = [
            word
            for word in words
            if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False).input_ids
        ]
        near = [word for word in tokenizer.get_vocab() if word.isalpha() or "-" in word] if unknown else []
        return {word: difflib.get_close_matches(word, near, n=3, cutoff=0.5) for word in unknown}


def load_base(
    folder: Path | str,
    *,
    name: str | None = None,
    device: str = "cpu",
    dtype: str = "auto",
    allow_pickle: bool = False,
    like: Base | None = None,
    vae: str | None = None,
    offload: CPUOffload | None = None,
) -> Base:
    """Load a base from a folder in diffusers' layout, a checkpoint in one file, or an alias or hub id that is here.

    Args:
        dtype: of the network: float32, bfloat16, float16, or auto (see ``precision.resolve_dtype``).
        like: share the parts (text encoders, autoencoder) whose files are the same as this base's: a fine-tuned model
            then costs its own network alone.
        vae: another autoencoder in the place of its own (see ``other_vae``); its latents stay what they are.
        offload: keep one network on the device at a time.
    Raises: BadInput when there is no such model, it is of an unknown kind, or its files are broken.
    """
    where = resolve(str(folder), allow_pickle=allow_pickle)
    name = name or str(folder)
    if where.is_file():
        family, pipeline = read_checkpoint(where, None if like is None else like.pipeline)
    else:
        family = family_of(where)
        shared = {} if like is None else shared_parts(where, family, like)
        pipeline = read_pipeline(where, family, shared, allow_pickle=allow_pickle)
    network, codec = getattr(pipeline, family.network), family.codec(pipeline, name, None)
    if (channels := family.latent_shape(network)[0]) != codec.latent_channels:
        raise BadInput(
            f"{where} is a network of {channels} input channels (for inpainting or depth); "
            "give the plain model, inpainting works with any"
        )
    latent_space = codec.latent_space
    if like is not None and pipeline.vae is like.pipeline.vae:
        # Perhaps another autoencoder in the place of its own: the latents are those of its own.
        latent_space = like.predictor.latent_space
    predictor = family.predictor(
        network,
        schedule=family.schedule(pipeline.scheduler),
        prediction_type=family.prediction_type(pipeline.scheduler),
        latent_space=latent_space,
        name=name,
    )
    identity = model_identity(where)
    if vae is not None:
        other, place = read_vae(vae, pipeline.vae, allow_pickle=allow_pickle)
        pipeline.register_modules(vae=other)
        identity += f" {model_identity(place)}"
    with quiet_libraries():
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.to(device if offload is None else offload.rest)
        computed_in = DTYPES[resolve_dtype(dtype, device)]
        ready(network, device, computed_in, rest=None if offload is None else offload.rest)
    return Base(name, family, pipeline, offloaded(predictor, offload), identity, where, offload)


def shared_parts(folder: Path, family: Family, like: Base) -> dict[str, Any]:
    """The parts of a loaded base, other than its network, that a model's folder holds once more."""
    return {
        name: part
        for name, part in like.pipeline.components.items()
        if isinstance(part, torch.nn.Module)
        and name != family.network
        and (folder / name).is_dir()
        and same_part(folder / name, like.folder / name)
    }
