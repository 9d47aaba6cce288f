"""Networks and pipelines from folders in diffusers' layout: whole, or refused in one sentence.

diffusers and transformers fill what a file lacks with random numbers and merely log it; here that is an error.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput, SlipcastError, in_one_line
from ...configs.names import shown_key
from .families.family import Family
from .learned_codec import LearnedCodec
from .patch_codec import PatchCodec
from .precision import quiet_libraries
from .weight_files import MODEL_INDEX, files_read, variant_of

_REMEDY = "copy, fetch or build it again"
_OUR_CODECS: dict[str, type[torch.nn.Module]] = {one.__name__: one for one in (LearnedCodec, PatchCodec)}
# The first is what earlier versions of slipcast wrote.
_OUR_MODULES = frozenset({"slipcast.systems.patch_codec", LearnedCodec.__module__, PatchCodec.__module__})


def read_pipeline(folder: Path, family: Family, shared: dict[str, Any], *, allow_pickle: bool) -> Any:
    """The diffusers pipeline that a folder holds, float32.

    Args:
        shared: parts that need not be read, by name.
        allow_pickle: read weights from pickles where there are no safetensors.
    Raises:
        BadInput: a part is missing, unreadable or incomplete.
    """
    index = read_json_object(folder / MODEL_INDEX, "the model's index")
    read = {
        name: shared[name]
        if name in shared
        else None
        if name in family.optional and index.get(name) in (None, [None, None])
        else _read_part(folder / name, index.get(name), classes, allow_pickle)
        for name, classes in family.parts.items()
    }
    with quiet_libraries(), explained(folder, "the model"):
        pipeline = family.assemble(read, index)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def read_network(cls: Any, folder: Path, what: str, *, allow_pickle: bool = False) -> Any:
    """A network of a class of diffusers or transformers, or of ours, with every one of its weights, float32, frozen.

    Args:
        what: names it in sentences, such as "the ControlNet".
    Raises:
        BadInput: unreadable, or weights are missing or too many.
    """
    _check_configs(folder, what)
    with quiet_libraries(), explained(folder, what):
        network, told = cls.from_pretrained(
            str(folder),
            variant=variant_of(folder),
            use_safetensors=None if allow_pickle else True,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
        )
    # A text encoder may come with the other half of its CLIP; in all else, too many weights mean another network.
    surplus = [] if cls.__module__.startswith("transformers.") else sorted(told["unexpected_keys"])
    for keys, verb in ((sorted(told["missing_keys"]), "lacks"), (surplus, "has too many:")):
        if keys:
            raise BadInput(
                f"{what} in {folder} {verb} {len(keys)} of the weights that its config speaks of, such as {keys[0]}; "
                f"{_REMEDY}"
            )
    return network.requires_grad_(False).eval()


def _read_part(folder: Path, entry: Any, classes: tuple[str, ...], allow_pickle: bool) -> Any:
    """A part of a pipeline, given its entry of the index: [library, class]."""
    named = isinstance(entry, list) and len(entry) == 2 and all(isinstance(one, str) and one for one in entry)
    if not (named and folder.is_dir()):
        raise BadInput(f"the model in {folder.parent} lacks its {folder.name}; {_REMEDY}")
    library, name = entry
    named_class = f"{library}.{name}"
    cls: Any = None
    if library in _OUR_MODULES:
        cls = _OUR_CODECS.get(name)
    elif library in ("diffusers", "transformers"):
        cls = getattr(importlib.import_module(library), name, None)
    if not hasattr(cls, "from_pretrained") or (classes and name not in classes):
        raise BadInput(
            f"the {folder.name} of the model in {folder.parent} is a {shown_key(named_class)}, "
            "which slipcast does not know"
        )
    what = f"the {folder.name}"
    if isinstance(cls, type) and issubclass(cls, torch.nn.Module):
        return read_network(cls, folder, what, allow_pickle=allow_pickle)
    _check_configs(folder, what)
    with quiet_libraries(), explained(folder, what):
        return cls.from_pretrained(str(folder), local_files_only=True)


def _check_configs(folder: Path, what: str) -> None:
    """Libraries meet damaged JSON with whatever comes first; here it is named."""
    for path in files_read(folder):
        if path.suffix == ".json":
            read_json_object(path, what, allow_nan=True)


@contextlib.contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Turn what a library raises while it reads a folder into one sentence.

    Nothing but that reading runs inside, and damaged files raise anything there, down to a bare Exception.
    """
    try:
        yield
    except (MemoryError, SlipcastError):
        raise
    except Exception as error:
        raise BadInput(f"{what} in {folder} cannot be read ({in_one_line(error)}); {_REMEDY}") from error
