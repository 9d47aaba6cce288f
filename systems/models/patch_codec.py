"""A linear patch codec: the smallest latent space a diffusion model can live in.

Each f x f patch of the picture is projected on the k leading principal components of such patches, so encoding is one
matrix product: closed form, exactly differentiable (score distillation goes through it for free), and Gaussian noise
stays Gaussian. Decoding adds a small convolutional correction on the latent grid, which sees the neighbouring patches
and removes the block edges that a linear decoder leaves; and, where there are ``detail_blocks``, what a deeper network
learned at half of a patch on disturbed latents, which takes away a diffusion model's speckle too.

It speaks the interface of a diffusers VAE (``encode(x).latents``, ``decode(z).sample``, ``config.scaling_factor``), so
``StableDiffusionPipeline`` runs with it unchanged.
"""

from __future__ import annotations

from typing import Any, overload

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

from .latent_spaces import latent_space_of
from .learned_codec import to_pictures

_DETAIL_WIDTH = 64


class PatchCodec(ModelMixin, ConfigMixin):
    """Pictures [B, 3, H, W] in [-1, 1] <-> latents [B, k, H/f, W/f] of about unit variance.

    ``block_out_channels`` only tells diffusers the down-sampling factor, 2 ** (len - 1) = f.

    Args:
        detail_blocks: residual blocks of the decoder at half of a patch; 0 leaves that part out.
        latent_space: the latents' name (``latent_spaces``), for a codec whose decoder alone has learned on: what lives
            in them need not be made anew.
    """

    @register_to_config
    def __init__(
        self,
        patch: int = 8,
        latent_channels: int = 16,
        width: int = 128,
        layers: int = 3,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        sample_size: int = 128,
        detail_blocks: int = 0,
        latent_space: str | None = None,
    ) -> None:
        super().__init__()
        pixels = 3 * patch * patch
        self.patch = patch
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("components", torch.zeros(latent_channels, pixels))
        self.register_buffer("scale", torch.ones(latent_channels))
        self.enter = nn.Conv2d(latent_channels, width, 3, padding=1)
        self.mix = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(layers)
        )
        self.leave = nn.Conv2d(width, pixels, 3, padding=1)
        self.detail: nn.Sequential | None = None
        last: list[nn.Module] = [self.leave]
        if detail_blocks:
            self.detail = nn.Sequential(*to_pictures(width, _DETAIL_WIDTH, detail_blocks, fold=patch // 2))
            last.append(self.detail[-2])
        for layer in last:  # at first they add nothing
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    @torch.no_grad()
    def fit(self, pictures: torch.Tensor) -> None:
        """Set the projection from pictures [B, 3, H, W] in [-1, 1], in closed form (PCA of their patches).

        Channels are scaled by the square root of their spread: between raw components (detail drowns) and whitened ones
        (detail costs as much capacity as layout).
        """
        flat = (
            F.pixel_unshuffle(pictures, self.patch)
            .permute(0, 2, 3, 1)
            .reshape(-1, self.mean.numel())
            .double()
        )
        mean = flat.mean(0)
        centred = flat - mean
        _, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
        components = vectors.flip(1)[:, : len(self.scale)].T
        spread = (centred @ components.T).std(0)
        scale = spread.sqrt()
        scale = scale * (((spread / scale) ** 2).mean().sqrt())
        self.mean.copy_(mean)
        self.components.copy_(components)
        self.scale.copy_(scale)

    def with_detail(self, blocks: int = 3) -> PatchCodec:
        """A codec of the same latents, which decodes them alike and can learn to decode them better."""
        kept = {key: value for key, value in self.config.items() if not key.startswith("_")}
        made = PatchCodec(**kept | {"detail_blocks": blocks, "latent_space": latent_space_of(self)})
        made.load_state_dict(self.state_dict(), strict=False)
        return made

    def encode(self, x: torch.Tensor) -> AutoencoderTinyOutput:
        """Latents of pictures [B, 3, H, W] in [-1, 1]; linear in the picture."""
        projection = (self.components / self.scale[:, None]).to(x.dtype)
        shift = -(projection.float() @ self.mean.float()).to(x.dtype)
        latents = F.conv2d(F.pixel_unshuffle(x, self.patch), projection[:, :, None, None], shift)
        return AutoencoderTinyOutput(latents=latents)

    def decode_linear(self, latents: torch.Tensor) -> torch.Tensor:
        """The least-squares picture of the latents, before the correction."""
        matrix = (self.components * self.scale[:, None]).T.to(latents.dtype)
        flat = F.conv2d(latents, matrix[:, :, None, None], self.mean.to(latents.dtype))
        return F.pixel_shuffle(flat, self.patch)

    @overload
    def decode(self, latents: torch.Tensor) -> DecoderOutput: ...

    @overload
    def decode(self, latents: torch.Tensor, return_dict: bool, **ignored: Any) -> Any: ...

    def decode(self, latents: torch.Tensor, return_dict: bool = True, **ignored: Any) -> Any:
        """Pictures of latents [B, k, h, w]: the linear inverse plus the learned correction; nothing is random here."""
        hidden = self.enter(latents)
        for layer in self.mix:
            hidden = hidden + layer(hidden)
        hidden = F.silu(hidden)
        picture = self.decode_linear(latents) + F.pixel_shuffle(self.leave(hidden), self.patch)
        if self.detail is not None:
            picture = picture + self.detail(hidden)
        return DecoderOutput(sample=picture) if return_dict else (picture,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Round trip, [B, 3, H, W] -> [B, 3, H, W]."""
        return self.decode(self.encode(x).latents).sample
