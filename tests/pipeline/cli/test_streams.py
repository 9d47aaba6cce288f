"""What is printed never ends a command, whatever the encoding of its streams."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.pot import finished_run
from hypothesis import given
from hypothesis import strategies as st

from slipcast.pipeline.cli.app import main
from slipcast.pipeline.cli.streams import make_streams_safe

ENCODINGS = ["ascii", "cp1252", "latin-1", "utf-8", "utf-16", "utf-32", "cp037", "shift_jis", "euc_kr"]
ANY = st.text(st.characters(codec=None, exclude_characters="\n\r"))


def printed(text: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    """The bytes on stdout and on stderr."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        make_streams_safe()
        print(text)
        print(text, file=sys.stderr)
    for stream in streams:
        stream.flush()
    return streams[0].buffer.getvalue(), streams[1].buffer.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=ANY)
def test_any_text_goes_through_any_encoding(encoding: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        out, err = printed(text, encoding, monkeypatch)
    assert out == err
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert out.decode(encoding) == text.encode(encoding, "backslashreplace").decode(encoding) + "\n"


@given(path=st.binary(max_size=8).filter(lambda data: b"\n" not in data and b"\r" not in data))
def test_a_path_of_any_bytes_comes_out_as_these_bytes(path: bytes) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for encoding in ("utf-8", "ascii"):
            assert printed(path.decode(encoding, "surrogateescape"), encoding, monkeypatch)[0] == path + b"\n"


def test_streams_that_are_closed_or_replaced_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    make_streams_safe()


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_commands_end_well_after_printing_a_path_that_the_encoding_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, as_json: bool
) -> None:
    run, folder = finished_run(tmp_path), tmp_path / "花 é \udcff"
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    words = ["slipcast", "export", str(run), "--format", "ply", "--out", str(folder), *["--json"] * as_json]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(SystemExit) as ended:
        main()
    for stream in (stdout, stderr):
        stream.flush()
    assert ended.value.code == 0, stderr.buffer.getvalue()
    path = folder / "a-blue-pot.ply"
    assert path.stat().st_size > 100
    said = stdout.buffer.getvalue().decode(encoding, "backslashreplace")
    if as_json:
        assert json.loads(said)["files"] == {"ply": str(path)}
    else:
        assert said.startswith(str(tmp_path)) and said.endswith("/a-blue-pot.ply\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("kind", ["a full disk", "a pipe that nobody reads", "closed"])
def test_a_result_that_cannot_be_printed_is_told_in_a_sentence(tmp_path: Path, kind: str) -> None:
    command = [
        sys.executable,
        "-m",
        "slipcast.pipeline.cli.app",
        "blender",
        "extension",
        "--out",
        str(tmp_path),
    ]
    end = {"a full disk": "> /dev/full", "a pipe that nobody reads": "| exec sleep 0", "closed": ">&-"}[kind]
    text = f"{shlex.join(command)} {end}; exit ${{PIPESTATUS[0]}}"
    if kind == "a pipe that nobody reads":  # the reader ends long before Python has started
        text = f"set -o pipefail; {shlex.join(command)} {end}"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert len(list(tmp_path.glob("*.zip"))) == 1
    if kind == "closed":
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert "cannot be printed" in done.stderr and len(done.stderr.splitlines()) == 1
