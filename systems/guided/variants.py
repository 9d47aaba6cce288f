"""A model that somebody made of a base: a LoRA, a full checkpoint, or a domain; each becomes a branch beside it.

Nothing is loaded twice: a LoRA lives in the base's own network and is switched on for its branch alone, and a full
checkpoint brings its network and shares whatever else has the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ...configs.errors import BadInput, SlipcastError
from ...guidance.conditioning import Condition
from ...guidance.networks import AdaptedPredictor
from ...guidance.predictors import NoisePredictor
from ..domain.model import Domain, load_domain
from ..models.aliases import resolve
from ..models.base import Base, load_base
from ..models.precision import quiet_libraries


class Speaker(Protocol):
    """A model that can be a branch: its predictor, and what it is told for each prompt."""

    @property
    def name(self) -> str: ...

    @property
    def predictor(self) -> NoisePredictor: ...

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Condition: ...


@dataclass(frozen=True)
class Adapted:
    """A base with a LoRA switched on; it reads text as the base does."""

    name: str
    base: Base
    predictor: NoisePredictor

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Condition:
        """As the base."""
        return self.base.condition(prompts, size=size)


@dataclass(frozen=True)
class TextFree:
    """A domain in the place of a model: told the same whatever the prompt."""

    domain: Domain

    @property
    def name(self) -> str:
        return self.domain.name

    @property
    def predictor(self) -> NoisePredictor:
        """The domain's."""
        return self.domain.predictor

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Condition:
        """The domain's own."""
        return self.domain.condition


def load_custom(path: str, base: Base, *, scale: float = 1.0, allow_pickle: bool = False) -> Speaker:
    """Read a model made of ``base``.

    Args:
        path: a LoRA (a .safetensors file, or a folder that holds pytorch_lora_weights.safetensors), a folder or hub
            id in diffusers' layout, or a domain's folder.
        scale: strength of a LoRA.
    Raises: BadInput when it is none of these or lives in another latent space; SlipcastError when it is unreadable.
    """
    where = resolve(path, allow_pickle=allow_pickle)
    device = str(base.predictor.network.device) if base.seat is None else base.seat.device
    if (where / "domain.json").is_file():
        return TextFree(load_domain(where, base, device=device))
    lora = where if where.is_file() else where / "pytorch_lora_weights.safetensors"
    if lora.is_file():
        return _with_lora(lora, base, scale)
    model = load_base(
        where,
        name=path,
        device=device,
        dtype=str(base.dtype).removeprefix("torch."),
        allow_pickle=allow_pickle,
        like=base,
        seat=base.seat,
    )
    if model.predictor.latent_space != base.predictor.latent_space:
        raise BadInput(
            f"{path} has another autoencoder than the base {base.name!r}, so their predictions cannot be added; "
            "give a model made of that base"
        )
    return model


def _with_lora(path: Path, base: Base, scale: float) -> Adapted:
    network: Any = base.predictor.network
    adapter = f"slipcast_{len(getattr(network, 'peft_config', {}))}"
    try:
        with quiet_libraries():
            weights, alphas, card = base.pipeline.lora_state_dict(str(path), return_lora_metadata=True)
            weights = {key: value for key, value in weights.items() if not key.startswith("text_encoder")}
            base.pipeline.load_lora_into_unet(weights, alphas, network, adapter_name=adapter, metadata=card)
            network.to(
                memory_format=torch.channels_last
            )  # as ``ready`` laid out the base: mixed, both are slow
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SlipcastError(f"{path} cannot be used as a LoRA of {base.name!r} ({reason})") from error
    if adapter not in getattr(network, "peft_config", {}):
        raise BadInput(f"{path} holds no LoRA for the network of {base.name!r}; give one made for that base")
    return Adapted(path.stem, base, AdaptedPredictor(base.predictor, adapter, scale=scale, name=path.stem))
