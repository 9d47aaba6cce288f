"""LoRA files (arxiv.org/abs/2106.09685) in any layout that people have, put into a base's network and text encoders.

What matches nothing in the base is counted and said, for half a LoRA is another picture.
"""

from __future__ import annotations

import collections
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...configs.atomic import fingerprint, read_json_object
from ...configs.errors import BadInput, SlipcastError, in_one_line
from ...guidance.low_rank import LowRank, put_in
from ...guidance.networks import AdaptedPredictor
from ..models.base import Base
from ..models.identity import sha256_once
from .lora_families import family_of_base, family_of_lora
from .lora_flux import Rows, original_flux_layers
from .lora_layouts import PARTS, kind_of_adapter, layers_of, place_of

MOST_UNREAD = 0.5
"""Share of a file's keys above which a LoRA that does not match is refused."""

_CONFIG = "adapter_config.json"
_NUMBERS = itertools.count()  # adapters of one process never share a name


@dataclass
class Lora:
    """What a file says to a base: {part: {layer: its adapter}}, and the keys that match nothing in it."""

    parts: dict[str, dict[str, LowRank]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)


def lora_files(where: Path) -> list[Path]:
    """The weights of a LoRA: the file itself, those of PEFT's or diffusers' folder, or a folder's only one; or none."""
    if where.is_file():
        return [where]
    known = [where / "pytorch_lora_weights.safetensors"]
    known += [place / "adapter_model.safetensors" for place in (where, *(where / part for part in PARTS))]
    if found := [path for path in known if path.is_file()]:
        return found
    alone = sorted(where.glob("*.safetensors"))
    return alone if len(alone) == 1 and not any(where.glob("*.json")) else []


def lora_identity(where: Path) -> str:
    """A hash of a LoRA's files: for a single file, its sha256."""
    files = lora_files(where)
    if files != [where]:
        files += [path for file in files if (path := file.parent / _CONFIG).is_file()]
    hashes = {path.relative_to(where).as_posix(): sha256_once(path) for path in files}
    return fingerprint(hashes) if len(hashes) > 1 else next(iter(hashes.values()))


def lora_licence(where: Path) -> str:
    """What the file's header says of its licence (``modelspec.license``), else 'unknown'."""
    for path in lora_files(where):
        try:
            with safe_open(path, framework="pt") as file:
                told = file.metadata() or {}
        except (OSError, SafetensorError):
            continue  # said where it is read
        if text := told.get("modelspec.license") or told.get("license"):
            return text
    return "unknown"


def with_loras(
    base: Base,
    loras: Sequence[tuple[Path, float]],
    notice: Callable[[str], None] = lambda sentence: None,
    *,
    name: str | None = None,
) -> Base:
    """The base with LoRAs in its own network and text encoders, beside those that it has: a model of its own.

    The plain base goes on without them: nothing is loaded twice, and what one says the other never hears.

    Args:
        loras: where each lies, and its strength; one of strength 0 is looked at, and then left out.
        notice: told which part of a LoRA matches nothing.
        name: of the adapted network, in sentences.
    Raises: BadInput for a LoRA that does not fit, or cannot be read.
    """
    strengths, parts = dict(base.loras), set[str]()
    for where, strength in loras:
        lora = read_lora(where, base, notice)
        if strength == 0:
            continue
        adapter = f"lora_{next(_NUMBERS)}"
        for part, layers in lora.parts.items():
            put_in(part_of(base, part), adapter, layers)
        parts |= lora.parts.keys()
        strengths[adapter] = strength
    if strengths == base.loras:
        return base
    predictor: Any = base.predictor
    if "unet" in parts:
        plain = predictor.plain if isinstance(predictor, AdaptedPredictor) else predictor
        called = name or " + ".join([predictor.name, *(where.stem for where, s in loras if s)])
        predictor = AdaptedPredictor(plain, strengths, name=called)
    return replace(base, predictor=predictor, loras=strengths)


def read_lora(where: Path, base: Base, notice: Callable[[str], None]) -> Lora:
    """The LoRA in a file or folder, as far as it fits a base; what does not fit is told to ``notice``.

    Raises:
        BadInput: a file cannot be read, holds no LoRA, another kind of adapter, a LoRA of another family, one of which
            more than ``MOST_UNREAD`` matches nothing, or numbers that are none.
    """
    lora, keys = Lora(), dict[str, Tensor]()
    for path in lora_files(where):
        try:
            tensors, settings = _opened(path, folder=path != where)
            keys |= tensors
            _sort(tensors, settings, base, lora)
        except (
            OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError, re.error,
        ) as error:  # fmt: skip
            if isinstance(error, SlipcastError):
                raise
            raise _unusable(where, base, error) from error
    kind = kind_of_adapter(keys)
    if not any(place_of(key) for key in keys) and kind is None:
        raise BadInput(f"{where} holds no LoRA for the network of {base.name!r}; give one made for that base")
    if not lora.unread:
        _refuse_broken_numbers(where, lora)
        return lora
    few = len(lora.unread) <= MOST_UNREAD * len(keys)
    if kind is not None and not few:
        raise BadInput(f"{where} is a {kind}, which slipcast does not read; give a LoRA")
    ours, theirs = family_of_base(base), family_of_lora(keys, base)
    if theirs not in (None, ours):
        raise BadInput(
            f"{where} is a LoRA for {theirs}, and the base {base.name!r} is {ours}; give a LoRA made for that base, "
            "or choose the LoRA's own with --base"
        )
    said = (
        f"{len(lora.unread)} of {len(keys)} keys of the LoRA {where} match nothing in the base {base.name!r} "
        f"({ours}), such as {lora.unread[0]}"
    )
    if not few:
        raise BadInput(f"{said}; give a LoRA made for that base")
    _refuse_broken_numbers(where, lora)
    notice(f"{said}; they are left out")
    return lora


def _unusable(path: Path, base: Base, error: Exception) -> BadInput:
    return BadInput(f"{path} cannot be used as a LoRA of {base.name!r} ({in_one_line(error)})")


def _opened(path: Path, *, folder: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A file's tensors, and the trainer's settings: of its header (diffusers), or beside it (PEFT)."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = dict(json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}")))
    beside = path.parent / _CONFIG
    if folder and beside.is_file():
        settings = read_json_object(beside, "the LoRA's settings")
        kind = settings.get("peft_type", "LORA")
        if kind != "LORA":
            raise BadInput(f"{beside} is of a {kind}, which slipcast does not read; give a LoRA")
        settings["part"] = path.parent.name if path.parent.name in PARTS else None
    return tensors, settings


def _sort(tensors: Mapping[str, Tensor], settings: dict[str, Any], base: Base, lora: Lora) -> None:
    """Fill ``parts`` and ``unread`` from one file."""
    networks = {part: net for part in PARTS if (net := part_of(base, part)) is not None}
    tables = {part: layers_of(part, network) for part, network in networks.items()}
    joint = original_flux_layers(networks["unet"]) if "unet" in networks else {}
    groups = collections.defaultdict[tuple[str | None, str], dict[str, tuple[str, Tensor]]](dict)
    for key, tensor in tensors.items():
        place = place_of(key)
        if place is None or place.leaf in groups[place.part, place.layer]:
            lora.unread.append(key)
        else:
            groups[place.part, place.layer][place.leaf] = key, tensor
    for (part, joined), leaves in groups.items():
        matrices = {leaf: t for leaf, (_, t) in leaves.items()}
        for one in _parts_to_try(part or settings.get("part"), settings, networks):
            known = tables[one].get(joined)
            split = joint.get(joined, []) if one == "unet" and known is None else []
            wanted = {known: matrices} if known else {r.layer: _rows(matrices, r) for r in split}
            if not wanted or wanted.keys() & lora.parts.get(one, {}).keys():
                continue
            made = {
                name: _adapter(own, networks[one].get_submodule(name), _scale(settings, one, name))
                for name, own in wanted.items()
            }
            fitting = {name: adapter for name, adapter in made.items() if adapter is not None}
            if len(fitting) == len(made):
                lora.parts.setdefault(one, {}).update(fitting)
                break
        else:
            lora.unread += [key for key, _ in leaves.values()]


def _rows(matrices: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
    """What a layer of an adapter of several has of its matrices: its own rows of B and of magnitudes."""
    cut = ("up", "magnitude", "dora_scale")
    return {leaf: t[rows.first : rows.end] if leaf in cut else t for leaf, t in matrices.items()}


def _parts_to_try(part: str | None, settings: Mapping[str, Any], networks: Mapping[str, Any]) -> list[str]:
    """The part that a key names; else those whose class PEFT wrote down, or all."""
    if part is not None:
        return [part] if part in networks else []
    told = (settings.get("auto_mapping") or {}).get("base_model_class")
    return [one for one, net in networks.items() if type(net).__name__ == told] or list(networks)


def _scale(settings: Mapping[str, Any], part: str, layer: str) -> Callable[[int], float] | None:
    """rank -> factor by the trainer's settings (PEFT's ``LoraConfig``); None where there are none for that part."""
    called = (part, "transformer") if part == "unet" else (part,)
    own = {k.partition(".")[2]: v for k, v in settings.items() if k.partition(".")[0] in called}
    own = own or (settings if "lora_alpha" in settings else {})
    if not own:
        return None
    # PEFT's rule: a pattern is the end of a layer's name, or a regular expression for it.
    patterns = (own.get("alpha_pattern") or {}).items()
    alpha = next((a for p, a in patterns if re.match(rf"(.*\.)?({p})$", layer)), own.get("lora_alpha", 8))
    return lambda rank: float(alpha) / (math.sqrt(rank) if own.get("use_rslora") else rank)


def _adapter(leaves: dict[str, Tensor], layer: Any, told: Callable[[int], float] | None) -> LowRank | None:
    """The adapter of a layer out of its matrices; None where some are missing or do not fit."""
    down, up, alpha = leaves.get("down"), leaves.get("up"), leaves.get("alpha")
    if down is None or up is None or min(down.ndim, up.ndim) < 2 or not len(down):
        return None
    if alpha is not None and alpha.numel() != 1:
        return None
    rank = len(down) if leaves.get("mid") is None else up.shape[1]
    scale = float(alpha) / rank if alpha is not None else 1.0 if told is None else told(rank)
    if (mid := leaves.get("mid")) is not None:  # kohya's Tucker form of a convolution: B (M (A x))
        if mid.ndim != 4 or mid.shape[:2] != (rank, len(down)):
            return None
        down = torch.einsum("ijkl,jr->irkl", mid.float(), down.float().flatten(1))
    if isinstance(layer, nn.Linear):  # some trainers write a linear layer as a convolution of one pixel
        down, up = down.flatten(1), up.flatten(1)
    elif down.ndim == 2:
        down, up = down[:, :, None, None], up[:, :, None, None]
    fits = down.shape[1:] == layer.weight.shape[1:] and up.shape[:2] == (len(layer.weight), len(down))
    if not fits or up[0].numel() != len(down):
        return None
    magnitude = leaves.get("magnitude", leaves.get("dora_scale"))
    if magnitude is not None:
        # kohya's may lie along the other axis, which is another method.
        if magnitude.numel() != len(up) or ("dora_scale" in leaves and len(magnitude) != len(up)):
            return None
        magnitude = magnitude.flatten()
    return LowRank(down, up, scale=scale, magnitude=magnitude)


def _refuse_broken_numbers(where: Path, lora: Lora) -> None:
    for part, layers in lora.parts.items():
        for name, one in layers.items():
            if not (
                math.isfinite(one.scale) and all(bool(b.float().isfinite().all()) for b in one.buffers())
            ):
                raise BadInput(f"{where} holds NaN or infinity in {part}.{name}; get the file again")


def part_of(base: Base, part: str) -> Any:
    """The base's network (``unet``) or text encoder of that name, None where it has none."""
    if part == "unet":
        return base.predictor.network if base.family.reads == "text" else None
    return getattr(base.pipeline, part, None)
