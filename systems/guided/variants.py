"""A model that somebody made of a base: a LoRA, a full checkpoint, or a domain; each becomes a branch beside it.

Nothing is loaded twice: a LoRA lives in the base's own network and is switched on for its branch alone, and a full
checkpoint brings its network and shares whatever else has the same weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import sha256_of_file
from ...configs.errors import BadInput
from ...guidance.conditioning import Condition
from ...guidance.networks import AdaptedPredictor
from ...guidance.predictors import ConditionalDenoiser, NoisePredictor
from ..domain.model import Domain, load_domain
from ..models.aliases import resolve
from ..models.base import Base, load_base
from ..models.single_file.checkpoint import is_checkpoint
from .lora import put_in, read_lora, switched_on, unusable

_NUMBERS = itertools.count()  # adapters of one process never share a name


@dataclass(frozen=True)
class Adapted:
    """A base with a LoRA switched on, in its network and in the text encoders that the LoRA speaks of."""

    name: str
    base: Base
    predictor: NoisePredictor
    identity: str
    adapter: str
    scale: float
    encoders: tuple[Any, ...] = ()

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Condition:
        """As the base, read by the LoRA's own text encoders."""
        with switched_on(self.encoders, self.adapter, self.scale):
            return self.base.condition(prompts, size=size)


@dataclass(frozen=True)
class TextFree:
    """A domain in the place of a model: told the same whatever the prompt."""

    domain: Domain

    @property
    def name(self) -> str:
        return self.domain.name

    @property
    def identity(self) -> str:
        return self.domain.identity

    @property
    def predictor(self) -> NoisePredictor:
        """The domain's."""
        return self.domain.predictor

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Condition:
        """The domain's own."""
        return self.domain.condition


def load_custom(
    path: str,
    base: Base,
    *,
    scale: float = 1.0,
    allow_pickle: bool = False,
    notice: Callable[[str], None] = lambda sentence: None,
) -> ConditionalDenoiser:
    """Read a model made of ``base``.

    Args:
        path: a LoRA (a .safetensors file, or a folder that holds pytorch_lora_weights.safetensors), a checkpoint (a
            .safetensors file, told apart by its names; a folder or hub id in diffusers' layout), or a domain's folder.
        scale: strength of a LoRA.
        notice: told which part of a LoRA matches nothing.
    Raises: BadInput when it is none of these or belongs to another base; SlipcastError when it is unreadable.
    """
    where = resolve(path, allow_pickle=allow_pickle)
    device = str(base.predictor.network.device) if base.offload is None else base.offload.device
    if (where / "domain.json").is_file():
        return TextFree(load_domain(where, base, device=device))
    lora = where if where.is_file() else where / "pytorch_lora_weights.safetensors"
    if lora.is_file() and not is_checkpoint(lora):
        return _with_lora(lora, base, scale, notice)
    model = load_base(
        where,
        name=path,
        device=device,
        dtype=str(base.dtype).removeprefix("torch."),
        allow_pickle=allow_pickle,
        like=base,
        offload=base.offload,
    )
    if model.predictor.latent_space != base.predictor.latent_space:
        raise BadInput(
            f"{path} has another autoencoder than the base {base.name!r}, so their predictions cannot be added; "
            "give a model made of that base"
        )
    return model


def _with_lora(path: Path, base: Base, scale: float, notice: Callable[[str], None]) -> Adapted:
    lora = read_lora(path, base, notice)
    adapter = f"slipcast_{next(_NUMBERS)}"
    try:
        encoders = put_in(lora, base, adapter)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        raise unusable(path, base, error) from error
    predictor: NoisePredictor = base.predictor
    if "unet" in lora.parts:
        predictor = AdaptedPredictor(base.predictor, adapter, scale=scale, name=path.stem)
    return Adapted(path.stem, base, predictor, sha256_of_file(path), adapter, scale, tuple(encoders))
