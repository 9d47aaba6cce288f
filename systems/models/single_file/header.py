"""What a .safetensors file says of itself before its numbers are read, and what kind of model its names belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ....configs.errors import BadInput, in_one_line
from ....configs.names import shown_key
from .original import UNET, VAE

_READ = "slipcast reads Stable Diffusion 1, 2 and XL in the original layout"
_FOLDER = "give its folder in diffusers' layout"
# By names that nothing else has, the first that fits: what a file is, and what to do with it.
_BESIDES = (  # which may have all of a text-to-image model as well
    (r"(^|\.)control_model\.|^controlnet_", "a ControlNet", "give it in diffusers' layout with --control"),
    (r"motion_modules?\.|temporal_transformer|time_stack\.|time_mixer", "a video model", _READ),
    (r"^edm_(mean|std)$", "Playground 2.5", _READ),
)
_OTHERS = (
    (r"^ip_adapter\.|^image_proj\.", "an IP-Adapter", "give it with --image-prompt"),
    (r"lora|lokr|hada_w", "a LoRA", "give it with --model"),
    *_BESIDES,
    (
        r"audio_vae\.|patchify_proj|blocks\.\d+\.cross_attn\.norm_k|individual_token_refiner",
        "a video model",
        _READ,
    ),
    (r"double_blocks\.\d|single_blocks\.\d|double_stream", "a Flux model, or one of its kind", _FOLDER),
    (r"joint_blocks\.\d", "Stable Diffusion 3", _FOLDER),
    (r"conditioner\.embedders\.0\.model\.", "the refiner of Stable Diffusion XL", "give its base model"),
    (r"clip_txt_mapper|channelwise", "Stable Cascade", _READ),
    (
        r"^(down_blocks|mid_block|up_blocks)\.",
        "one part of a model in diffusers' layout",
        "give the whole folder",
    ),
    (r"^(string_to_param|emb_params|clip_[lg]$)", "a textual-inversion embedding", "give a checkpoint"),
    (rf"^({VAE})?(encoder|decoder)\.", "an autoencoder alone", "give it with --vae"),
    (r"^(text_model|transformer\.resblocks|text_projection)", "a text encoder alone", _READ),
)
_CHANNELS = {
    9: "an inpainting model",
    8: "a model that edits pictures by instruction",
    7: "an upscaler",
    5: "a model that follows depth",
}


@dataclass(frozen=True)
class Header:
    """Names, shapes and notes of a file."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    notes: Mapping[str, str]

    def under(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """{name without the prefix: shape} of those that have it."""
        return {name[len(prefix) :]: shape for name, shape in self.shapes.items() if name.startswith(prefix)}

    @property
    def is_checkpoint(self) -> bool:
        """Whether it holds a network by the names of the original repositories, of whatever kind."""
        return any(name.startswith(UNET) for name in self.shapes) and not any(
            "lora" in name for name in self.shapes
        )


def read_header(path: Path, what: str = "the checkpoint") -> Header:
    """The header of a file. BadInput when it is no .safetensors file, or not a whole one."""
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            return Header(path, shapes, dict(file.metadata() or {}))
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        raise BadInput(
            f"{what} {path} cannot be read ({in_one_line(error)}): it is no whole .safetensors file; fetch it again"
        ) from error


def refusal(header: Header) -> BadInput:
    """The sentence for a file that is none of the checkpoints that we read."""
    for pattern, what, remedy in _OTHERS:
        if any(re.search(pattern, name) for name in header.shapes):
            return BadInput(f"{header.path} looks like {what}; {remedy}")
    if header.is_checkpoint:
        return BadInput(
            f"{header.path} holds a network without the text encoder of a family that slipcast knows; {_READ}"
        )
    first = next(iter(header.shapes), None)
    such = f"{len(header.shapes)} tensors, such as {shown_key(first)}" if first else "no tensors"
    return BadInput(f"{header.path} holds {such}, in a layout that slipcast does not know; {_READ}")


def refuse_other_uses(header: Header) -> None:
    """BadInput for a network of a known layout that was made for something else than drawing from a text."""
    shape = header.shapes.get(f"{UNET}input_blocks.0.0.weight", ())
    what = _CHANNELS.get(shape[1]) if len(shape) == 4 else None
    for pattern, other, _ in _BESIDES:
        if any(re.search(pattern, name) for name in header.shapes):
            what = other
    if what is not None:
        more = ", inpainting works with any" if what == _CHANNELS[9] else ""
        raise BadInput(f"{header.path} looks like {what}; give the plain model{more}")
