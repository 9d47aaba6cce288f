"""Which family of models a LoRA was made for, and a base belongs to, in words that people use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ..models.base import Base

_XL = "Stable Diffusion XL"
_BY_TEXT_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: _XL}
_FLUX, _SD3 = "Flux", "Stable Diffusion 3"
_BY_PIPELINE = {"StableDiffusionXL": _XL, "StableDiffusion3": _SD3, "Flux": _FLUX, "DiT": "DiT"}
_SIGNS = {
    _FLUX: r"single_blocks_|double_blocks[._]|single_transformer_blocks",
    _SD3: r"joint_blocks|transformer_blocks\.\d+\.attn\.add_[kq]_proj",
    "a diffusion transformer": r"^(base_model\.model\.)?(transformer|lora_transformer)[._]"
    r"|^diffusion_model\.(transformer_)?(blocks|layers)\.",
    _XL: r"^(lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.)|label_emb|add_embedding"
    r"|(attentions|blocks|block)[._]\d+([._]\d+)?[._]transformer_blocks[._][1-9]",
}
_READS_TEXT = re.compile(r"attn2[._](processor\.)?to_[kv](_lora)?\.(lora\.|lora_)?(down|A)\b")


def family_of_base(base: Base) -> str:
    """Such as 'Stable Diffusion 1'."""
    kind = type(base.pipeline).__name__
    for start, family in _BY_PIPELINE.items():
        if kind.startswith(start):
            return family
    return family_of_width(base.predictor.network.config.cross_attention_dim)


def family_of_lora(tensors: Mapping[str, Tensor], base: Base) -> str | None:
    """By names that only one family has, else by the width of the text that the network reads; None where none says."""
    for family, sign in _SIGNS.items():
        if any(re.search(sign, name) for name in tensors):
            return family
    widths = {t.shape[-1] for name, t in tensors.items() if t.ndim == 2 and _READS_TEXT.search(name)}
    if not widths:
        return None
    if widths == {getattr(base.predictor.network.config, "cross_attention_dim", None)}:
        return family_of_base(base)
    return family_of_width(min(widths))


def family_of_width(width: int) -> str:
    """The family whose network reads text of so many numbers a word."""
    return _BY_TEXT_WIDTH.get(width, f"a Stable Diffusion that reads text of {width} numbers a word")
