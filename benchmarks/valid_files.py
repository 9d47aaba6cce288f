"""Small valid files of the kinds that people give: pictures of every format, LoRAs of two layouts, a mesh."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from slipcast.systems.models.base import Base
from slipcast.systems.types import Mesh

_SEED = 3


def solid() -> Mesh:
    """A tetrahedron with all maps."""
    corners = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], np.float32) / 2
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    normals = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return Mesh(corners, faces, normals, uv, picture, picture, picture)


def lora_files(base: Base) -> list[bytes]:
    """One by PEFT's names with a trainer's settings, one by kohya's with an alpha."""
    module = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    weight = base.predictor.network.get_submodule(module).weight
    rank = {"down": torch.zeros(2, weight.shape[1]), "up": torch.zeros(weight.shape[0], 2)}
    return [
        save({f"unet.{module}.lora_{name}.weight": rank[part].clone() for name, part in (("A", "down"), ("B", "up"))},
             {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 2})}),
        save({f"lora_unet_{module.replace('.', '_')}.lora_{part}.weight": rank[part].clone() for part in rank}
             | {f"lora_unet_{module.replace('.', '_')}.alpha": torch.tensor(2.0)}),
    ]  # fmt: skip


def pictures() -> list[bytes]:
    """Noise, 24 pixels a side, in the formats and modes that are about."""
    levels = random.Random(_SEED).randbytes(24 * 24 * 4)
    rgba = Image.frombytes("RGBA", (24, 24), levels)
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        _saved(rgba, "PNG"), _saved(rgba.convert("RGB"), "PNG"), _saved(rgba.convert("P"), "PNG"),
        _saved(rgba.convert("LA"), "PNG"),
        _saved(Image.fromarray(np.frombuffer(levels, np.uint16)[:576].reshape(24, 24)), "PNG"),
        _saved(rgba.convert("RGB"), "JPEG", exif=exif), _saved(rgba.convert("L"), "JPEG"), _saved(rgba, "WEBP"),
        _saved(rgba.convert("P"), "GIF"), _saved(rgba.convert("RGB"), "BMP"), _saved(rgba, "TIFF"),
        _saved(Image.fromarray(np.linspace(0, 1, 576, dtype=np.float32).reshape(24, 24)), "TIFF"),
    ]  # fmt: skip


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
