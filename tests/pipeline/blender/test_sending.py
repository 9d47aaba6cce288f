"""An asset sent to Blender: whole files, each imported once, and a broken one told once. No Blender is needed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from fakes.blender_subjects import ball_run
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.pipeline import sending
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.addon import SOURCE
from slipcast.pipeline.blender.catalogues import FILE as CATALOGUES
from slipcast.pipeline.blender.process import Blender
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.library_index import FILE as INDEX
from slipcast.pipeline.sending import send_to_blender


@pytest.fixture(scope="module")
def sent() -> Any:
    """The part of the extension that needs no Blender."""
    spec = util.spec_from_file_location("slipcast_extension_sent", SOURCE / "sent.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return ball_run(tmp_path_factory.mktemp("runs"))


def _put(folder: Path, name: str, content: bytes = b"x", age: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    os.utime(folder / name, (age, age))
    return folder / name


def _never() -> Blender:
    raise AssertionError("a GLB needs no Blender")


# The watched folder


def test_every_file_is_taken_once_the_oldest_first(sent: Any, tmp_path: Path) -> None:
    folder, memory = tmp_path / "watched", tmp_path / "memory"
    files = [_put(folder, name, age=age) for age, name in enumerate(("b.glb", "a.blend", "C.GLB"))]
    assert [sent.take_next(folder, memory) for _ in range(4)] == [*files, None]
    assert sent.take_next(folder, memory) is None  # another Blender, or the same one tomorrow


def test_a_file_that_changed_is_taken_again_and_not_before(sent: Any, tmp_path: Path) -> None:
    folder, memory = tmp_path / "watched", tmp_path / "memory"
    file = _put(folder, "a.glb", b"broken")
    assert sent.take_next(folder, memory) == file and sent.take_next(folder, memory) is None
    for content, age in ((b"whole, and longer", 1), (b"whole, and longer", 2)):  # by its size, by its time
        _put(folder, "a.glb", content, age)
        assert sent.take_next(folder, memory) == file and sent.take_next(folder, memory) is None


def test_only_files_that_blender_imports_are_taken(sent: Any, tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    for name in (".a.glb.12.tmp", ".hidden.glb", "a.obj", "a.blend1", INDEX, CATALOGUES):
        _put(folder, name)
    (folder / "folder.glb").mkdir()
    (folder / "dangling.glb").symlink_to(tmp_path / "nowhere")
    assert sent.take_next(folder, tmp_path / "memory") is None


def test_files_of_one_name_in_two_folders_are_two(sent: Any, tmp_path: Path) -> None:
    for place in ("here", "there"):
        file = _put(tmp_path / place, "a.glb")
        assert sent.take_next(tmp_path / place, tmp_path / "memory") == file


def test_blenders_that_watch_one_folder_share_its_files(sent: Any, tmp_path: Path) -> None:
    folder, taken = tmp_path / "watched", list[Path]()
    for number in range(40):
        _put(folder, f"{number}.glb")

    def watch() -> None:
        while (file := sent.take_next(folder, tmp_path / "memory")) is not None:
            taken.append(file)

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(folder.glob("*.glb"))


def test_what_is_gone_is_forgotten_and_nothing_else(sent: Any, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    for place in ("here", "unplugged"):
        for name in ("a.glb", "b.glb"):
            _put(tmp_path / place, name)
        while sent.take_next(tmp_path / place, memory):
            pass
    (tmp_path / "here/a.glb").unlink()
    shutil.move(tmp_path / "unplugged", tmp_path / "away")  # a disk that will be back
    sent.forget_gone(memory)
    assert len(list(memory.glob("*.taken"))) == 3
    shutil.move(tmp_path / "away", tmp_path / "unplugged")
    assert sent.take_next(tmp_path / "here", memory) is None
    assert sent.take_next(tmp_path / "unplugged", memory) is None


def test_a_folder_that_is_not_there_is_an_error_of_the_system(sent: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        sent.take_next(tmp_path / "nowhere", tmp_path / "memory")


# Sending


def test_a_run_is_sent_whole_and_taken_once_for_each_time(sent: Any, run: Path, tmp_path: Path) -> None:
    folder, memory = tmp_path / "a" / "watched", tmp_path / "memory"
    path = folder / "a-ball-3.glb"
    for _ in range(2):
        assert send_to_blender(run, folder, find=_never) == path
        assert sent.take_next(folder, memory) == path and sent.take_next(folder, memory) is None
    mesh, facts = read_glb(path)
    assert facts["prompt"] == "a ball" and facts["seed"] == 3
    assert mesh.vertices[:, 2].max() == pytest.approx(0.25)  # the height that the run was exported with
    assert sorted(file.name for file in folder.iterdir()) == ["a-ball-3.glb", INDEX]


def test_nobodys_file_is_replaced_but_the_runs_own(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "watched"
    mine = _put(folder, "a-ball-3.glb", b"mine")
    shutil.copytree(run, tmp_path / "others" / run.name)
    first, second = (
        send_to_blender(one, folder, find=_never).name for one in (run, tmp_path / "others" / run.name)
    )
    assert (first, second) == ("a-ball-3-2.glb", "a-ball-3-3.glb") and mine.read_bytes() == b"mine"
    assert send_to_blender(run, folder, find=_never).name == first


def test_a_blend_is_in_the_runs_catalogue(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(asset: Asset, path: Path, blender: Blender) -> None:
        path.write_text(f"{asset.name} by {blender.program}")

    monkeypatch.setattr(sending, "build_blend", build)
    path = send_to_blender(run, tmp_path, kind="blend", find=lambda: Blender(Path("b"), False, (4, 2, 0)))
    assert path.name == "a-ball-3.blend" and path.read_text() == "a-ball-3 by b"
    assert "slipcast/starter" in (tmp_path / CATALOGUES).read_text(encoding="utf-8")


def test_the_command_prints_the_file_and_has_the_folder_of_the_preferences(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["blender", "send", str(run)])
    assert result.exit_code == 0, result.stderr
    told = Path(result.stdout.strip())
    assert told == tmp_path / "slipcast/to-blender/a-ball-3.glb" and told.is_file()
    assert f'default="{sending.FOLDER}"' in (SOURCE / "preferences.py").read_text(encoding="utf-8")
    result = CliRunner().invoke(app, ["blender", "send", str(run), "--to", str(tmp_path / "b"), "--json"])
    assert json.loads(result.stdout) == {"file": str(tmp_path / "b/a-ball-3.glb")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "obj"], "Blender is sent glb or blend, not 'obj'"),
        (["--to", "a-file"], "a-file is a file, not a folder"),
    ],
)
def test_what_cannot_be_sent_is_a_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("x")
    result = CliRunner().invoke(app, ["blender", "send", str(run), *words])
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.stderr


def test_a_run_without_a_mesh_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a-0").mkdir()
    (tmp_path / "a-0/manifest.json").write_text(json.dumps({"prompt": "a", "seed": 0, "stages": {}}))
    with pytest.raises(BadInput, match="has no finished mesh"):
        send_to_blender(tmp_path / "a-0", tmp_path / "watched", find=_never)
    assert not (tmp_path / "watched").exists()
