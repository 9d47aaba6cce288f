"""Which files of a model in diffusers' layout are read, in which precision, and whether reading them can run code.

A pipeline is a folder with ``model_index.json`` and a folder per part; a single network (a ControlNet, a VAE) is a
folder with ``config.json``. Weights come as safetensors or as pickles (.bin), in one precision or two (``.fp16.``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput

MODEL_INDEX = "model_index.json"
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
# `non_ema` and other variants, OpenVINO's openvino_model.bin and original checkpoints do not match, on purpose.
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>fp16))?(?:-\d+-of-(?P<shards>\d+))?"
    r"(?P<suffix>\.safetensors|\.bin)"
)
_CONFIGS = frozenset({".json", ".txt", ".model"})  # configs, vocabularies, sentencepiece
_NOTES = _CONFIGS | {".md"}  # and model cards
# Bases are loaded without these; the first two are never asked, and the others belong to other ways of drawing.
_UNREAD = frozenset({"safety_checker", "feature_extractor", "image_encoder", "controlnet"})


def part_names(index: dict[str, Any]) -> list[str]:
    """The folders that a pipeline's ``model_index.json`` loads from."""
    loaded = (name for name, value in index.items() if isinstance(value, list) and value and value[0])
    return [name for name in loaded if name not in _UNREAD]


def parts(folder: Path) -> list[Path]:
    """The folders that a model on disk is loaded from: those of its parts, or itself."""
    if not (folder / MODEL_INDEX).is_file():
        return [folder]
    return [folder / name for name in part_names(read_json_object(folder / MODEL_INDEX, "the model's index"))]


def files_read(model: Path) -> list[Path]:
    """Every file that loading a model reads, sorted: configs, vocabularies and weights, pickles where it has no others.

    Args:
        model: a pipeline's folder, a network's, a domain's, a LoRA's, or a single file.
    """
    if model.is_file():
        return [model]
    index = model / MODEL_INDEX
    found = [index] if index.is_file() else []
    for part in parts(model):
        names = _names(part)
        chosen = (
            weights(names, ".safetensors", full_precision=True)
            or weights(names, ".bin", full_precision=True)
            # Domains and LoRAs have names of their own.
            or [name for name in names if name.endswith(".safetensors")]
        )
        notes = [name for name in names if PurePosixPath(name).suffix in _CONFIGS]
        found += [part / name for name in (*chosen, *notes)]
    return sorted(found)


def weights(names: Iterable[str], suffix: str, *, full_precision: bool) -> list[str]:
    """Those of one folder's files that diffusers would load: fp16 ones, unless there are none or full is asked for."""
    found: dict[str | None, list[str]] = {}
    for name in names:
        match = _WEIGHTS.fullmatch(PurePosixPath(name).name)
        if match and match["suffix"] == suffix:
            found.setdefault(match["variant"], []).append(name)
    order = (None, "fp16") if full_precision else ("fp16", None)
    return next((sorted(found[variant]) for variant in order if variant in found), [])


def wanted(
    names: Iterable[str], index: dict[str, Any] | None, *, full_precision: bool, allow_pickle: bool
) -> list[str]:
    """The files of a repository to download, given its ``model_index.json`` or None.

    Raises: BadInput when weights come as pickles only and those are not allowed, or when there are none.
    """
    names = list(names)
    folders = {""} if index is None else {"", *index}
    chosen = [n for n in names if PurePosixPath(n).suffix in _NOTES and n.rpartition("/")[0] in folders]
    found = []
    for part in [""] if index is None else part_names(index):
        inside = [name for name in names if name.rpartition("/")[0] == part]
        safe = weights(inside, ".safetensors", full_precision=full_precision)
        pickled = [] if safe else weights(inside, ".bin", full_precision=full_precision)
        if pickled and not allow_pickle:
            raise BadInput(_refusal(pickled[0]))
        found += safe or pickled
    if not found:
        raise BadInput(
            "it holds no weights in diffusers' layout (a model_index.json, or weights at its root)"
        )
    return chosen + found


def refuse_pickles(path: Path, allow_pickle: bool = False) -> None:
    """Raise BadInput when a model's folder, or a single file, would be read from a pickle and that is not allowed."""
    if allow_pickle:
        return
    for part in [path] if path.is_file() else parts(path):
        files = [part] if part.is_file() else sorted(part.iterdir()) if part.is_dir() else []
        pickled = [file for file in files if file.suffix.lower() in PICKLES]
        if pickled and not weights((file.name for file in files), ".safetensors", full_precision=True):
            raise BadInput(_refusal(str(pickled[0])))


def _refusal(file: str) -> str:
    return (
        f"{file} is a pickle, which can run code when it is read, and there are no safetensors beside it; "
        "convert it to safetensors, or allow it with --allow-pickle if you trust where it comes from"
    )


def gaps(folder: Path) -> list[str]:
    """Names of parts whose files are missing, as an interrupted download leaves them."""
    return [part.name if part != folder else "the network" for part in parts(folder) if not _is_whole(part)]


def _is_whole(part: Path) -> bool:
    names = _names(part)
    if "config.json" not in names:
        # Schedulers and tokenizers have configs of other names and no weights.
        return any(name.endswith(".json") for name in names) and (part.parent / MODEL_INDEX).is_file()
    for suffix, full_precision in itertools.product((".safetensors", ".bin"), (True, False)):
        found = weights(names, suffix, full_precision=full_precision)
        if any(len(found) == int(match["shards"] or 1) for match in map(_WEIGHTS.fullmatch, found) if match):
            return True
    return False


def variant_of(folder: Path) -> str | None:
    """What ``from_pretrained(variant=...)`` needs for this folder: ``fp16`` where full weights are absent."""
    for names in map(_names, parts(folder)):
        safe = weights(names, ".safetensors", full_precision=True)
        if any(".fp16" in name for name in safe or weights(names, ".bin", full_precision=True)):
            return "fp16"
    return None


def _names(part: Path) -> list[str]:
    return [file.name for file in part.iterdir() if file.is_file()] if part.is_dir() else []
