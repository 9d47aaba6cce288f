"""What may be wrong before the first page is said in one sentence, and the server imports nothing heavy."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.ports import listening
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run.lock import FolderLock
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.jobs_file import add_line, jobs_file, read_lines
from slipcast.pipeline.studio.processes import SERVER, forget_self, living, note_self
from slipcast.pipeline.studio.serving import serve


def refusal(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["studio", "--no-open", *words])
    assert done.stderr.startswith("slipcast: ") and done.stderr.count("\n") == 1, done.stderr
    return done.exit_code, done.stderr


def test_a_port_in_use_is_told_with_one_that_is_free(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, told = refusal("--port", str(port), "--runs", str(tmp_path / "runs"))
    assert code == 2 and f"the port {port} is in use by another program; --port " in told
    free = int(told.split("--port ")[1].split()[0])
    with listening(free) as listener:
        assert listener.getsockname() == ("127.0.0.1", free), "of this machine alone"


def test_without_the_extra_the_line_for_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("slipcast.pipeline.studio.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, told = refusal("--runs", str(tmp_path / "runs"))
    assert (
        code == 2 and '`pip install "slipcast[ui]"` installs it' in told and not (tmp_path / "runs").exists()
    )


def test_a_folder_that_cannot_be_one_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    (tmp_path / "file").write_text("")
    code, told = refusal("--runs", str(tmp_path / "file"))
    assert code == 2 and "is a file, not a folder; use another --runs" in told

    def refuse(self: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, told = refusal("--runs", str(tmp_path / "runs"))
    assert code == 1 and "Permission denied" in told and "--runs" in told


def test_a_lock_that_cannot_be_opened_is_told_as_what_it_is(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    (jobs_file(tmp_path).parent / "server" / FolderLock.NAME).mkdir(parents=True)
    with pytest.raises(
        SlipcastError, match=r"opening the studio failed at .*Is a directory; put that right or give"
    ):
        serve(tmp_path, 0)


def test_a_folder_with_another_studio_is_told_with_its_address(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    folder = jobs_file(tmp_path).parent
    (folder / "server").mkdir(parents=True)
    lock = FolderLock(folder / "server")
    lock.acquire()
    note_self(folder / SERVER, address="http://127.0.0.1:7860")
    try:
        with pytest.raises(
            SlipcastError, match=r"is open already by process \d+, at http://127.0.0.1:7860; use that"
        ):
            serve(tmp_path, 0)
    finally:
        lock.release()


def test_a_ledger_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    folder = jobs_file(tmp_path).parent
    folder.mkdir(parents=True)
    (folder / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="is no ledger of a batch"):
        serve(tmp_path, 0)


def test_the_server_starts_without_heavy_imports() -> None:
    pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")
    code = (
        "import sys, uvicorn, slipcast.pipeline.studio.serving, slipcast.pipeline.studio.app, "
        "slipcast.pipeline.studio.keeper; "
        "print([name for name in ('torch', 'diffusers', 'transformers', 'numpy', 'trimesh', 'scipy', 'numba') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_note_on_a_process_is_believed_while_that_process_lives(tmp_path: Path) -> None:
    import json

    note = tmp_path / "note.json"
    assert living(note) is None
    note_self(note, address="here")
    told = living(note)
    assert told is not None and told["address"] == "here"
    note.write_text(json.dumps(told | {"born": told["born"] - 1000}))
    assert living(note) is None, "a later process of the same number"
    for text in ("", "{}", '{"pid": "x", "born": 1}', "[]", '{"pid": 999999999, "born": 1}'):
        note.write_text(text)
        assert living(note) is None
    forget_self(note)
    assert note.exists(), "another's note stays"
    note_self(note)
    forget_self(note)
    assert not note.exists()


def test_a_line_that_was_not_written_to_its_end_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "studio.jsonl"
    add_line(path, {"id": "a", "prompt": "ä vase"})
    with open(path, "ab") as file:
        file.write(b'{"id": "b", "prom')
    assert list(read_lines(path)) == ["a"]
    add_line(path, {"id": "c"})
    assert list(read_lines(path)) == ["a", "c"] and path.read_text().count("\n") == 2
    assert read_lines(tmp_path / "nothing") == {}


def test_jobs_of_one_prompt_and_other_settings_have_runs_of_their_own(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "runs")
    plain = desk.submit({"prompt": "a vase", "until": "image"})
    whole = desk.submit({"prompt": "a vase"})
    other = desk.submit({"prompt": "a vase", "overrides": {"refine.steps": 3}})
    rows = {row.id: row for row in desk.rows()}
    assert rows[plain].folder == rows[whole].folder == "a-vase-0", "the same settings go on in the same run"
    assert rows[other].folder not in ("a-vase-0", None)
    assert len({plain, whole, other}) == 3
    desk.cancel(other)
    assert desk.submit({"prompt": "a vase", "overrides": {"refine.steps": 3}}) == other
    assert {row.id: row.state for row in desk.rows()}[other] == "queued", "asked for again, it waits again"


def test_jobs_that_were_written_down_and_not_entered_are_queued_at_the_next_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "runs")
    first = desk.submit({"prompt": "a vase"})
    add_line(desk.file, {"id": "lost-1", "prompt": "a jug"})
    add_line(desk.file, {"id": "odd", "prompt": "a jug", "config": "no-such-preset"})
    desk.catch_up()
    assert [(row.id, row.state) for row in desk.rows()] == [("lost-1", "queued"), (first, "queued")]
    before = desk.rows()
    desk.catch_up()
    assert desk.rows() == before
    (desk.folder / "ledger.sqlite").unlink()
    desk.catch_up()
    assert [(row.id, row.folder) for row in desk.rows()] == [(row.id, row.folder) for row in before]
