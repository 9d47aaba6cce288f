"""Files on their way: whatever fails, and whenever, the folder is as it was before."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.paths import given_folder, given_path
from slipcast.pipeline.run.staging import all_or_nothing, scratch_folder, without_staging


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _fill(folder: Path) -> None:
    for name in ("a.obj", "b.mtl", "c.png"):
        (folder / name).write_text(f"new {name}")


def test_files_move_in_together_and_those_that_name_others_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.mtl").write_text("old")
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moved.append(Path(new).name), replace(old, new)))
    with all_or_nothing(tmp_path, last=[".obj"]) as place:
        _fill(place)
        assert place.parent == tmp_path and place.name.startswith(".")
        assert (tmp_path / "b.mtl").read_text() == "old" and not (tmp_path / "a.obj").exists()
    assert _files(tmp_path) == {name: f"new {name}".encode() for name in ("a.obj", "b.mtl", "c.png")}
    assert moved == ["b.mtl", "c.png", "a.obj"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x"), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("moves", [-1, 0, 1, 2])
def test_a_failure_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, links: bool, moves: int
) -> None:
    """In the block (-1), or at any of the moves; on a file system with hard links and on one without."""
    (tmp_path / "b.mtl").write_text("old")
    (tmp_path / "c.png").write_text("somebody's own")
    before, replace, left = _files(tmp_path), os.replace, [moves]

    def fail(old: Path, new: Path) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise error
        replace(old, new)

    def no_link(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)) as caught, all_or_nothing(tmp_path, last=[".obj"]) as place:
        _fill(place)
        if moves < 0:
            raise error
    assert _files(tmp_path) == before
    if isinstance(caught.value, OSError) and moves >= 0:
        assert caught.value.filename == str(tmp_path / ["b.mtl", "c.png", "a.obj"][moves])


def test_what_a_killed_process_left_is_removed_and_what_one_at_work_has_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from slipcast.pipeline.run.staging import all_or_nothing\n"
        "with all_or_nothing(Path(sys.argv[1])) as place:\n"
        "    (place / 'half').write_text('x')\n"
        "    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    (orphan,) = tmp_path.iterdir()
    (tmp_path / ".slipcast-mine").mkdir()  # a name of somebody else's
    with all_or_nothing(tmp_path) as outer:
        assert not orphan.exists()
        (outer / "a").write_text("a")
        with all_or_nothing(tmp_path) as other:
            assert outer.is_dir()
            (other / "b").write_text("b")
    assert {path.name for path in tmp_path.iterdir()} == {".slipcast-mine", "a", "b"}


def test_sentences_name_the_final_places(tmp_path: Path) -> None:
    with all_or_nothing(tmp_path) as outer, all_or_nothing(outer) as inner:
        assert without_staging(f"writing {inner / 'a.mtl'} failed") == f"writing {tmp_path / 'a.mtl'} failed"
    with pytest.raises(FileNotFoundError) as caught, all_or_nothing(tmp_path / "nowhere"):
        raise AssertionError("there is nothing to write in")
    assert caught.value.filename == str(tmp_path / "nowhere")


def test_a_full_temporary_folder_is_blamed_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(SlipcastError, match=rf"^drawing failed at {tmp_path}/slipcast-\w+: No space"),
        scratch_folder("drawing"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(SlipcastError, match=rf"making a temporary folder failed at {tmp_path}/gone"):
        scratch_folder("drawing").__enter__()


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "y" * 300, "a\0b"])
def test_a_path_that_no_system_takes_is_bad_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match=r"^--out cannot be .*give another$"):
        given_path(tmp_path / name, "--out")
    for inside in ("file", "file/below"):
        with pytest.raises(BadInput, match="file is a file, not a folder; use another --out"):
            given_folder(tmp_path / inside, "--out")
    for folder in (tmp_path, tmp_path / "not" / "there"):
        assert given_folder(folder, "--out") == folder
