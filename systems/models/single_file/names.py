"""From the original names of weights to diffusers' and transformers': pure text, one weight at a time.

Sources: CompVis/stable-diffusion (ldm), Stability-AI/generative-models (sgm), mlfoundations/open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OPEN_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_OPEN_CLIP_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}


def unet_name(name: str, layers: int) -> str | None:
    """diffusers' name of a weight of ldm's UNet; None for one that it has not.

    Blocks are counted through in the original, and by level in diffusers: ``layers`` resnets and a resampling each on
    the way down, one more on the way up.

    Args:
        name: without ``model.diffusion_model.``.
    """
    module, _, leaf = name.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{leaf}"
    if found := re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", module):
        side, block, place, inner = found[1], int(found[2]), int(found[3]), found[4]
        level, index = divmod(block - (side == "input"), layers + 1)
        where = "down_blocks" if side == "input" else "up_blocks"
        if inner in ("op", "conv"):
            return f"{where}.{level}.{'down' if inner == 'op' else 'up'}samplers.0.conv.{leaf}"
        return _unet_block(f"{where}.{level}", index, place, inner, leaf)
    if found := re.fullmatch(r"middle_block\.([012])\.(.+)", module):
        place = int(found[1])
        return _unet_block("mid_block", place // 2, place % 2, found[2], leaf)
    return None


def _unet_block(block: str, index: int, place: int, inner: str, leaf: str) -> str | None:
    """A weight of a resnet (place 0) or of a transformer (place 1), whose inner names are the same in both."""
    if place == 0:
        return f"{block}.resnets.{index}.{_RESNET[inner]}.{leaf}" if inner in _RESNET else None
    return f"{block}.attentions.{index}.{inner}.{leaf}" if place == 1 else None


def vae_name(name: str, levels: int) -> str | None:
    """diffusers' name of a weight of ldm's autoencoder; None for one that it has not.

    The original counts the decoder's levels from the finest, diffusers from the coarsest.
    """
    module, _, leaf = name.rpartition(".")
    if module in ("quant_conv", "post_quant_conv"):
        return name
    half, _, inner = module.partition(".")
    if half not in ("encoder", "decoder"):
        return None
    if inner in ("conv_in", "conv_out", "norm_out"):
        return f"{half}.{inner.replace('norm_out', 'conv_norm_out')}.{leaf}"
    if found := re.fullmatch(r"mid\.block_([12])\.(.+)", inner):
        return f"{half}.mid_block.resnets.{int(found[1]) - 1}.{_shortcut(found[2])}.{leaf}"
    if (found := re.fullmatch(r"mid\.attn_1\.(.+)", inner)) and found[1] in _VAE_ATTENTION:
        return f"{half}.mid_block.attentions.0.{_VAE_ATTENTION[found[1]]}.{leaf}"
    if found := re.fullmatch(r"(down|up)\.(\d+)\.(?:block\.(\d+)\.(.+)|(down|up)sample\.conv)", inner):
        side, level = found[1], int(found[2])
        where = f"{half}.{side}_blocks.{level if side == 'down' else levels - 1 - level}"
        if found[5]:
            return f"{where}.{side}samplers.0.conv.{leaf}"
        return f"{where}.resnets.{found[3]}.{_shortcut(found[4])}.{leaf}"
    return None


def _shortcut(name: str) -> str:
    return name.replace("nin_shortcut", "conv_shortcut")


def open_clip_names(name: str) -> tuple[str, ...]:
    """transformers' names of a weight of an OpenCLIP text encoder, without ``text_model.``; none for one it has not.

    Three for the joint projection of queries, keys and values, which is cut into them in this order.
    """
    if name in _OPEN_CLIP_ENDS:
        return (_OPEN_CLIP_ENDS[name],)
    if name == "text_projection":
        return ("text_projection.weight",)
    if not (found := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", name)):
        return ()
    layer, inner = f"encoder.layers.{found[1]}", found[2]
    if inner in ("attn.in_proj_weight", "attn.in_proj_bias"):
        leaf = inner.rpartition("_")[2]
        return tuple(f"{layer}.self_attn.{part}_proj.{leaf}" for part in "qkv")
    module, _, leaf = inner.rpartition(".")
    return (f"{layer}.{_OPEN_CLIP_LAYER[module]}.{leaf}",) if module in _OPEN_CLIP_LAYER else ()


def first_downsampling(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The number of resnets of a level of ldm's UNet: its first resampling stands right behind them."""
    blocks = [
        int(name.split(".")[1]) for name in shapes if re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", name)
    ]
    if blocks:
        return min(blocks) - 1
    return max(int(name.split(".")[1]) for name in shapes if name.startswith("input_blocks."))
