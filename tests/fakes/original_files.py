"""Checkpoints as people download them: tiny pipelines of Stable Diffusion 1, 2 and XL, written in the original layout.

The way from diffusers' names to the original ones is found by walking through the modules in the order in which they
run, as the original counts them; nothing of the package is asked.
"""

# pyright: reportArgumentType=false

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from slipcast.systems.models.single_file.clip_tokenizer import clip_tokenizer

from .tiny_pipelines import SD_BETAS, quiet

Tensors = dict[str, Tensor]
FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl")


def pipeline(family: str) -> Any:
    """A pipeline whose configs are the real ones but for widths and depths."""
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    kind = "v_prediction" if family == "sd2-v" else "epsilon"
    scheduler = diffusers.DDIMScheduler(
        **SD_BETAS, prediction_type=kind, steps_offset=1, clip_sample=False, set_alpha_to_one=False
    )
    parts = {"vae": _vae(0.13025 if family == "sdxl" else 0.18215), "scheduler": scheduler}
    if family == "sdxl":
        parts |= {
            "text_encoder": CLIPTextModel(_clip(64, "quick_gelu")).eval(),
            "tokenizer": clip_tokenizer(),
            "text_encoder_2": CLIPTextModelWithProjection(_clip(128, "gelu")).eval(),
            "tokenizer_2": clip_tokenizer("!"),
        }
        parts["unet"] = _unet(
            (64, 64, 128), (0, 1, 2), 192, 128, [1, 1, 2], linear=True, pooled=128 + 6 * 256
        )
        return quiet(diffusers.StableDiffusionXLPipeline(**parts))
    first = family == "sd1"
    width = 64 if first else 128
    parts |= {
        "text_encoder": CLIPTextModel(_clip(width, "quick_gelu" if first else "gelu")).eval(),
        "tokenizer": clip_tokenizer() if first else clip_tokenizer("!"),
        "unet": _unet(
            (64, 128),
            (1, 0),
            width,
            96 if family == "sd2-v" else 64,
            8 if first else [1, 2],
            linear=not first,
        ),
    }
    return quiet(
        diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    )


def _unet(
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    text: int,
    side: int,
    heads: Any,
    *,
    linear: bool,
    pooled: int = 0,
) -> Any:
    from diffusers import UNet2DConditionModel

    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": pooled,
    }
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        up_block_types=["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        transformer_layers_per_block=[depth or 1 for depth in depths],
        cross_attention_dim=text,
        attention_head_dim=heads,
        use_linear_projection=linear,
        **(more if pooled else {}),
    ).eval()


def _vae(scaling_factor: float) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=scaling_factor,
    ).eval()


def _clip(width: int, activation: str) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=width // 64,
        hidden_act=activation,
        projection_dim=width,
    )


def save(pipe: Any, family: str, folder: Path) -> Path:
    """The folder, with the scheduler's config as it stands on the hub: what it does not say, samplers choose."""
    pipe.save_pretrained(folder)
    kind = {"sd1": "PNDMScheduler", "sdxl": "EulerDiscreteScheduler"}.get(family, "DDIMScheduler")
    config = {
        "_class_name": kind, "_diffusers_version": "0.6.0", **SD_BETAS, "num_train_timesteps": 1000,
        "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1,
    }  # fmt: skip
    if family == "sdxl":
        config |= {
            "timestep_spacing": "leading",
            "interpolation_type": "linear",
            "prediction_type": "epsilon",
        }
    if family == "sd2-v":
        config |= {"prediction_type": "v_prediction"}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(config))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", kind]}))
    return folder


def original(pipe: Any, family: str) -> Tensors:
    """Everything that stands in a checkpoint of this pipeline, with what training leaves in such files."""
    found = {f"model.diffusion_model.{name}": value for name, value in original_unet(pipe.unet).items()}
    found |= {f"first_stage_model.{name}": value for name, value in original_vae(pipe.vae).items()}
    if family == "sd1":
        found |= _huggingface(pipe.text_encoder, "cond_stage_model.transformer.text_model.")
        found["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
        found["model_ema.decay"] = torch.tensor(0.9999)
        found["model_ema.diffusion_modelout2bias"] = torch.zeros(4)
        found["alphas_cumprod"] = pipe.scheduler.alphas_cumprod
        found["betas"] = pipe.scheduler.betas
    elif family == "sdxl":
        found |= _huggingface(pipe.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        found |= _open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
        found["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    else:
        prefix = "cond_stage_model.model."
        found |= _open_clip(pipe.text_encoder, prefix)
        layer = f"{prefix}transformer.resblocks."  # the last one, which Stable Diffusion 2 does not read
        more = {
            name.replace(f"{layer}1.", f"{layer}2."): value
            for name, value in found.items()
            if f"{layer}1." in name
        }
        found |= {name: torch.full_like(value, 7.0) for name, value in more.items()}
        found[f"{prefix}text_projection"] = torch.zeros(128, 128)
    return {name: value.detach().clone().contiguous() for name, value in found.items()}


def write(
    pipe: Any, family: str, path: Path, notes: dict[str, str] | None = None, **changes: Tensor | None
) -> Path:
    """The file; ``changes`` sets tensors, or leaves them out where they are None (dots written as two underscores)."""
    tensors = original(pipe, family)
    for name, value in changes.items():
        key = name.replace("__", ".")
        tensors.pop(key, None)
        if value is not None:
            tensors[key] = value
    if notes is None:
        kind = pipe.scheduler.config.prediction_type
        notes = (
            {"modelspec.prediction_type": "v" if kind == "v_prediction" else "epsilon"}
            if "2" in family
            else {}
        )
    save_file(tensors, path, {"format": "pt", **notes})
    return path


def original_unet(unet: Any) -> Tensors:
    """ldm counts its blocks through: resnet and transformer are 0 and 1 of one block, a resampling closes a level."""
    places = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    count = 0
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            count += 1
            places[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{count}.0"
            places[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{count}.1"
        if block.downsamplers:
            count += 1
            places[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{count}.0.op"
    count = 0
    for i, block in enumerate(unet.up_blocks):
        for j in range(len(block.resnets)):
            places[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{count}.0"
            places[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{count}.1"
            count += 1
        if block.upsamplers:
            inner = 2 if hasattr(block, "attentions") else 1
            places[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{count - 1}.{inner}.conv"
    inner_names = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
        "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }  # fmt: skip
    return dict(_renamed(unet.state_dict(), places, inner_names))


def original_vae(vae: Any) -> Tensors:
    """ldm counts both halves from the finest level; its attention is made of 1 x 1 convolutions."""
    places, levels = {}, len(vae.config.block_out_channels)
    for half in ("encoder", "decoder"):
        places[f"{half}.conv_norm_out"] = f"{half}.norm_out"
        places[f"{half}.mid_block.attentions.0"] = f"{half}.mid.attn_1"
        for j in (0, 1):
            places[f"{half}.mid_block.resnets.{j}"] = f"{half}.mid.block_{j + 1}"
    for level in range(levels):
        for j in range(3):
            places[f"encoder.down_blocks.{level}.resnets.{j}"] = f"encoder.down.{level}.block.{j}"
            places[f"decoder.up_blocks.{levels - 1 - level}.resnets.{j}"] = f"decoder.up.{level}.block.{j}"
        places[f"encoder.down_blocks.{level}.downsamplers.0"] = f"encoder.down.{level}.downsample"
        places[f"decoder.up_blocks.{levels - 1 - level}.upsamplers.0"] = f"decoder.up.{level}.upsample"
    inner = {
        "conv_shortcut": "nin_shortcut",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
    }
    found = dict(_renamed(vae.state_dict(), places, inner))
    return {
        name: value[:, :, None, None] if "attn_1" in name and value.ndim == 2 else value
        for name, value in found.items()
    }


def _renamed(state: Tensors, places: dict[str, str], inner: dict[str, str]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        place = max((old for old in places if name.startswith(f"{old}.")), key=len, default=None)
        rest = name if place is None else name[len(place) + 1 :]
        module, leaf = rest.rpartition(".")[::2]
        rest = f"{inner[module]}.{leaf}" if module in inner else rest
        yield rest if place is None else f"{places[place]}.{rest}", value


def _huggingface(encoder: Any, prefix: str) -> Tensors:
    return {prefix + name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}


def _open_clip(encoder: Any, prefix: str) -> Tensors:
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
    }
    if "text_projection.weight" in state:
        found["text_projection"] = state["text_projection.weight"].T
    renamed = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for name, value in state.items():
        if (match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)) and match[
            2
        ] in renamed:
            found[f"transformer.resblocks.{match[1]}.{renamed[match[2]]}.{match[3]}"] = value
        elif match and match[2] == "self_attn.q_proj":
            joint = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"] = torch.cat(joint)
    return {prefix + name: value for name, value in found.items()}
