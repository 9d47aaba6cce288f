"""Where a training stands, on disk: files of each worker, and never less than one whole set of them.

``step-00000120-0-of-2.safetensors`` is the first of two workers' parts; one that is large comes in pieces,
``step-00000120-0-of-2-1-of-3.safetensors``, so that no second copy of everything has to fit into main memory. A set
counts when all its files are there, each written through a temporary one; the set before is removed only then. A
process that dies, or a disk that is full, leaves the last whole set. Weights are called ``module.parameter``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...configs.atomic import explain_os_errors, remove_stale_temporaries, write_safetensors

_NAME = re.compile(r"step-(\d+)-(\d+)-of-(\d+)(?:-(\d+)-of-(\d+))?\.safetensors")
_PIECE = 2**30  # bytes


def save_part(folder: Path, tensors: Mapping[str, Tensor], step: int, rank: int, workers: int) -> None:
    """Write one worker's part of the checkpoint at a step."""
    pieces: list[dict[str, Tensor]] = [{}]
    room = _PIECE
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room and pieces[-1]:
            pieces.append({})
            room = _PIECE
        pieces[-1][name] = tensor
        room -= size
    for number, piece in enumerate(pieces):
        end = f"-{number}-of-{len(pieces)}" if len(pieces) > 1 else ""
        path = folder / f"step-{step:08}-{rank}-of-{workers}{end}.safetensors"
        with explain_os_errors(
            path, "saving a checkpoint", then="; the one before is whole, and resuming uses it"
        ):
            write_safetensors(path, piece)


def remove_older(folder: Path, step: int, workers: int) -> None:
    """Once all parts at a step are written: remove the sets before it, and what killed processes left half written."""
    remove_stale_temporaries(folder)
    for path in folder.glob("step-*.safetensors"):
        named = _NAME.fullmatch(path.name)
        if named and (int(named[1]), int(named[3])) != (step, workers):
            path.unlink(missing_ok=True)


def newest(folder: Path) -> list[Path]:
    """The files of the last whole set; empty where there is none."""
    sets: dict[tuple[int, int], list[Path]] = defaultdict(list)
    shares: dict[tuple[int, int], float] = defaultdict(float)
    for path in sorted(folder.glob("step-*.safetensors")):
        if named := _NAME.fullmatch(path.name):
            key = int(named[1]), int(named[3])
            sets[key].append(path)
            shares[key] += 1 / int(named[5] or 1)
    whole = [key for key, share in shares.items() if round(share, 6) == key[1]]
    return sets[max(whole)] if whole else []


def load_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All workers' parts together, keyed by parameter name: any number of workers can go on from them."""
    tensors: dict[str, Tensor] = {}
    for path in newest(folder):
        tensors |= load_file(path)
    return tensors


def begin_from(modules: Mapping[str, nn.Module], folder: Path) -> None:
    """Let a training that has not begun yet start from trained networks instead of random ones; clock at 0."""
    if newest(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    masters = masters_of(modules)
    tensors = {f"master/{n}": m for n, m in masters.items()} | {f"average/{n}": m for n, m in masters.items()}
    save_part(folder, {name: tensor.clone() for name, tensor in tensors.items()}, 0, 0, 1)


def parameters_of(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """All trainable parameters by ``module.parameter``."""
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def masters_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Float32 copies of them, kernels as matrices."""
    return {name: as_matrix(p.detach().float()) for name, p in parameters_of(modules).items()}


def as_matrix(weight: Tensor) -> Tensor:
    """Convolution kernels as [out, k * k * in], which is how Muon orthogonalises them.

    In this order a kernel that lies channels last is its own matrix, without a copy; Muon does not mind the order.
    """
    if weight.ndim == 4:
        weight = weight.permute(0, 2, 3, 1)
    return weight.reshape(weight.shape[0], -1).contiguous() if weight.ndim > 2 else weight


def from_matrix(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The weight of a shape whose ``as_matrix`` this is."""
    if len(shape) == 4:
        out, into, height, width = shape
        return matrix.reshape(out, height, width, into).permute(0, 3, 1, 2)
    return matrix.reshape(shape)
