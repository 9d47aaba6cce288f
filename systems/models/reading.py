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
from .learned_codec import LearnedCodec
from .patch_codec import PatchCodec
from .precision import quiet_libraries
from .prompt_encoders import READERS
from .weight_files import MODEL_INDEX, files_read, variant_of

_REMEDY = "copy, fetch or build it again"
_SD = {
    "vae": (),
    "text_encoder": (),
    "tokenizer": (),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),
}
_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": _SD,
    "StableDiffusionXLPipeline": _SD | {"text_encoder_2": (), "tokenizer_2": ()},
    "DiTPipeline": {
        "transformer": ("DiTTransformer2DModel", "Transformer2DModel"),
        "vae": (),
        "scheduler": (),
    },
}
"""What each kind of pipeline is made of, and of which classes its network may be."""

# Other ways to draw with the same parts; what they add (a ControlNet, a safety checker) is not read.
_SAME_PARTS = {
    f"{family}{use}Pipeline": f"{family}Pipeline"
    for family in ("StableDiffusion", "StableDiffusionXL")
    for use in ("Img2Img", "Inpaint", "InpaintLegacy", "ControlNet", "ControlNetImg2Img", "ControlNetInpaint")
}
_OUR_CODECS: dict[str, type[torch.nn.Module]] = {one.__name__: one for one in (LearnedCodec, PatchCodec)}
# The first is what earlier versions of slipcast wrote.
_OUR_MODULES = frozenset({"slipcast.systems.patch_codec", LearnedCodec.__module__, PatchCodec.__module__})


def kind_of(folder: Path) -> str:
    """The pipeline that a folder holds: a key of ``READERS``. BadInput when it holds none of these."""
    index = folder / MODEL_INDEX
    if not index.is_file():
        raise BadInput(
            f"{folder} is not a diffusers model: it has no {MODEL_INDEX}; give a folder that save_pretrained wrote"
        )
    named = read_json_object(index, "the model's index").get("_class_name")
    if named is None:
        raise BadInput(f"{index} is unreadable: it names no _class_name; {_REMEDY}")
    kind = _SAME_PARTS.get(str(named), str(named))
    if kind not in READERS:
        raise BadInput(
            f"{folder} is a {shown_key(kind)}, which slipcast cannot guide (docs/guidance.md says why); "
            f"it reads {', '.join(READERS)}"
        )
    return kind


def read_pipeline(folder: Path, kind: str, shared: dict[str, Any], *, allow_pickle: bool) -> Any:
    """A diffusers pipeline of one of the kinds of ``READERS``, float32.

    Args:
        shared: parts that need not be read, by name.
        allow_pickle: read weights from pickles where there are no safetensors.
    Raises:
        BadInput: a part is missing, unreadable or incomplete.
    """
    import diffusers

    index = read_json_object(folder / MODEL_INDEX, "the model's index")
    read = {
        name: shared[name]
        if name in shared
        else _read_part(folder / name, index.get(name), classes, allow_pickle)
        for name, classes in _PARTS[kind].items()
    }
    pipeline_class = getattr(diffusers, kind)
    if kind == "StableDiffusionPipeline":
        read |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if kind == "DiTPipeline":
        read["id2label"] = index.get("id2label")
    if kind == "StableDiffusionXLPipeline":
        read["force_zeros_for_empty_prompt"] = index.get("force_zeros_for_empty_prompt", True)
    with quiet_libraries(), explained(folder, "the model"):
        pipeline = pipeline_class(**read)
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
