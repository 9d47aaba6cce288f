"""IP-Adapter files in the layouts that their authors publish, with small random weights, and an image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

HIDDEN, PROJECTED = 16, 10
"""Numbers of the encoder's hidden states and of its embedding."""


def image_encoder(folder: Path, *, hidden: int = HIDDEN, projected: int = PROJECTED) -> Any:
    """A CLIP that looks at 32 x 32 pixels in four patches, as transformers writes it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(11)
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=projected,
    )
    network = CLIPVisionModelWithProjection(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # as drawn by transformers it hardly looks at its picture
            parameter.add_(0.2 * torch.randn(parameter.shape))
    network.save_pretrained(folder)
    return network


def ip_adapter(
    path: Path, unet: Any, kind: str = "plain", *, seed: int = 5, width: int | None = None
) -> dict[str, Tensor]:
    """Write an adapter for a UNet and return its tensors.

    Args:
        kind: plain, plus or full.
        width: of its tokens, if not that of the text.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, around: float = 0.0) -> Tensor:
        return around + 0.4 * torch.randn(shape, generator=generator)

    tokens: int = width or unet.config.cross_attention_dim
    made = {"plain": _plain, "plus": _plus, "full": _full}[kind](drawn, tokens)
    tensors = {f"image_proj.{name}": tensor for name, tensor in made.items()}
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    for i, name in enumerate(one for one in names if one.endswith("attn2")):
        inner = unet.get_submodule(name).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * i + 1}.{part}.weight"] = drawn(inner, tokens)
    save_file(tensors, path)
    return tensors


def _plain(drawn: Any, width: int) -> dict[str, Tensor]:
    return {
        "proj.weight": drawn(4 * width, PROJECTED),
        "proj.bias": drawn(4 * width),
        "norm.weight": drawn(width, around=1),
        "norm.bias": drawn(width),
    }


def _full(drawn: Any, width: int) -> dict[str, Tensor]:
    return {
        "proj.0.weight": drawn(HIDDEN, HIDDEN),
        "proj.0.bias": drawn(HIDDEN),
        "proj.2.weight": drawn(width, HIDDEN),
        "proj.2.bias": drawn(width),
        "proj.3.weight": drawn(width, around=1),
        "proj.3.bias": drawn(width),
    }


def _plus(drawn: Any, width: int) -> dict[str, Tensor]:
    """Four layers, of one head of 64, as diffusers takes for granted."""
    inner, head = 8, 64
    made = {
        "latents": drawn(1, 3, inner),
        "proj_in.weight": drawn(inner, HIDDEN),
        "proj_in.bias": drawn(inner),
        "proj_out.weight": drawn(width, inner),
        "proj_out.bias": drawn(width),
        "norm_out.weight": drawn(width, around=1),
        "norm_out.bias": drawn(width),
    }
    for i in range(4):
        made |= {
            f"layers.{i}.0.norm1.weight": drawn(inner, around=1),
            f"layers.{i}.0.norm1.bias": drawn(inner),
            f"layers.{i}.0.norm2.weight": drawn(inner, around=1),
            f"layers.{i}.0.norm2.bias": drawn(inner),
            f"layers.{i}.0.to_q.weight": drawn(head, inner),
            f"layers.{i}.0.to_kv.weight": drawn(2 * head, inner),
            f"layers.{i}.0.to_out.weight": drawn(inner, head),
            f"layers.{i}.1.0.weight": drawn(inner, around=1),
            f"layers.{i}.1.0.bias": drawn(inner),
            f"layers.{i}.1.1.weight": drawn(4 * inner, inner),
            f"layers.{i}.1.3.weight": drawn(inner, 4 * inner),
        }
    return made
