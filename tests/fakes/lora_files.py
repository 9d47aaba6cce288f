"""Random LoRAs for tiny pipelines, written in the layouts that people have; the names are spelt out by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

ATTENTION = ("to_q", "to_v", "to_out.0", "q_proj", "out_proj", "fc1")
CONVOLUTIONS = (
    "conv1",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
    "conv_in",
)

Tensors = dict[str, torch.Tensor]


def random_lora(
    pipe: Any, parts: Iterable[str], *, rank: int = 2, seed: int = 5, layers: tuple[str, ...] = ATTENTION
) -> Tensors:
    """Matrices of two ranks by the names of PEFT, large enough to be seen."""
    generator, made = torch.Generator().manual_seed(seed), Tensors()
    for part in parts:
        for name, module in getattr(pipe, part).named_modules():
            if not name.endswith(layers) or not hasattr(module, "weight"):
                continue
            weight, own = module.weight, rank + len(made) // 2 % 2
            down = torch.randn(own, *weight.shape[1:], generator=generator)
            up = torch.randn(len(weight), own, *(1,) * (weight.ndim - 2), generator=generator)
            made[f"{part}.{name}.lora_A.weight"] = down / down[0].numel() ** 0.5
            made[f"{part}.{name}.lora_B.weight"] = up * 0.3
    return made


def with_magnitudes(pipe: Any, tensors: Tensors, part: str = "unet", seed: int = 9) -> Tensors:
    """The same with one part as DoRA, in PEFT's names: lengths near those of the rows."""
    generator, made = torch.Generator().manual_seed(seed), dict(tensors)
    for key in [key for key in tensors if "lora_A" in key and key.startswith(f"{part}.")]:
        layer = key.removesuffix(".lora_A.weight").removeprefix(f"{part}.")
        weight = getattr(pipe, part).get_submodule(layer).weight.detach()
        lengths = weight.flatten(1).norm(dim=1) * (0.5 + torch.rand(len(weight), generator=generator))
        shape = lengths if weight.ndim == 2 else lengths.view(1, -1, 1, 1)
        made[f"{part}.{layer}.lora_magnitude_vector"] = shape
    return made


_KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


def kohya(tensors: Tensors, alpha: float | None = 1.0) -> Tensors:
    """kohya's: underscores, an alpha for each layer; None for the layer's own rank, which is scale 1."""
    made = Tensors()
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        layer, _, leaf = rest.partition(".lora_")
        if part != "unet" and not layer.startswith("text_model."):
            layer = f"text_model.{layer}"
        stem = _KOHYA[part] + layer.replace(".", "_")
        if leaf.startswith("magnitude"):
            made[f"{stem}.dora_scale"] = _column(value)
            continue
        made[f"{stem}.{'lora_down' if leaf[0] == 'A' else 'lora_up'}.weight"] = value
        if leaf[0] == "A":
            made[f"{stem}.alpha"] = torch.tensor(float(len(value) if alpha is None else alpha))
    return made


def _column(magnitude: torch.Tensor) -> torch.Tensor:
    """[out] or [1, out, 1, 1] as kohya writes it: [out, 1] or [out, 1, 1, 1]."""
    return magnitude.reshape(-1, *(1,) * (max(magnitude.ndim, 2) - 1))


_ORIGINAL = {
    # The UNet of ``tiny_pipelines``: a block with attention and one without, each of one layer; the last goes back up.
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
}
_INSIDE = {"conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
_CLIP = {
    "text_encoder": "text_encoders.clip_l.transformer.",
    "text_encoder_2": "text_encoders.clip_g.transformer.",
}


def comfyui(tensors: Tensors) -> Tensors:
    """ComfyUI's: ``diffusion_model.`` and the original names of the blocks."""
    made = Tensors()
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        rest = rest.replace(".lora_A", ".lora_down").replace(".lora_B", ".lora_up")
        if rest.endswith("lora_magnitude_vector"):
            rest, value = rest.replace("lora_magnitude_vector", "dora_scale"), _column(value)
        if part == "unet":
            block = next(one for one in _ORIGINAL if rest.startswith(f"{one}."))
            rest = _ORIGINAL[block] + rest[len(block) :]
            for ours, theirs in _INSIDE.items():
                rest = rest.replace(f".{ours}.", f".{theirs}.")
            made[f"diffusion_model.{rest}"] = value
        else:
            made[_CLIP[part] + (rest if rest.startswith("text_model.") else f"text_model.{rest}")] = value
    return made


def write(folder: Path, tensors: Tensors, name: str = "style.safetensors", **header: str) -> Path:
    """A file of them."""
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, folder / name, header)
    return folder / name
