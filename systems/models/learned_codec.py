"""A small learned autoencoder: eight numbers for every 8 x 8 pixels, from which a decoder paints sharp, calm pictures.

Fewer numbers are easier to model than the sixteen of ``patch_codec``, and a decoder that has seen noise on its latents
makes no speckle of a diffusion model's small errors. Both halves work at a quarter and an eighth of the size only, with
pixels folded into channels, so that score distillation can afford the encoder's gradient.

Like ``patch_codec`` it speaks the interface of a diffusers VAE (``encode(x).latents``, ``decode(z).sample``,
``config.scaling_factor``), so ``StableDiffusionPipeline`` runs with it unchanged.
"""

from __future__ import annotations

from typing import Any, overload

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

FOLD = 4  # pixels to a side that are folded into channels before the first convolution
_GROUPS = 16


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), beginning as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.convolutions[1].get_parameter("weight"))
        nn.init.zeros_(self.convolutions[1].get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w], unchanged in shape."""
        change = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            change = convolution(F.silu(norm(change)))
        return x + change


class Encoder(nn.Module):
    """Pictures [B, 3, H, W] in [-1, 1] -> latents [B, k, H/8, W/8].

    Its last step takes out each channel's mean and deviation over the training pictures (``settle``): they belong to
    the latent space as much as its weights do.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, fine: int, coarse: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(3 * FOLD**2, fine, 3, padding=1),
            Residual(fine),
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            *(Residual(coarse) for _ in range(blocks)),
            nn.GroupNorm(_GROUPS, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, channels, 3, padding=1),
        )
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Latents of zero mean and unit variance in every channel, over the training pictures."""
        return (self.layers(x) - self.mean[:, None, None]) / self.deviation[:, None, None]


def to_pictures(width: int, fine: int, blocks: int, fold: int = FOLD) -> list[nn.Module]:
    """Layers from features [B, width, h, w] to pictures [B, 3, 2 fold h, 2 fold w], ``fine`` channels wide between."""
    return [
        nn.Conv2d(width, 4 * fine, 3, padding=1),
        nn.PixelShuffle(2),
        *(Residual(fine) for _ in range(blocks)),
        nn.GroupNorm(_GROUPS, fine),
        nn.SiLU(),
        nn.Conv2d(fine, 3 * fold**2, 3, padding=1),
        nn.PixelShuffle(fold),
    ]


class LearnedCodec(ModelMixin, ConfigMixin):
    """Pictures [B, 3, H, W] in [-1, 1] <-> latents [B, k, H/8, W/8] of unit variance.

    ``block_out_channels`` only tells diffusers the down-sampling factor, 2 ** (len - 1) = 8.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_widths: tuple[int, int] = (64, 160),
        decoder_widths: tuple[int, int] = (96, 160),
        encoder_blocks: int = 2,
        decoder_blocks: tuple[int, int] = (2, 3),
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        sample_size: int = 128,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(latent_channels, *encoder_widths, encoder_blocks)
        fine, coarse = decoder_widths
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            *(Residual(coarse) for _ in range(decoder_blocks[1])),
            *to_pictures(coarse, fine, decoder_blocks[0]),
        )

    @torch.no_grad()
    def settle(self, pictures: Tensor, batch: int = 64) -> None:
        """Set the latents' mean and deviation from pictures [N, 3, H, W]; decoders learn on such latents."""
        raw = torch.cat([self.encoder.layers(part).float() for part in pictures.split(batch)])
        self.encoder.mean.copy_(raw.mean((0, 2, 3)))
        self.encoder.deviation.copy_(raw.std((0, 2, 3)))

    def encode(self, x: Tensor) -> AutoencoderTinyOutput:
        """Latents of pictures [B, 3, H, W] in [-1, 1]; nothing is random here."""
        return AutoencoderTinyOutput(latents=self.encoder(x))

    @overload
    def decode(self, latents: Tensor) -> DecoderOutput: ...

    @overload
    def decode(self, latents: Tensor, return_dict: bool, **ignored: Any) -> Any: ...

    def decode(self, latents: Tensor, return_dict: bool = True, **ignored: Any) -> Any:
        """Pictures [B, 3, 8 h, 8 w] of latents [B, k, h, w]; nothing is random here."""
        picture = self.decoder(latents)
        return DecoderOutput(sample=picture) if return_dict else (picture,)

    def forward(self, x: Tensor) -> Tensor:
        """Round trip, [B, 3, H, W] -> [B, 3, H, W]."""
        return self.decode(self.encode(x).latents).sample
