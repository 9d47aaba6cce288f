"""Reading and writing arrays of the 3-D stages: one safetensors file, whole or not at all, checked when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ...configs.atomic import write_safetensors
from ...configs.errors import SlipcastError, in_one_line
from ...configs.names import shown


def write_arrays(
    path: Path, kind: str, arrays: Mapping[str, torch.Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """Write atomically, equal bytes for equal content. ``kind`` says what the file is.

    Raises:
        SlipcastError: the folder cannot be written to or the disk is full; a file already at ``path`` is left whole.
    """
    try:
        write_safetensors(Path(path), arrays, {"kind": kind, **(notes or {})})
    except OSError as error:
        raise SlipcastError(
            f"cannot write {path} ({error}); check the folder's permissions and free space"
        ) from error


def read_arrays(
    path: Path, kind: str, shapes: Mapping[str, tuple[int | None, ...]]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what ``write_arrays`` wrote: arrays and notes.

    Args:
        shapes: every array's name and shape; None stands for the grid's resolution, which must be the same throughout.
    Raises:
        SlipcastError: no such file, truncated or foreign file, another kind, missing or surplus arrays, wrong shapes
            (a grid has at least two cells a side) or number types, values that are not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise SlipcastError(
            f"cannot read {path} as {_a(kind)} ({in_one_line(error)}); run the stage that makes it again"
        ) from error
    if notes.get("kind") != kind:
        found = shown(notes["kind"]) if "kind" in notes else "a file that slipcast did not write"
        raise SlipcastError(f"{path} should be {_a(kind)} but is {found}; point to the right file")
    if set(arrays) != set(shapes):
        raise SlipcastError(
            f"{path} should hold the arrays {sorted(shapes)} but holds {shown(sorted(arrays))}; "
            "run the stage that makes it again"
        )
    free = {n for name, a in arrays.items() for n, s in zip(a.shape, shapes[name], strict=False) if s is None}
    for name, array in arrays.items():
        expected = tuple(max(2, min(free)) if size is None else size for size in shapes[name])
        if tuple(array.shape) != expected:
            raise SlipcastError(
                f"{path}: array {name} should have the shape {expected} but has {tuple(array.shape)}; "
                "run the stage that makes it again"
            )
        if array.dtype != torch.float32:
            raise SlipcastError(
                f"{path}: array {name} should hold torch.float32 but holds {array.dtype}; "
                "run the stage that makes it again"
            )
        if not torch.isfinite(array).all():
            raise SlipcastError(
                f"{path}: array {name} holds values that are not finite; run the stage that makes it again"
            )
    return arrays, notes


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
