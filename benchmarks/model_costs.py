"""Parameters and operations of known models, counted on networks without numbers: nothing is downloaded.

    python -m benchmarks.model_costs

The configs are the public ones of the hub's repositories. What it prints stands in ``systems/models/costs.py``; a test
counts Stable Diffusion 1.5 again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def parameters_m(network: Any) -> float:
    """Millions of parameters."""
    return sum(one.numel() for one in network.parameters()) / 1e6


def operations(call: Callable[[], Any]) -> float:
    """Billions of operations of a call on the meta device."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


def _unet(**config: Any) -> Any:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**config)


def sd15() -> Any:
    """Stable Diffusion 1.5's UNet, without numbers."""
    return _unet(sample_size=64, cross_attention_dim=768)


def sd21() -> Any:
    """Stable Diffusion 2.1's."""
    return _unet(
        sample_size=96,
        cross_attention_dim=1024,
        attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True,
    )


def sdxl() -> Any:
    """Stable Diffusion XL's."""
    return _unet(
        sample_size=128,
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def vae(channels: int = 4) -> Any:
    """The autoencoder of all; flow models have 16 channels, and no convolutions about the latents."""
    from diffusers import AutoencoderKL

    config: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": channels,
        "use_quant_conv": channels == 4,
        "use_post_quant_conv": channels == 4,
    }
    with torch.device("meta"):
        return AutoencoderKL(**config)


def text_encoder(width: int, layers: int, heads: int, projection: int | None = None) -> Any:
    """A CLIP text encoder."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=projection or 512,
    )
    with torch.device("meta"):
        return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def sd3(*, medium_35: bool = False) -> Any:
    """Stable Diffusion 3 medium's transformer, or 3.5 medium's."""
    from diffusers import SD3Transformer2DModel

    config: dict[str, Any] = {
        "sample_size": 128,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": 24,
        "num_attention_heads": 24,
        "attention_head_dim": 64,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 1536,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": 384 if medium_35 else 192,
    }
    if medium_35:
        config |= {"qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13))}
    with torch.device("meta"):
        return SD3Transformer2DModel(**config)


def flux() -> Any:
    """Flux.1 dev's transformer."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        return FluxTransformer2DModel(guidance_embeds=True)


def t5() -> Any:
    """The encoder of T5 1.1 XXL."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        d_model=4096,
        d_ff=10240,
        d_kv=64,
        num_heads=64,
        num_layers=24,
        vocab_size=32128,
        feed_forward_proj="gated-gelu",
    )
    with torch.device("meta"):
        return T5EncoderModel(config)


def call_of_sd3(transformer: Any) -> float:
    """Operations of one answer for a picture of 1024 pixels and 333 words."""
    return operations(
        lambda: transformer(
            torch.zeros(1, 16, 128, 128),
            encoder_hidden_states=torch.zeros(1, 333, 4096),
            pooled_projections=torch.zeros(1, 2048),
            timestep=torch.zeros(1),
        )
    )


def call_of_flux(transformer: Any) -> float:
    """Operations of one answer for a picture of 1024 pixels and 512 words."""
    return operations(
        lambda: transformer(
            torch.zeros(1, 4096, 64),
            encoder_hidden_states=torch.zeros(1, 512, 4096),
            pooled_projections=torch.zeros(1, 768),
            timestep=torch.zeros(1),
            img_ids=torch.zeros(4096, 3),
            txt_ids=torch.zeros(512, 3),
            guidance=torch.zeros(1),
        )
    )


def dit() -> Any:
    """DiT-XL/2 at 256 pixels."""
    from diffusers import DiTTransformer2DModel

    with torch.device("meta"):
        return DiTTransformer2DModel(
            num_attention_heads=16,
            attention_head_dim=72,
            in_channels=4,
            out_channels=8,
            num_layers=28,
            sample_size=32,
        )


def shap_e() -> tuple[Any, Any, Any]:
    """Shap-E's prior, its picture encoder and its renderer."""
    from diffusers import PriorTransformer
    from diffusers.pipelines.shap_e.renderer import ShapERenderer
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with torch.device("meta"):
        prior: Any = PriorTransformer(
            num_attention_heads=8,
            attention_head_dim=128,
            num_layers=24,
            embedding_dim=1024,
            num_embeddings=1024,
            additional_embeddings=0,
            time_embed_act_fn="gelu",
            norm_in_type="layer",
            embedding_proj_norm_type="layer",
            encoder_hid_proj_type=None,
            added_emb_type=None,
            time_embed_dim=4096,
            embedding_proj_dim=1024,
            clip_embed_dim=2048,
        )
        encoder = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                patch_size=14,
            )
        )
        return prior, encoder, ShapERenderer()


def call_of_unet(unet: Any, side: int, words: int, **told: Any) -> float:
    """Operations of one answer for latents [1, 4, side, side] and 77 words."""
    return operations(
        lambda: unet(torch.zeros(1, 4, side, side), torch.zeros(1), torch.zeros(1, 77, words), **told)
    )


def main() -> None:
    """Print the table."""
    codec, clip, open_clip = vae(), text_encoder(768, 12, 12), text_encoder(1024, 23, 16)
    big = text_encoder(1280, 32, 20, 1280)
    own = {
        side: (
            operations(lambda side=side: codec.encode(torch.zeros(1, 3, side, side))),
            operations(lambda side=side: codec.decode(torch.zeros(1, 4, side // 8, side // 8))),
        )
        for side in (256, 512, 768, 1024)
    }
    with torch.device("meta"):
        told = {"added_cond_kwargs": {"text_embeds": torch.zeros(1, 1280), "time_ids": torch.zeros(1, 6)}}
    wide, xxl, projected = vae(16), t5(), text_encoder(768, 12, 12, 768)
    of_flow = (
        operations(lambda: wide.encode(torch.zeros(1, 3, 1024, 1024))),
        operations(lambda: wide.decode(torch.zeros(1, 16, 128, 128))),
    )
    three, later, of_flux = sd3(), sd3(medium_35=True), flux()
    prior, eye, renderer = shap_e()
    of_classes = dit()
    rows = {
        "sd15": ([sd15(), clip, codec], call_of_unet(sd15(), 64, 768), own[512]),
        "sd21": ([sd21(), open_clip, codec], call_of_unet(sd21(), 96, 1024), own[768]),
        "sd21-base": ([sd21(), open_clip, codec], call_of_unet(sd21(), 64, 1024), own[512]),
        "sdxl": ([sdxl(), clip, big, codec], call_of_unet(sdxl(), 128, 2048, **told), own[1024]),
        "sd3": ([three, projected, big, xxl, wide], call_of_sd3(three), of_flow),
        "sd35": ([later, projected, big, xxl, wide], call_of_sd3(later), of_flow),
        "flux": ([of_flux, clip, xxl, wide], call_of_flux(of_flux), of_flow),
        "shap-e": (
            [prior, eye, renderer],
            operations(lambda: prior(torch.zeros(1, 1024, 1024), torch.zeros(1), torch.zeros(1, 257, 1024))),
            (0.0, 0.0),
        ),
        "dit-256": (
            [of_classes, codec],
            operations(
                lambda: of_classes(
                    torch.zeros(1, 4, 32, 32), torch.zeros(1), class_labels=torch.zeros(1, dtype=torch.long)
                )
            ),
            own[256],
        ),
    }
    for name, (networks, call, (encode, decode)) in rows.items():
        count = sum(map(parameters_m, networks))
        print(
            f"{name:10} {count:8.1f} M parameters, call {call:.1f}, encode {encode:.1f}, decode {decode:.1f} GFLOP"
        )


if __name__ == "__main__":
    main()
