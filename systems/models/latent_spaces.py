"""Names of latent spaces, by which guidance knows whether two models may be mixed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def latent_space_of(vae: Any) -> str:
    """A name for the latent space of a diffusers autoencoder: equal for equal encoders, whatever the model is called.

    The encoder and the scaling make the space. A decoder that was fine-tuned alone reads the same latents, as
    stabilityai/sd-vae-ft-mse does by design, so it does not count. Weights are rounded to half precision, in which the
    fp16 and the full file of one model agree. An autoencoder without an ``encoder`` is hashed whole, but one that names
    its ``latent_space`` in its config is believed: its decoder learned on after it had that name.
    """
    if named := vae.config.get("latent_space"):
        return str(named)
    tensors = vae.state_dict()
    encoder = {key: value for key, value in tensors.items() if key.startswith(("encoder.", "quant_conv."))}
    scaling = [
        vae.config.get(key) for key in ("scaling_factor", "shift_factor", "latents_mean", "latents_std")
    ]
    digest = hashlib.sha256(repr(scaling).encode())
    for key, value in sorted((encoder or tensors).items()):
        add_rounded(digest, key, value)
    return f"latents-{digest.hexdigest()[:12]}"


def add_rounded(digest: Any, name: str, value: torch.Tensor) -> None:
    """Hash a tensor's name, shape and numbers in half precision, in which all copies of one model agree."""
    digest.update(f"{name} {tuple(value.shape)}".encode())
    import torch

    digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
