"""How LoRA files name things: of which layer of which part a key speaks; diffusers, PEFT, kohya, ComfyUI.

A layout is told by its keys alone. What they have in common: a prefix for the part, the layer's name with dots or, in
kohya's, underscores, in diffusers' words or in those of the original Stable Diffusion, and an ending that says which
matrix it is. So all are looked up in one table of each part's layers, their names joined by underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

PARTS = ("unet", "text_encoder", "text_encoder_2")
"""``unet`` is the network that denoises, which in some families is called transformer."""

_PREFIXES = (
    (r"unet\.|transformer\.|lora_(?:unet|transformer)_|(?:model\.)?diffusion_model\.", "unet"),
    (r"text_encoder_2\.|lora_te2_|text_encoders\.clip_g\.(?:transformer\.)?", "text_encoder_2"),
    (r"text_encoder\.|lora_te1?_|text_encoders\.clip_[lh]\.(?:transformer\.)?", "text_encoder"),
)
_PEFT = "base_model.model."
_ENDINGS = (
    (r"[._]lora\.(down|up)\.weight|\.lora_linear_layer\.(down|up)\.weight|\.lora_(down|up|mid)\.weight", {}),
    (r"\.lora_(A|B)(?:\.(?!bias)\w+)??(?:\.weight)?", {"A": "down", "B": "up"}),
    (r"\.(lora_magnitude_vector)(?:\.\w+)?|\.(dora_scale)", {"lora_magnitude_vector": "magnitude"}),
    (r"\.(alpha)", {}),
)
_KEY = re.compile("(?P<layer>.+?)(?:" + "|".join(pattern for pattern, _ in _ENDINGS) + ")")
_LEAVES = {name: leaf for _, names in _ENDINGS for name, leaf in names.items()}

_OTHER_KINDS = {
    "LoHa": r"[._]hada_",
    "LoKr": r"[._]lokr_",
    "OFT or BOFT": r"[._](oft|boft)_",
    "IA3": r"[._]ia3_|\.on_input$",
    "GLoRA": r"\.[ab][12]\.weight$",
    "set of whole differences": r"\.diff(_b)?$",
}
"""Adapters that are no LoRAs, by a key that only they have."""


class Place(NamedTuple):
    """What a key speaks of.

    Attributes:
        part: of ``PARTS``; None where the file does not say.
        layer: the layer's name joined by underscores.
        leaf: ``down``, ``up``, ``mid``, ``magnitude``, ``dora_scale`` (kohya's magnitude) or ``alpha``.
    """

    part: str | None
    layer: str
    leaf: str


def place_of(key: str) -> Place | None:
    """What a key of any layout speaks of; None where it is no LoRA's."""
    rest, part = key.removeprefix(_PEFT), None
    for pattern, name in _PREFIXES:
        if found := re.match(pattern, rest):
            rest, part = rest[found.end() :].removeprefix(_PEFT), name
            break
    match = _KEY.fullmatch(rest)
    if match is None:
        return None
    leaf = next(one for one in match.groups()[1:] if one)
    # The oldest layout of diffusers kept its matrices in attention processors.
    layer = match["layer"].replace(".processor", "").replace(".", "_")
    return Place(part, layer, _LEAVES.get(leaf, leaf))


def kind_of_adapter(keys: Iterable[str]) -> str | None:
    """Which other kind of adapter these keys belong to, such as 'LoHa'; None for none of those known."""
    keys = list(keys)
    return next((kind for kind, sign in _OTHER_KINDS.items() if any(re.search(sign, k) for k in keys)), None)


def layers_of(part: str, network: Any) -> dict[str, str]:
    """{every name that files have for a layer, joined by underscores: its name in the network}."""
    from torch import nn

    names = [name for name, one in network.named_modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    spelt = _network_names(network, names) if part == "unet" else {name: _text_names(name) for name in names}
    return {other.replace(".", "_"): name for name, others in spelt.items() for other in (*others, name)}


def _network_names(network: Any, names: Iterable[str]) -> Mapping[str, list[str]]:
    """The original names of a network's layers (CompVis' and Stability's: ``input_blocks.1.1...``), and older ones."""
    blocks, found = _original_blocks(network), {}
    for name in names:
        block = next((one for one in blocks if name == one or name.startswith(f"{one}.")), None)
        others = [name.removesuffix(".0")] if name.endswith("to_out.0") else []
        if block is not None:
            inside = name[len(block) :]
            if "resnets" in block:
                for ours, theirs in _RESNET.items():
                    inside = inside.replace(ours, theirs)
            others.append(blocks[block] + inside)
        found[name] = others
    return found


_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def _original_blocks(unet: Any) -> dict[str, str]:
    """{block of diffusers: the same one in the original layout}, counted as that one counts: one number a layer."""
    table = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    number = 1
    for i, block in enumerate(getattr(unet, "down_blocks", ())):
        for j in range(len(block.resnets)):
            table[f"down_blocks.{i}.resnets.{j}"] = f"input_blocks.{number}.0"
            table[f"down_blocks.{i}.attentions.{j}"] = f"input_blocks.{number}.1"
            number += 1
        if block.downsamplers:
            table[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
            number += 1
    number = 0
    for i, block in enumerate(getattr(unet, "up_blocks", ())):
        for j in range(len(block.resnets)):
            table[f"up_blocks.{i}.resnets.{j}"] = f"output_blocks.{number}.0"
            table[f"up_blocks.{i}.attentions.{j}"] = f"output_blocks.{number}.1"
            number += 1
        if block.upsamplers:
            behind = 2 if hasattr(block, "attentions") else 1
            table[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{number - 1}.{behind}.conv"
    return table


_ATTENTION = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


def _text_names(name: str) -> list[str]:
    """A text encoder's layer with and without the level ``text_model``, and as diffusers once called attention.

    transformers' CLIP lost this level of names in its fifth version; files of both kinds are about.
    """
    plain = name.removeprefix("text_model.")
    stem, _, last = plain.rpartition(".")
    spellings = [plain, *([f"{stem}.{_ATTENTION[last]}"] if last in _ATTENTION else [])]
    return [*spellings, *(f"text_model.{one}" for one in spellings)]
