"""Real diffusers pipelines with tiny random networks of a few thousand numbers: SD 1, SD 2, SDXL, DiT, ControlNet."""

# pyright: reportArgumentType=false
# diffusers annotates the types of its defaults ("tuple[int]"), not the types that it takes.

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SD_BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def tokenizer(folder: Path, *more: str) -> Any:
    """A CLIP tokenizer that spells every word in letters, and knows ``more`` tokens."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        "te",
        "<|startoftext|>",
        "<|endoftext|>",
        *more,
    ]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt e\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def text_config(words: Any, width: int = 12) -> Any:
    """A two-layer text encoder."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=10,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )


def vae() -> Any:
    """An autoencoder of 2 x 2 patches: pictures of 16 pixels, latents of 8."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    ).eval()


def unet(width: int = 12, **options: Any) -> Any:
    """A text-conditional UNet on latents [B, 4, 8, 8]."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        **options,
    ).eval()


def controlnet(of: Any, seed: int = 3) -> Any:
    """A ControlNet of a UNet whose zero convolutions are not zero, so that it says something."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(of, conditioning_embedding_out_channels=(4, 8)).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return network


def stable_diffusion(
    folder: Path, *, prediction_type: str = "epsilon", scheduler: str = "DDIMScheduler"
) -> Any:
    """SD 1 (epsilon) or SD 2 (v_prediction)."""
    import diffusers
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    words = tokenizer(folder / "tiny-tokenizer")
    options = {"clip_sample": False} if scheduler == "DDIMScheduler" else {}
    return quiet(
        diffusers.StableDiffusionPipeline(
            vae=vae(),
            text_encoder=CLIPTextModel(text_config(words)).eval(),
            tokenizer=words,
            unet=unet(),
            scheduler=getattr(diffusers, scheduler)(
                **SD_BETAS, prediction_type=prediction_type, steps_offset=1, **options
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def sdxl(folder: Path) -> Any:
    """SDXL: two text encoders, pooled text, picture sizes."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    words = tokenizer(folder / "tiny-tokenizer")
    network = unet(
        24,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 10,
    )
    return quiet(
        StableDiffusionXLPipeline(
            vae=vae(),
            text_encoder=CLIPTextModel(text_config(words)).eval(),
            text_encoder_2=CLIPTextModelWithProjection(text_config(words)).eval(),
            tokenizer=words,
            tokenizer_2=words,
            unet=network,
            scheduler=DDIMScheduler(**SD_BETAS, steps_offset=1, clip_sample=False),
        )
    )


def dit() -> Any:
    """DiT with 1,000 classes and learned variance."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=1000,
    ).eval()
    return quiet(
        DiTPipeline(
            transformer=transformer,
            vae=vae(),
            scheduler=DDIMScheduler(clip_sample=False),
            id2label={1: "teapot, pot", 2: "vase"},
        )
    )


def quiet(pipeline: Any) -> Any:
    """Without a progress bar."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
