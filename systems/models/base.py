"""A base: any latent diffusion model that diffusers loads, seen as a noise predictor, a text reader and a codec.

The starter's prior and Stable Diffusion 1.5 go through the same lines: a folder in diffusers' layout.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput
from ...guidance.conditioning import Conditioning
from ...guidance.control_residuals import home_of
from ...guidance.low_rank import switched_on
from ...guidance.networks import NetworkPredictor
from ...guidance.offloading import CPUOffload, offloaded
from ...guidance.schedulers import USUAL_SCHEDULER
from ..images.files import Size, sides
from .aliases import resolve
from .codec import Codec
from .families.clip import spells_words
from .families.family import Family
from .families.table import family_of
from .identity import model_identity, network_identity, same_part
from .other_vae import read_vae
from .precision import DTYPES, quiet_libraries, ready, resolve_dtype
from .prompt_weights import plain_text
from .reading import read_pipeline
from .single_file.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Base:
    """A loaded diffusion model: Stable Diffusion 1 or 2, SDXL, DiT, a flow model, or the starter's prior.

    Attributes:
        name: how the user calls it.
        family: what is known of its kind.
        pipeline: the diffusers pipeline that holds its parts.
        predictor: its frozen network as an eps predictor, taking its turn on a small device; its latent space is
            named after the autoencoder's weights.
        identity: of all files that it was read from, for run manifests.
        folder: the folder, or the file, that it was read from.
        offload: where its networks take turns on a small device; None keeps all there.
        loras: strengths, by name, of the LoRAs that its text encoders are read with (``guided.lora``).
        embedded_guidance: the guidance weight that a distilled network is told, its family's own if None; others are
            told none.
    """

    name: str
    family: Family
    pipeline: Any
    predictor: NetworkPredictor
    identity: str
    folder: Path
    offload: CPUOffload | None = None
    loras: Mapping[str, float] = field(default_factory=dict)
    embedded_guidance: float | None = None

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
        return self.family.latent_shape(self.predictor.network, self.pipeline)

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a picture, along each side, one latent stands for."""
        return self.codec.pixels_per_latent

    @property
    def only_square(self) -> bool:
        """Whether it draws squares alone, as its family does."""
        return self.family.only_square

    @property
    def cell(self) -> int:
        """What a picture's sides must be multiples of, in pixels: one latent, or a transformer's patch of latents.

        UNets halve three times, and diffusers' bring odd halves back to their size, so any number of latents will do.
        """
        return self.family.sides(self.predictor.network).multiple * self.pixels_per_latent

    @property
    def most_pixels(self) -> int | None:
        """The longest side that its network can draw; None where nothing limits it."""
        most = self.family.sides(self.predictor.network).most
        return None if most is None else most * self.pixels_per_latent

    def sampler(self, name: str | None) -> Any:
        """A sampler at the noise levels of the model's own scheduler, the usual one if None.

        Raises: BadInput for a name that it has none of.
        """
        return self.family.sampler(name or USUAL_SCHEDULER, self.pipeline.scheduler)

    @property
    def picture_size(self) -> int:
        """Pixels along each side of a picture at the model's own size."""
        return self.latent_shape[1] * self.pixels_per_latent

    @torch.no_grad()
    def condition(self, prompts: Sequence[str], *, size: Size | None = None) -> Conditioning:
        """What the network is told for each prompt; the empty prompt is the unconditional one.

        Args:
            prompts: texts, or for DiT the names or numbers of classes.
            size: pixels of a square or (height, width), which SDXL reads too; the model's own if None.
        Raises: BadInput for a class that DiT does not know.
        """
        with switched_on(self._seated_encoders(), self.loras):
            told = self.family.condition(self.pipeline, list(prompts), sides(size or self.picture_size))
        return self._with_guidance(told)

    def _with_guidance(self, told: Conditioning) -> Conditioning:
        """With the weight for a network that has its guidance inside; in float32, which its waves of 1000 w need."""
        usual = self.family.told_guidance(self.predictor.network)
        if usual is None:
            return told
        weight = usual if self.embedded_guidance is None else self.embedded_guidance
        return replace(told, guidance=torch.tensor([weight], dtype=torch.float32))

    def _seated_encoders(self) -> list[Any]:
        named = (getattr(self.pipeline, name) for name in self.family.encoders)
        encoders = [one for one in named if one is not None]
        if self.offload is not None and encoders:
            self.offload.take(*encoders)
        return encoders

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Text features [B, T, C], float32; the empty prompt is the unconditional one."""
        text = self.condition(prompts).text
        if text is None:
            raise BadInput(f"the base {self.name!r} reads classes, not text; use Stable Diffusion here")
        return text

    @property
    def unconditional(self) -> Conditioning:
        """What a network of the same family that takes no text (a domain) is still told: SDXL's sizes, or nothing."""
        return self.unconditional_at(self.picture_size)

    @torch.no_grad()
    def unconditional_at(self, size: Size) -> Conditioning:
        """``unconditional`` for pictures of a size.

        Read without LoRAs: they are the base's, and such a network was trained beside the plain one.
        """
        self._seated_encoders()
        return self._with_guidance(self.family.unconditional(self.pipeline, sides(size)))

    @property
    def codec(self) -> Codec:
        """Its autoencoder."""
        return self.family.codec(self.pipeline, self.name, self.offload)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents of pictures [B, 3, H, W] in [0, 1], differentiable; see ``Codec.encode``."""
        return self.codec.encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] of latents; see ``Codec.decode``."""
        return self.codec.decode(latents)

    @cached_property
    def network_identity(self) -> str:
        """Of its network alone, equal for fp16 and full copies: what belongs to this base names it."""
        return network_identity(self.folder, self.predictor.prediction_type)

    @property
    def reads_weights(self) -> bool:
        """Whether it reads weights of words, and prompts of any length in chunks: sub-word tokenizers do."""
        return self.family.weighs_words and self.spells_words

    @property
    def spells_words(self) -> bool:
        """Whether it reads any word, spelling it in pieces; others know a list of words, or classes."""
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        return tokenizer is not None and spells_words(tokenizer)

    def cut_off(self, prompt: str) -> str:
        """The end of a prompt that the text encoder does not read, empty if it reads all."""
        reader = self.family.reader(self.pipeline)
        if reader is None or self.reads_weights:
            return ""
        words = reader.tokenizer
        ids = words(plain_text(prompt), truncation=False, add_special_tokens=False, verbose=False).input_ids
        room = reader.tokens - words.num_special_tokens_to_add()
        return words.decode(ids[room:]).strip()

    def unknown_words(self, prompt: str) -> dict[str, list[str]]:
        """Words of the prompt that the tokenizer does not know, each with its nearest known words.

        Empty for sub-word tokenizers (Stable Diffusion's), which spell everything, and for classes.
        """
        tokenizer = getattr(self.pipeline, "tokenizer", None)
        if tokenizer is None or self.spells_words:
            return {}
        words = dict.fromkeys(re.findall(r"[\w-]+", plain_text(prompt).lower()))
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
    if (channels := family.latent_shape(network, pipeline)[0]) != codec.latent_channels:
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
