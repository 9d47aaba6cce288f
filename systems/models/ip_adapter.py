"""IP-Adapters (arxiv.org/abs/2308.06721): files that show a UNet pictures, read as their authors publish them.

    image_proj.*                          features of an image encoder -> tokens as wide as the text's
    ip_adapter.N.to_k_ip.weight, to_v_ip  what cross-attention (N - 1) / 2 makes of these tokens

Which names there are tells the kind: one matrix (the plain ones), a resampler (Plus, Plus Face), or two matrices (Full
Face). The plain ones read the encoder's embedding, whose absence is zeros; the others its last hidden states but one,
and for no picture those of a black one, as in diffusers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ...configs.errors import BadInput, in_one_line
from .image_encoder import Features
from .single_file.header import read_header
from .weight_files import PICKLES

_HEAD = 64  # numbers of one head of a resampler, in all that were published
_PROJECTION = "image_proj."
_MATRIX = re.compile(r"ip_adapter\.(\d+)\.to_[kv]_ip\.weight")
_FACE = re.compile(r"_lora\.|^image_proj\.perceiver_resampler\.")
_RESAMPLER = (
    (r"0\.norm1", "ln0"),
    (r"0\.norm2", "ln1"),
    (r"0\.to_q", "attn.to_q"),
    (r"0\.to_out", "attn.to_out.0"),
    (r"1\.0", "ff.0"),
    (r"1\.1", "ff.1.net.0.proj"),
    (r"1\.3", "ff.1.net.2"),
)


@dataclass(frozen=True)
class Adapter:
    """What is in a file.

    Attributes:
        projection: a network of diffusers, features of a picture -> tokens [1, tokens, width].
        matrices: (keys, values) of each cross-attention, [its width, width].
    """

    projection: Any
    matrices: list[tuple[Tensor, Tensor]]

    @property
    def width(self) -> int:
        """Of its tokens: that of the text it is beside."""
        return self.matrices[0][0].shape[1]


def features_of(path: Path) -> Features:
    """What the adapter in a .safetensors file reads, by its header alone.

    Raises: BadInput for a pickle, a damaged file, or one that is no adapter for pictures.
    """
    if path.suffix.lower() in PICKLES:
        raise BadInput(
            f"{path} is a pickle, which can run code when it is read; convert it to safetensors, or get the one that "
            "its authors publish beside it"
        )
    shapes = read_header(path, "the IP-Adapter").shapes
    projected = {name.removeprefix(_PROJECTION) for name in shapes if name.startswith(_PROJECTION)}
    if any(_FACE.search(name) for name in shapes) or {"proj.2.weight", "norm.weight"} <= projected:
        raise BadInput(
            f"{path} is a FaceID adapter, which reads the numbers of a face recogniser; give an IP-Adapter that reads "
            "pictures"
        )
    if projected and any(_MATRIX.fullmatch(name) for name in shapes):
        for name, pooled in (("proj_in.weight", False), ("proj.0.weight", False), ("proj.weight", True)):
            if len(shapes.get(f"{_PROJECTION}{name}", ())) == 2:
                return Features(shapes[f"{_PROJECTION}{name}"][-1], pooled)
    raise BadInput(
        f"{path} is no IP-Adapter: expected weights image_proj.proj... and ip_adapter.1.to_k_ip..., not "
        f"{', '.join(sorted(shapes)[:2]) or 'nothing'}"
    )


def read_adapter(path: Path) -> Adapter:
    """The adapter in a file that ``features_of`` knows, float32, frozen.

    Raises: BadInput for a damaged file, weights missing or too many, or NaN.
    """
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    if not all(bool(one.isfinite().all()) for one in tensors.values()):
        raise BadInput(f"{path} holds NaN or infinity; get the file again")
    projected = {
        name.removeprefix(_PROJECTION): t for name, t in tensors.items() if name.startswith(_PROJECTION)
    }
    found = {name: t for name, t in tensors.items() if not name.startswith(_PROJECTION)}
    count = len({_MATRIX.fullmatch(name)[1] for name in found if _MATRIX.fullmatch(name)})  # pyright: ignore
    wanted = [f"ip_adapter.{n}.to_{one}_ip.weight" for n in range(1, 2 * count, 2) for one in "kv"]
    projection, surplus, missing = _projection(path, projected)
    missing += sorted(set(wanted) - found.keys())
    surplus += sorted(found.keys() - set(wanted))
    for names, verb in ((missing, "lacks"), (surplus, "has too many:")):
        if names:
            raise BadInput(
                f"the IP-Adapter {path} {verb} {len(names)} weights, such as {names[0]}; get it again"
            )
    matrices = [(found[key], found[value]) for key, value in zip(wanted[::2], wanted[1::2], strict=True)]
    return Adapter(projection, matrices)


def _projection(path: Path, tensors: Mapping[str, Tensor]) -> tuple[Any, list[str], list[str]]:
    """(the network, names that it does not know, names that it lacks)."""
    from diffusers.models.embeddings import (
        ImageProjection,
        IPAdapterFullImageProjection,
        IPAdapterPlusImageProjection,
    )

    try:
        if "latents" in tensors:
            depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
            inner = tensors["latents"].shape[2]
            network = IPAdapterPlusImageProjection(
                embed_dims=tensors["proj_in.weight"].shape[1],
                output_dims=tensors["proj_out.weight"].shape[0],
                hidden_dims=inner,
                depth=depth,
                heads=tensors["layers.0.0.to_q.weight"].shape[0] // _HEAD,
                num_queries=tensors["latents"].shape[1],
                ffn_ratio=tensors["layers.0.1.1.weight"].shape[0] / inner,
            )
            named = _resampler(tensors)
        elif "proj.3.weight" in tensors:
            reads, width = tensors["proj.0.weight"].shape[1], tensors["proj.3.weight"].shape[0]
            network = IPAdapterFullImageProjection(reads, width)
            names = {"proj.0": "ff.net.0.proj", "proj.2": "ff.net.2", "proj.3": "norm"}
            named = {_renamed(name, names): t for name, t in tensors.items()}
        else:
            (rows, reads), width = tensors["proj.weight"].shape, tensors["norm.weight"].shape[0]
            network = ImageProjection(reads, width, rows // width)
            named = {_renamed(name, {"proj": "image_embeds"}): t for name, t in tensors.items()}
        wrong = network.load_state_dict(named, strict=False)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"the image projection of {path} is of no kind that slipcast knows ({in_one_line(error)})"
        ) from error
    surplus, missing = (
        [f"{_PROJECTION}{one}" for one in names] for names in (wrong.unexpected_keys, wrong.missing_keys)
    )
    return network.requires_grad_(False).eval(), surplus, missing


def _renamed(name: str, names: Mapping[str, str]) -> str:
    stem, dot, leaf = name.rpartition(".")
    return f"{names.get(stem, stem)}{dot}{leaf}"


def _resampler(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A resampler's weights by diffusers' names; keys and values come as one matrix."""
    named = {}
    for name, tensor in tensors.items():
        if found := re.fullmatch(r"(layers\.\d+)\.0\.to_kv\.weight", name):
            named |= zip((f"{found[1]}.attn.to_{one}.weight" for one in "kv"), tensor.chunk(2), strict=True)
            continue
        for theirs, ours in _RESAMPLER:
            name = re.sub(rf"^(layers\.\d+)\.{theirs}(?=\.)", rf"\1.{ours}", name)
        named[name] = tensor
    return named
