"""LoRA files (arxiv.org/abs/2106.09685) in any layout that people have, put into a base's network and text encoders.

diffusers' old layout (``to_q_lora.down``), PEFT's (``lora_A``) and kohya's (``lora_unet_..._to_q.lora_down`` with an
``alpha``) are all led to PEFT's names, part by part, and matched against the modules that are there: what matches
nothing is counted and said, for half a LoRA is another picture.
"""

from __future__ import annotations

import collections
import contextlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError, in_one_line
from ..models.base import Base
from ..models.precision import quiet_libraries
from .lora_families import family_of_base, family_of_lora

PARTS = ("unet", "text_encoder", "text_encoder_2")
MOST_UNREAD = 0.5
"""Share of a file's keys above which a LoRA that does not match is refused."""

_KOHYA = re.compile(r"lora_(unet|te|te1|te2)_")
_PEFT = re.compile(r"(?P<module>.+)\.(?P<leaf>lora_A|lora_B|lora_magnitude_vector)(?:\.weight|\.bias|)")


@dataclass
class Lora:
    """What a file says to a base: {part: {PEFT's name: tensor}}, and the keys that match nothing in it."""

    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def read_lora(path: Path, base: Base, notice: Callable[[str], None]) -> Lora:
    """The LoRA in a file, as far as it fits a base; what does not fit is told to ``notice``.

    Raises:
        SlipcastError: the file cannot be read.
        BadInput: it holds no LoRA, one of another family, or one of which more than ``MOST_UNREAD`` matches nothing.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names if any("lora" in n for n in names)}
            settings = dict(json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}")))
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise unusable(path, base, error) from error
    if not tensors:
        raise BadInput(f"{path} holds no LoRA for the network of {base.name!r}; give one made for that base")
    lora = Lora(settings=settings)
    if hasattr(base.pipeline, "lora_state_dict"):
        _sort(_by_module(tensors, base), base, lora)
    else:
        lora.unread += tensors
    if not lora.unread:
        return lora
    ours, theirs = family_of_base(base), family_of_lora(tensors, base)
    if theirs not in (None, ours):
        raise BadInput(
            f"{path} is a LoRA for {theirs}, and the base {base.name!r} is {ours}; give a LoRA made for that base, "
            "or choose the LoRA's own with --base"
        )
    said = (
        f"{len(lora.unread)} of {len(tensors)} keys of the LoRA {path} match nothing in the base {base.name!r} "
        f"({ours}), such as {lora.unread[0]}"
    )
    if len(lora.unread) > MOST_UNREAD * len(tensors):
        raise BadInput(f"{said}; give a LoRA made for that base")
    notice(f"{said}; they are left out")
    return lora


def unusable(path: Path, base: Base, error: Exception) -> SlipcastError:
    """The error for a file that breaks a library."""
    return SlipcastError(f"{path} cannot be used as a LoRA of {base.name!r} ({in_one_line(error)})")


def _by_module(tensors: dict[str, Tensor], base: Base) -> Iterator[tuple[list[str], dict[str, Tensor]]]:
    """(the file's keys, tensors by the names of diffusers or PEFT) of each module, or of each single tensor.

    kohya's have their alpha / rank multiplied in, so that every layout has scale 1.
    """
    groups = collections.defaultdict[str, dict[str, Tensor]](dict)
    for key, tensor in tensors.items():
        if not _KOHYA.match(key):
            yield [key], {key: tensor}
            continue
        module, _, leaf = key.partition(".")
        groups[module][leaf] = tensor
    for module, leaves in groups.items():
        keys = [f"{module}.{leaf}" for leaf in leaves]
        alpha = leaves.pop("alpha", None)
        plain = set(leaves) == {"lora_down.weight", "lora_up.weight"}  # no LoHa, LoKr, DoRA, Tucker factors
        if not plain or (alpha is not None and alpha.numel() != 1):
            yield keys, {}
            continue
        if alpha is not None:
            scale = float(alpha) / max(1, len(leaves["lora_down.weight"]))
            leaves["lora_up.weight"] = leaves["lora_up.weight"].float() * scale
        yield keys, _diffusers_names({f"{module}.{leaf}": value for leaf, value in leaves.items()}, base)


def _diffusers_names(module: dict[str, Tensor], base: Base) -> dict[str, Tensor]:
    """One kohya module by diffusers' names; nothing where diffusers knows no name for it."""
    try:
        return base.pipeline.lora_state_dict(module, unet_config=base.predictor.network.config)[0]
    except (ValueError, IndexError, KeyError):  # how its table of names says so
        return {}


def _sort(modules: Iterator[tuple[list[str], dict[str, Tensor]]], base: Base, lora: Lora) -> None:
    """Fill ``parts`` and ``unread``."""
    there = {part: dict(net.named_modules()) for part in PARTS if (net := part_of(base, part)) is not None}
    found: dict[tuple[str, str], dict[str, tuple[list[str], Tensor]]] = collections.defaultdict(dict)
    for keys, tensors in modules:
        placed = [_place(name, tensor, there) for name, tensor in tensors.items()]
        if not placed or None in placed:
            lora.unread += keys
            continue
        for (part, module, leaf), tensor in zip((p for p in placed if p), tensors.values(), strict=True):
            found[part, module][leaf] = keys, tensor
    for (part, module), leaves in found.items():
        if {"lora_A.weight", "lora_B.weight"} <= set(leaves):
            whole = {f"{module}.{leaf}": tensor for leaf, (_, tensor) in leaves.items()}
            lora.parts.setdefault(part, {}).update(whole)
        else:
            lora.unread += [key for keys, _ in leaves.values() for key in keys]


def _place(name: str, tensor: Tensor, there: dict[str, dict[str, Any]]) -> tuple[str, str, str] | None:
    """(part, module, leaf) of a tensor by PEFT's names; None where the base has no such module, or of another size."""
    from diffusers.utils import state_dict_utils as tables

    part, _, name = name.partition(".")
    if part not in there:
        return None
    text = tables.DIFFUSERS_OLD_TO_PEFT | tables.DIFFUSERS_TO_PEFT
    (name,) = tables.convert_state_dict({name: tensor}, tables.UNET_TO_DIFFUSERS if part == "unet" else text)
    found = _PEFT.fullmatch(name)
    if found is None:
        return None
    # transformers' CLIP lost this level of names in its fifth version; files of both kinds are about.
    plain = found["module"].removeprefix("text_model.")
    module = next((m for m in (plain, f"text_model.{plain}") if m in there[part]), None)
    if module is None or not _fits(there[part][module], found["leaf"], tensor):
        return None
    return part, module, name[len(found["module"]) + 1 :]


def _fits(module: Any, leaf: str, tensor: Tensor) -> bool:
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim < 2:
        return False
    axis = 1 if leaf == "lora_A" else 0
    return tensor.shape[axis if tensor.ndim > 1 else 0] == weight.shape[axis]


def part_of(base: Base, part: str) -> Any:
    """The base's network or text encoder of that name, None where it has none."""
    return base.predictor.network if part == "unet" else getattr(base.pipeline, part, None)


def put_in(lora: Lora, base: Base, adapter: str) -> list[Any]:
    """Add the adapter to every part that the LoRA speaks of, switched off; the text encoders among them."""
    from diffusers.utils import set_adapter_layers

    encoders = []
    with quiet_libraries(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several are what we want
        for part, tensors in lora.parts.items():
            network = part_of(base, part)
            settings = _settings(part, tensors, lora.settings)
            if part == "unet":
                weights = {f"unet.{name}": tensor for name, tensor in tensors.items()}
                named = {f"unet.{name}": value for name, value in settings.items()} or None
                network.load_lora_adapter(weights, prefix="unet", adapter_name=adapter, metadata=named)
                network.to(memory_format=torch.channels_last)  # as ``ready`` laid out the base: mixed is slow
            else:
                _into_text_encoder(network, tensors, settings, adapter)
                encoders.append(network)
            network.requires_grad_(False).eval()
            set_adapter_layers(network, enabled=False)
    return encoders


def _settings(part: str, tensors: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    """The trainer's own LoraConfig of a part, if the file has one, for the modules that are here."""
    own = {k.removeprefix(f"{part}."): v for k, v in settings.items() if k.startswith(f"{part}.")}
    return own and own | {"target_modules": _modules(tensors), "init_lora_weights": True}


def _modules(tensors: dict[str, Tensor]) -> list[str]:
    return sorted({name.split(".lora_")[0] for name in tensors})


def _into_text_encoder(
    encoder: Any, tensors: dict[str, Tensor], settings: dict[str, Any], adapter: str
) -> None:
    from peft import LoraConfig

    if not settings:
        ranks = {name.split(".lora_")[0]: len(t) for name, t in tensors.items() if ".lora_A" in name}
        settings = {
            "r": next(iter(ranks.values())),
            "lora_alpha": next(iter(ranks.values())),
            "rank_pattern": ranks,
            "alpha_pattern": ranks,
            "target_modules": _modules(tensors),
            "use_dora": any("lora_magnitude_vector" in name for name in tensors),
        }
    encoder.load_adapter(adapter_name=adapter, adapter_state_dict=tensors, peft_config=LoraConfig(**settings))
    encoder.to(device=encoder.device, dtype=encoder.dtype)


@contextlib.contextmanager
def switched_on(networks: Sequence[Any], adapter: str, scale: float) -> Iterator[None]:
    """An adapter works in these text encoders, and nowhere outside of the block."""
    from diffusers.utils import set_adapter_layers, set_weights_and_activate_adapters

    for network in networks:
        set_weights_and_activate_adapters(network, [adapter], [scale])
        set_adapter_layers(network, enabled=True)
    try:
        yield
    finally:
        for network in networks:
            set_adapter_layers(network, enabled=False)
