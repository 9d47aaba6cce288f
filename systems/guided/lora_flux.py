"""How the original Flux calls its layers, in LoRAs of kohya and ComfyUI: several of diffusers' lie in one of them.

An adapter of rows one after the other is one adapter each: A is the same for all, and B is cut. Names as in
diffusers' converter of such files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
}
_SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}


class Rows(NamedTuple):
    """A layer of the network, and which rows of the original one it is."""

    layer: str
    first: int
    end: int


def original_flux_layers(network: Any) -> dict[str, list[Rows]]:
    """{the original's name of a layer, joined by underscores: the network's layers in it}; empty for other networks."""
    found: dict[str, list[Rows]] = {}
    for theirs, ours, names in (
        ("double_blocks", "transformer_blocks", _DOUBLE),
        ("single_blocks", "single_transformer_blocks", _SINGLE),
    ):
        count = len(getattr(network, ours, ())) if hasattr(network, "single_transformer_blocks") else 0
        for i in range(count):
            for name, parts in names.items():
                rows, first = [], 0
                for part in parts:
                    layer = f"{ours}.{i}.{part}"
                    end = first + network.get_submodule(layer).out_features
                    rows.append(Rows(layer, first, end))
                    first = end
                found[f"{theirs}_{i}_{name.replace('.', '_')}"] = rows
    return found
