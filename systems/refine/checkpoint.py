"""Checkpoints of a refinement: the field, Adam's moments and the step, in one safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from ...configs.errors import SlipcastError
from ..field.files import read_arrays, write_arrays
from ..field.voxels import VoxelField

CHECKPOINT_FILE = "refine-checkpoint.safetensors"
_KIND = "refinement checkpoint"


def save_checkpoint(
    folder: Path, field: VoxelField, optimiser: torch.optim.Adam, seed: int, step: int
) -> None:
    """Write the state after ``step`` steps, replacing the last one atomically."""
    arrays: dict[str, torch.Tensor] = {}
    for name, parameter in field.named_parameters():
        state = optimiser.state[parameter]
        arrays[name] = parameter
        arrays[f"{name}.mean"], arrays[f"{name}.square"] = state["exp_avg"], state["exp_avg_sq"]
    notes = {"seed": str(seed), "step": str(step)}
    notes["checksum"] = _checksum(arrays, notes)
    write_arrays(Path(folder) / CHECKPOINT_FILE, _KIND, arrays, notes)


def load_checkpoint(folder: Path, field: VoxelField, optimiser: torch.optim.Adam, seed: int) -> int:
    """Put the folder's checkpoint into field and optimiser; returns the steps done, 0 if there is no checkpoint.

    Whoever chooses the folder sees to it that other settings use another one.

    Raises:
        SlipcastError: the file is damaged, or belongs to another seed or resolution; field and optimiser are as before.
    """
    path = Path(folder) / CHECKPOINT_FILE
    if not path.exists():
        return 0
    cube = (field.resolution,) * 3
    shapes: dict[str, tuple[int | None, ...]] = {}
    for name, last in (("raw_density", ()), ("raw_colour", (3,))):
        shapes |= {f"{name}{part}": (*cube, *last) for part in ("", ".mean", ".square")}
    arrays, notes = read_arrays(path, _KIND, shapes)
    if notes.get("seed") != str(seed):
        raise SlipcastError(
            f"{path} belongs to seed {notes.get('seed')}, not {seed}; remove it to start again"
        )
    if notes.get("checksum") != _checksum(arrays, notes):
        raise SlipcastError(f"{path} is damaged: its checksum does not fit; remove it to start again")
    step = int(notes["step"])
    for name, parameter in field.named_parameters():
        with torch.no_grad():
            parameter.copy_(arrays[name].to(parameter))
        optimiser.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device),
            "exp_avg": arrays[f"{name}.mean"].to(parameter),
            "exp_avg_sq": arrays[f"{name}.square"].to(parameter),
        }
    return step


def _checksum(arrays: Mapping[str, torch.Tensor], notes: Mapping[str, str]) -> str:
    """SHA-256 of the arrays' bytes and of the notes that place them: safetensors would read flipped bits as numbers."""
    checksum = hashlib.sha256(f"{notes['seed']} {notes.get('step')}".encode())
    for name in sorted(arrays):
        checksum.update(arrays[name].detach().cpu().contiguous().numpy().data)
    return checksum.hexdigest()
