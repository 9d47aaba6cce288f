"""Checkpoints of a refinement: the field, Adam's moments and the step, in one safetensors file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from ...configs.errors import SlipcastError
from ..field.files import read_arrays, write_arrays
from .health import Health

CHECKPOINT_FILE = "refine-checkpoint.safetensors"
KEPT_FILE = "refine-kept.safetensors"
"""An older state beside it, which a collapsed refinement goes back to."""
_KIND = "refinement checkpoint"
_MEAN, _SQUARE, _STATE = ".mean", ".square", ".state"


def save_checkpoint(
    folder: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    state: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Adam,
    seed: int,
    step: int,
    health: Health | None = None,
    *,
    file: str = CHECKPOINT_FILE,
) -> None:
    """Write the state after ``step`` steps, replacing the last one atomically.

    Args:
        parameters: what the optimiser trains, by name.
        state: other arrays of the field that steps change, by name.
        health: what became of the refinement so far.
        file: its name in the folder.
    """
    arrays: dict[str, torch.Tensor] = {f"{name}{_STATE}": array for name, array in state.items()}
    for name, parameter in parameters.items():
        moments = optimiser.state[parameter]
        arrays[name] = parameter
        arrays[name + _MEAN], arrays[name + _SQUARE] = moments["exp_avg"], moments["exp_avg_sq"]
    notes = {"seed": str(seed), "step": str(step)} | ({"health": health.note()} if health else {})
    notes["checksum"] = _checksum(arrays, notes)
    write_arrays(Path(folder) / file, _KIND, arrays, notes)


def load_checkpoint(
    folder: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    state: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Adam,
    seed: int,
    health: Health | None = None,
    *,
    file: str = CHECKPOINT_FILE,
) -> int:
    """Put the folder's checkpoint into field, optimiser and health; returns the steps done, 0 if there is none.

    Whoever chooses the folder sees to it that other settings use another one.

    Raises:
        SlipcastError: the file is damaged, or belongs to another seed or field; field and optimiser are as before.
    """
    path = Path(folder) / file
    if not path.exists():
        return 0
    shapes: dict[str, tuple[int | None, ...]] = {
        f"{name}{_STATE}": tuple(array.shape) for name, array in state.items()
    }
    for name, parameter in parameters.items():
        shapes |= {name + part: tuple(parameter.shape) for part in ("", _MEAN, _SQUARE)}
    arrays, notes = read_arrays(path, _KIND, shapes)
    if notes.get("seed") != str(seed):
        raise SlipcastError(
            f"{path} belongs to seed {notes.get('seed')}, not {seed}; remove it to start again"
        )
    if notes.get("checksum") != _checksum(arrays, notes):
        raise SlipcastError(f"{path} is damaged: its checksum does not fit; remove it to start again")
    step = int(notes["step"])
    if health is not None and "health" in notes:  # versions up to 0.1 wrote none
        health.read(notes["health"])
    with torch.no_grad():
        for name, array in state.items():
            array.copy_(arrays[f"{name}{_STATE}"].to(array))
        for name, parameter in parameters.items():
            parameter.copy_(arrays[name].to(parameter))
            optimiser.state[parameter] = {
                "step": torch.tensor(float(step), device=parameter.device),
                "exp_avg": arrays[name + _MEAN].to(parameter.device),
                "exp_avg_sq": arrays[name + _SQUARE].to(parameter.device),
            }
    return step


def _checksum(arrays: Mapping[str, torch.Tensor], notes: Mapping[str, str]) -> str:
    """SHA-256 of the arrays' bytes and of the notes that place them: safetensors would read flipped bits as numbers."""
    placed = [notes[name] for name in ("seed", "step", "health") if name in notes]
    checksum = hashlib.sha256(" ".join(placed).encode())
    for name in sorted(arrays):
        checksum.update(arrays[name].detach().cpu().contiguous().numpy().data)
    return checksum.hexdigest()
