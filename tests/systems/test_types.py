"""A mesh in a file: what comes back is what was written, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from fakes.pot import pot
from safetensors.numpy import save_file

from slipcast.configs.errors import SlipcastError
from slipcast.systems.types import Mesh

Arrays = dict[str, np.ndarray]


def _arrays() -> Arrays:
    return {name: array.copy() for name, array in vars(pot(4, 6, size=8)).items()}


@pytest.mark.parametrize(
    "left_out", [(), ("orm",), ("texture", "normal_map", "orm"), ("uv", "texture", "normal_map", "orm")]
)
def test_a_mesh_comes_back_as_it_was_written(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    mesh = pot(4, 6, size=8).with_(**dict.fromkeys(left_out))
    mesh.save(tmp_path / "mesh.safetensors")
    again = Mesh.load(tmp_path / "mesh.safetensors")
    for item in fields(Mesh):
        one, two = getattr(mesh, item.name), getattr(again, item.name)
        if one is None:
            assert two is None
        else:
            assert np.array_equal(one, two) and one.dtype == two.dtype


def _set(name: str, change: Callable[[np.ndarray], object]) -> Callable[[Arrays], None]:
    def damage(arrays: Arrays) -> None:
        arrays[name] = np.ascontiguousarray(change(arrays[name]))

    return damage


def _at(name: str, value: float) -> Callable[[Arrays], None]:
    def damage(arrays: Arrays) -> None:
        arrays[name].reshape(-1)[5] = value

    return damage


def _without(name: str) -> Callable[[Arrays], None]:
    def damage(arrays: Arrays) -> None:
        del arrays[name]

    return damage


DAMAGE: list[tuple[Callable[[Arrays], None], str]] = [
    *[(_at(name, value), f"{name} holds values that are not finite")
      for name in ("vertices", "normals", "uv") for value in (np.nan, np.inf, -np.inf)],
    (_at("faces", -1), "faces name vertices outside 0 to 34"),
    (_at("faces", 35), "faces name vertices outside 0 to 34"),
    (_at("faces", 2**31 - 1), "faces name vertices outside 0 to 34"),
    (_set("faces", lambda a: a[:0]), r"faces should be \[F, 3\] of int32, not \[0, 3\]"),
    (_set("faces", lambda a: a[:, :2]), r"faces should be \[F, 3\]"),
    (_set("faces", lambda a: a.astype(np.int64)), r"of int32, not \[\d+, 3\] of int64"),
    (_set("faces", lambda a: a.astype(np.float32)), "of int32, not"),
    (_set("vertices", lambda a: a.reshape(-1)), r"vertices should be \[V, 3\] of float32, not \[105\]"),
    (_set("vertices", lambda a: a.astype(np.float64)), "of float32, not"),
    (_set("vertices", lambda a: a[:0]), "vertices should be"),
    (_set("vertices", lambda a: a[:-1]), r"normals should be \[34, 3\]"),
    (_set("normals", lambda a: a[1:]), r"normals should be \[35, 3\]"),
    (_set("uv", lambda a: a[1:]), r"uv should be \[35, 2\]"),
    (_set("uv", lambda a: np.zeros((35, 3), np.float32)), r"uv should be \[35, 2\]"),
    *[(_set(name, lambda a: a[..., :1]), f"{name} should be .H, W, 3. of uint8") for name in ("texture", "normal_map")],
    (_set("texture", lambda a: a.astype(np.float32)), "texture should be .H, W, 3. of uint8"),
    (_set("orm", lambda a: a[0]), "orm should be .H, W, 3. of uint8"),
    (_set("orm", lambda a: a[:0]), "orm should be .H, W, 3. of uint8"),
    (_without("uv"), "there are textures but no uv"),
    (_without("normals"), "normals"),
    (lambda arrays: arrays.update(colours=np.zeros(3)), "colours"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGE, ids=range(len(DAMAGE)))
def test_arrays_that_are_no_mesh_are_refused(
    tmp_path: Path, damage: Callable[[Arrays], None], said: str
) -> None:
    path, arrays = tmp_path / "mesh.safetensors", _arrays()
    damage(arrays)
    save_file(arrays, path)
    with pytest.raises(SlipcastError, match=said) as caught:
        Mesh.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"half", b"\xff" * 200, b"\x10\x00\x00\x00\x00\x00\x00\x00{}              "]
)
def test_a_file_that_is_no_mesh_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mesh.safetensors"
    path.write_bytes(data)
    with pytest.raises(SlipcastError, match="is not a readable slipcast mesh"):
        Mesh.load(path)
