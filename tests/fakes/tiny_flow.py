"""Real diffusers pipelines of flow models with tiny random networks: Stable Diffusion 3 and Flux."""

# pyright: reportArgumentType=false
# diffusers annotates the types of its defaults, not the types that it takes.

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .tiny_pipelines import quiet, text_config, tokenizer, vae

T5_WIDTH = 32


def t5_tokenizer() -> Any:
    """A T5 tokenizer that spells every word in letters, 16 tokens at most."""
    from transformers import T5Tokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces = special + [(one, -3.0) for one in letters]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=16)


def t5(words: Any) -> Any:
    """A T5 encoder of two layers."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(words), d_model=T5_WIDTH, d_kv=4, d_ff=24, num_layers=2, num_heads=2,
        relative_attention_num_buckets=8, feed_forward_proj="gated-gelu",
        pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def shifted_vae() -> Any:
    """An autoencoder whose latents have a shift as well as a scale."""
    made = vae()
    made.register_to_config(shift_factor=0.0609, scaling_factor=1.5305)
    return made


def loud(network: Any) -> Any:
    """With weights as large as a trained network's: what it answers depends on what it is told."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=1.0 / parameter.shape[-1] ** 0.5)
        elif not name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def sd3(folder: Path, *, t5_there: bool = True, scheduler: dict[str, Any] | None = None) -> Any:
    """Stable Diffusion 3.5: two CLIP encoders and T5, or without T5; pictures of 16 pixels, latents of 8."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(0)
    words, pieces = tokenizer(folder / "tiny-tokenizer"), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=T5_WIDTH, caption_projection_dim=16,
        pooled_projection_dim=20, pos_embed_max_size=12, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return quiet(
        StableDiffusion3Pipeline(
            transformer=loud(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(**(scheduler or {"shift": 3.0})),
            vae=shifted_vae(),
            text_encoder=CLIPTextModelWithProjection(text_config(words)).eval(),
            tokenizer=words,
            text_encoder_2=CLIPTextModelWithProjection(text_config(words, 16)).eval(),
            tokenizer_2=words,
            text_encoder_3=t5(pieces) if t5_there else None,
            tokenizer_3=pieces if t5_there else None,
        )
    )


DEV: dict[str, Any] = dict(use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15)
"""The scheduler of Flux.1 dev; schnell shifts nothing."""


def flux(folder: Path, *, guided: bool = True) -> Any:
    """Flux.1 dev, or schnell where it is not guided: CLIP and T5; pictures of 16 pixels, latents of 8."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    words, pieces = tokenizer(folder / "tiny-tokenizer"), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=T5_WIDTH, pooled_projection_dim=12, guidance_embeds=guided, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return quiet(
        FluxPipeline(
            transformer=loud(transformer),
            scheduler=FlowMatchEulerDiscreteScheduler(**(DEV if guided else {"shift": 1.0})),
            vae=shifted_vae(),
            text_encoder=CLIPTextModel(text_config(words)).eval(),
            tokenizer=words,
            text_encoder_2=t5(pieces),
            tokenizer_2=pieces,
        )
    )
