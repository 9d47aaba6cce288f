"""Small encoders in the place of a base's own, where only the way into the latents is asked (``refine.encoder``).

Score distillation differentiates through the encoder at every step, and Stable Diffusion's is as dear as a pass of its
UNet. TAESD (github.com/madebyollin/taesd, MIT) was trained to give the same latents with a hundredth of the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.names import shown_key
from .codec import Codec, VAECodec
from .reading import read_network


def load_tiny(folder: Path, own: Codec, device: Any, *, allow_pickle: bool = False) -> VAECodec:
    """An ``AutoencoderTiny`` of diffusers, frozen and float32, for the latents of a base.

    Args:
        folder: with its config.json and weights.
        own: the base's autoencoder, whose latents it has to have.
        device: where it computes.
    Raises:
        BadInput: it is another kind of autoencoder, damaged, or one of other latents.
    """
    from diffusers import AutoencoderTiny

    config = read_json_object(folder / "config.json", "the small encoder's config", allow_nan=True)
    kind = config.get("_class_name")
    if kind != "AutoencoderTiny":
        raise BadInput(
            f"{folder} is a {shown_key(str(kind))}, not an AutoencoderTiny; give one as refine.encoder"
        )
    network = read_network(AutoencoderTiny, folder, "the small encoder", allow_pickle=allow_pickle)
    codec = VAECodec(network.to(device), folder.name)
    for what, mine, theirs in (
        ("numbers a latent", own.latent_channels, codec.latent_channels),
        ("pixels a latent", own.pixels_per_latent, codec.pixels_per_latent),
    ):
        if mine != theirs:
            raise BadInput(
                f"the small encoder {folder} has {theirs} {what}, and the base's own has {mine}; give one that was "
                "made for such a base, or refine.encoder=full"
            )
    return codec
