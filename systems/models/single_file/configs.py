"""Configs of diffusers and transformers from the shapes of weights; what shapes do not say is known of the family."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .names import first_downsampling

Shapes = Mapping[str, tuple[int, ...]]


def unet_config(shapes: Shapes, *, heads: int | None, sample_size: int) -> dict[str, Any]:
    """Of an ldm UNet, its names without ``model.diffusion_model.``.

    Args:
        heads: attention heads, where all levels have as many (Stable Diffusion 1); None for heads of 64 numbers.
        sample_size: latents to a side at the model's own size.
    Raises:
        KeyError, ValueError: it is no such UNet.
    """
    layers = first_downsampling(shapes)
    levels = 1 + sum(bool(re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", name)) for name in shapes)
    firsts = [1 + level * (layers + 1) for level in range(levels)]
    widths = [shapes[f"input_blocks.{first}.0.out_layers.3.weight"][0] for first in firsts]
    depths = [_count(shapes, rf"input_blocks\.{first}\.1\.transformer_blocks\.(\d+)\.") for first in firsts]
    middle = _count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\.")
    reads = next(shapes[name] for name in sorted(shapes) if name.endswith("attn2.to_k.weight"))
    projection = next(shapes[name] for name in sorted(shapes) if name.endswith("1.proj_in.weight"))
    config: dict[str, Any] = {
        "sample_size": sample_size,
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        # diffusers makes the middle as deep as the last level, which may have none of its own.
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle],
        "cross_attention_dim": reads[1],
        "attention_head_dim": heads or [width // 64 for width in widths],
        "use_linear_projection": len(projection) == 2,
    }
    if "label_emb.0.0.weight" in shapes:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1],
        }
    return config


def vae_config(shapes: Shapes, *, scaling_factor: float, sample_size: int) -> dict[str, Any]:
    """Of an ldm autoencoder, its names without ``first_stage_model.``.

    Raises: KeyError, ValueError: it is no such autoencoder.
    """
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "block_out_channels": [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": _count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "scaling_factor": scaling_factor,
        "sample_size": sample_size,
    }


def clip_config(shapes: Shapes, *, activation: str, projection: int | None = None) -> dict[str, Any]:
    """Of a CLIP text encoder by transformers' names, without ``text_model.``; every head has 64 numbers.

    Raises: KeyError, ValueError: it is no such encoder.
    """
    words, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": width // 64,
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "hidden_act": activation,
        "projection_dim": projection or width,
    }


def _count(shapes: Shapes, pattern: str) -> int:
    """How many numbers stand where the pattern's group is: 0 .. n - 1 without a gap."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    if found != set(range(len(found))):
        raise ValueError(f"of {pattern} some are missing: {sorted(found)}")
    return len(found)
