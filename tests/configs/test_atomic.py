"""Files that are whole or absent, with the rights and the bytes that they should have."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from slipcast.configs.atomic import (
    read_json,
    read_json_object,
    write_bytes,
    write_json,
    write_safetensors,
)
from slipcast.configs.errors import BadInput, in_one_line

_WRITE = """
import sys
from pathlib import Path
import numpy as np
from slipcast.configs.atomic import write_safetensors
arrays = {name: np.arange(12, dtype="f4").reshape(3, 4) * i for i, name in enumerate("zebra apple mango".split())}
write_safetensors(Path(sys.argv[1]), arrays, {f"note {i}": str(i) for i in range(9)})
"""


def test_equal_arrays_and_notes_give_equal_bytes_in_every_process_and_as_tensors(tmp_path: Path) -> None:
    """Of numpy's arrays: a process without torch starts in a blink, and safetensors orders its notes by chance."""
    hashes = set()
    for i in range(6):
        path = tmp_path / f"{i}.safetensors"
        seed = os.environ | {"PYTHONHASHSEED": str(i)}
        subprocess.run([sys.executable, "-c", _WRITE, str(path)], check=True, env=seed)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    arrays = {name: torch.arange(12.0).view(3, 4) * i for i, name in enumerate(["zebra", "apple", "mango"])}
    write_safetensors(tmp_path / "tensors", arrays, {f"note {i}": str(i) for i in range(9)})
    hashes.add(hashlib.sha256((tmp_path / "tensors").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.parametrize("notes", [None, {}, {"b": "2", "a": "1", "ä": "„“"}])
def test_what_is_written_is_what_safetensors_reads(tmp_path: Path, notes: dict[str, str] | None) -> None:
    path = tmp_path / "x.safetensors"
    arrays = {
        "half": torch.randn(5, dtype=torch.float16),
        "turned": torch.randn(4, 3).T,
        "none": torch.zeros(0),
        "count": torch.tensor(3),
    }
    write_safetensors(path, arrays, notes)
    found = load_file(path)
    assert set(found) == set(arrays)
    assert all(torch.equal(found[name], array) for name, array in arrays.items())
    with safe_open(path, framework="pt") as file:
        assert (file.metadata() or {}) == (notes or {})


def test_numpy_arrays_are_written_as_tensors_are(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(tmp_path / "n.safetensors", {"x": array}, {"a": "b"})
    write_safetensors(tmp_path / "t.safetensors", {"x": torch.from_numpy(array)}, {"a": "b"})
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX's")
def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"1", memoryview(b"2"))
        write_json(tmp_path / "b", {})
        write_safetensors(tmp_path / "c", {"x": torch.zeros(1)})
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"12"
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in "abc"] == ["0o640"] * 3


@pytest.mark.parametrize(
    "content",
    [b"", b'{"a": ', b"\xff\xfe", b"NaN", b'{"a": -Infinity}', b'{"a": 1e999}', b"[" * 100_000]
    + [b'{"a": ' + b"9" * 5000 + b"}", rb'{"a": "\ud800"}', rb'{"\uDC00": 1}'],
)
def test_json_that_cannot_be_read_is_one_sentence_with_its_path(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(BadInput) as told:
        read_json(path, "the card")
    assert str(told.value).startswith(f"{path} cannot be read as the card (")
    assert "\n" not in str(told.value)


def test_what_is_written_as_json_is_read_again(tmp_path):
    content = {"a": [1, 2.5, None, True, "ä 花 😀"], "b": {}}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json", "the card") == content
    (tmp_path / "x.json").write_text(r'{"a": "\ud83d\ude00", "b": -Infinity}')
    assert read_json_object(tmp_path / "x.json", "it", allow_nan=True) == {"a": "😀", "b": -math.inf}
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(BadInput, match="holds no object but a list"):
        read_json_object(tmp_path / "x.json", "it")
    with pytest.raises(BadInput, match="No such file"):
        read_json(tmp_path / "absent.json", "it")
    with pytest.raises(BadInput, match="Is a directory"):
        read_json(tmp_path, "it")


@pytest.mark.parametrize("view", [np.transpose, np.flip, np.asfortranarray, lambda a: a[:, ::2]])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_view_comes_back_as_it_looks(tmp_path, view, kind):
    """safetensors writes an array's memory; transposed, strided and turned views lie there in another order."""
    array = view(np.arange(24, dtype=np.float32).reshape(4, 6))
    value = array if kind == "numpy" else torch.from_numpy(array.copy().T.copy()).T.contiguous().mT
    write_safetensors(tmp_path / "view.safetensors", {"view": value})
    assert np.array_equal(load_file(tmp_path / "view.safetensors")["view"].numpy(), np.asarray(value))


def test_a_librarys_message_becomes_one_short_line_that_acts_on_no_terminal() -> None:
    said = in_one_line(ValueError("bad\n  \x1b[31mheader\0 \ud800 é茶 " + "x" * 500))
    assert said.startswith("bad \ufffd[31mheader\ufffd \ufffd é茶 xxx") and len(said) == 200
    assert in_one_line(EOFError()) == "EOFError"
