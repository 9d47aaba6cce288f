"""The autoencoder of a base: pictures in, latents out, and back, in the scale that its network works in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError
from ...guidance.offloading import CPUOffload
from .latent_spaces import latent_space_of


class Codec(Protocol):
    """Pictures to the latents that a network works in, and back: scaled and, where the model says so, shifted."""

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a picture, along each side, one latent stands for."""
        ...

    @property
    def latent_channels(self) -> int:
        """Numbers in one latent."""
        ...

    @property
    def latent_space(self) -> str:
        """A name that is equal for equal encoders."""
        ...

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [B, C, S / f, S / f] of pictures [B, 3, S, S] in [0, 1], differentiable, float32."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] of latents."""
        ...

    def alone(self, device: str | None = None) -> Codec:
        """The same, that stays on a device (where it is, if None) and takes no turns: fit for another process."""
        ...


@dataclass(frozen=True)
class VAECodec:
    """A diffusers autoencoder with the shift and scale of its config.

    The network's latents are z' = (z - mean) / spread, with z what the autoencoder itself speaks of: spread is
    1 / scaling_factor, or latents_std / scaling_factor channel by channel, and mean is shift_factor or latents_mean.

    Attributes:
        vae: the autoencoder.
        name: of the base, for sentences.
        offload: where it takes its turn on a small device; None leaves it where it is.
    Raises:
        BadInput: a shift or scale in its config that is no number, or not one per channel.
    """

    vae: Any
    name: str
    offload: CPUOffload | None = None

    def __post_init__(self) -> None:
        self._mean_std_scaling("cpu")  # so that a bad config is told when the model is loaded

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a picture, along each side, one latent stands for."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        """Numbers in one latent."""
        return self.vae.config.latent_channels

    @property
    def latent_space(self) -> str:
        """See ``latent_space_of``."""
        return latent_space_of(self.vae)

    def alone(self, device: str | None = None) -> VAECodec:
        """The same, that stays on a device (where it is, if None) and takes no turns: fit for another process."""
        if device is not None:
            self.vae.to(device)
        return replace(self, offload=None)

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents [B, C, S / f, S / f] of pictures [B, 3, S, S] in [0, 1], differentiable, float32; the mode, where the
        autoencoder is random.

        Raises: SlipcastError for NaN or infinity.
        """
        vae = self._on_device()
        encoded = vae.encode(pictures.to(vae.device, vae.dtype) * 2 - 1)
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        mean, std, scaling = self._mean_std_scaling(latents.device)
        return self._finite("encoder", (latents.float() - mean) * scaling / std)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1] of latents. SlipcastError for NaN or infinity."""
        vae = self._on_device()
        mean, std, scaling = self._mean_std_scaling(latents.device)
        picture = vae.decode((latents * std / scaling + mean).to(vae.device, vae.dtype)).sample
        return (self._finite("decoder", picture.float()) / 2 + 0.5).clamp(0, 1)

    def _on_device(self) -> Any:
        if self.offload is not None:
            self.offload.take(self.vae)
        return self.vae

    def _finite(self, half: str, made: Tensor) -> Tensor:
        if not bool(made.isfinite().all()):
            raise SlipcastError(
                f"the {half} of {self.name!r} returned NaN or infinity; check its weights, or what it was given"
            )
        return made

    def _mean_std_scaling(self, device: Any) -> tuple[float | Tensor, float | Tensor, float | Tensor]:
        mean = self._told("latents_mean", self._told("shift_factor", 0.0, device), device)
        std = self._told("latents_std", 1.0, device, above=0.0)
        return mean, std, self._told("scaling_factor", 1.0, device, above=0.0)

    def _told(
        self, key: str, default: float | Tensor, device: Any, *, above: float = -math.inf
    ) -> float | Tensor:
        """A number of the config, or [1, C, 1, 1] where it has one per channel."""
        config = self.vae.config
        value: Any = config.get(key)
        if value is None:
            return default
        per_channel = isinstance(value, list | tuple) and len(value) == config.get("latent_channels")
        for one in value if per_channel else [value]:
            if isinstance(one, bool) or not isinstance(one, int | float) or not above < one < math.inf:
                raise BadInput(
                    f"{key} in the config of the autoencoder of {self.name!r} expects "
                    f"{'a number above 0' if above == 0 else 'a number'}, not {value!r}"
                )
        return torch.tensor(value, device=device).view(1, -1, 1, 1) if per_channel else float(value)  # pyright: ignore[reportArgumentType]
