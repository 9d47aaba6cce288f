"""Finished stages go to an address and come back, whole or not at all: on fsspec's memory, and on an S3 server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes.batch_program
import pytest
from fakes.s3_server import Server, s3_server
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.batch.entering import enter
from slipcast.pipeline.batch.jobs import read_jobs
from slipcast.pipeline.batch.ledger import open_ledger
from slipcast.pipeline.batch.remote import Remote, is_address
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.record import StageRecord, outputs_of, write_record

pytest.importorskip("fsspec", reason="needs the extra [cluster]: fsspec")
needs_s3 = pytest.mark.skipif(
    not (importlib.util.find_spec("s3fs") and importlib.util.find_spec("moto")),
    reason="needs the extra [cluster]: s3fs, and moto of the extra [dev]",
)


def finished_stage(run: Path, name: str = "10-image", text: str = "a picture", **files: str) -> Path:
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in ({"image": text} | files).items():
        (folder / file).write_text(content)
    write_record(folder, StageRecord("key", outputs_of(folder), {}, 1.0, 1.0))
    return folder


@pytest.fixture
def memory() -> Iterator[Remote]:
    from fsspec.implementations.memory import MemoryFileSystem

    yield Remote("memory://bucket/prefix/")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def stored(remote: Remote) -> dict[str, bytes]:
    root = remote._root
    return {name[len(root) + 1 :]: remote._fs.cat_file(name) for name in remote._fs.find(root)}


def test_a_run_goes_there_and_comes_back_as_it_was(memory: Remote, tmp_path: Path) -> None:
    run = tmp_path / "here" / "a-vase-0"
    folder = finished_stage(run, notes="two")
    (folder / "somebody.txt").write_text("a file of a person's own is no result")
    (run / "manifest.json").write_text("{}")
    memory.store_stage(folder, Quiet())
    memory.store_run(run)
    assert memory.runs() == {"a-vase-0"}
    assert sorted(stored(memory)) == [
        "a-vase-0/10-image/image",
        "a-vase-0/10-image/notes",
        "a-vase-0/10-image/stage.json",
        "a-vase-0/manifest.json",
    ]
    back = tmp_path / "there" / "a-vase-0"
    memory.fetch(back, Quiet())
    for name in ("10-image/image", "10-image/notes", "10-image/stage.json", "manifest.json"):
        assert (back / name).read_bytes() == (run / name).read_bytes()
    (back / "10-image/image").write_text("edited")
    memory.fetch(back, Quiet())
    assert (back / "10-image/image").read_text() == "edited", "what is here stays"


def _noting(done: list[tuple[str, str]], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def told(*given: Any) -> Any:
        done.append((name, str(given[1] if name == "put_file" else given[0]).rpartition("/")[2]))
        return real(*given)

    return told


def test_the_record_is_stored_last_and_removed_first(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    for name in ("put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(memory._fs, name, _noting(done, name, getattr(memory._fs, name)))
    run = tmp_path / "a-vase-0"
    memory.store_stage(finished_stage(run, old="only in the first"), Quiet())
    assert [name for _, name in done] == ["stage.json", "image", "old", "stage.json"]
    done.clear()
    memory.store_stage(run / "10-image", Quiet())
    assert not done, "what is there is not stored again"
    (run / "10-image" / "old").unlink()
    memory.store_stage(finished_stage(run, text="another picture"), Quiet())
    assert done[0] == ("rm_file", "stage.json") and done[-1] == ("pipe_file", "stage.json")
    assert ("rm_file", "old") in done and "a-vase-0/10-image/old" not in stored(memory)


@pytest.mark.parametrize("fails_at", range(5))
def test_a_file_system_that_fails_half_way_leaves_nothing_that_counts(
    memory: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Whichever file it fails at: the sentence says so, nothing half-stored comes back, the same again stores it."""
    folder = finished_stage(tmp_path / "here" / "a-vase-0", a="1", b="2", c="3")
    left, real = fails_at, memory._put

    def put(data: Any, place: str) -> None:
        nonlocal left
        if left == 0:
            raise ConnectionResetError("the wire is cut")
        left -= 1
        real(data, place)

    monkeypatch.setattr(memory, "_put", put)
    with pytest.raises(
        SlipcastError, match=r"memory://bucket/prefix: storing a-vase-0/10-image failed .*wire is cut"
    ):
        memory.store_stage(folder, Quiet())
    back = tmp_path / "there" / "a-vase-0"
    memory.fetch(back, Quiet())
    assert not (back / "10-image").exists()
    monkeypatch.setattr(memory, "_put", real)
    memory.store_stage(folder, Quiet())
    memory.fetch(back, Quiet())
    assert {path.name for path in (back / "10-image").iterdir()} == {"a", "b", "c", "image", "stage.json"}


def test_what_was_damaged_there_is_said_and_left(memory: Remote, tmp_path: Path) -> None:
    memory.store_stage(finished_stage(tmp_path / "a-vase-0"), Quiet())
    memory._fs.pipe_file(f"{memory._root}/a-vase-0/10-image/image", b"half a pic")
    console, back = Quiet(), tmp_path / "there" / "a-vase-0"
    memory.fetch(back, console)
    assert console.notices == ["memory://bucket/prefix/a-vase-0/10-image is not whole; it is made again"]
    assert not list(back.glob("*")) and not list(back.glob(".*"))


def test_folders_of_other_runs_that_lie_there_are_not_taken(memory: Remote, tmp_path: Path) -> None:
    """A driver that lost its disk: the run there is of other settings, so ours gets a folder of its own."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"prompt": "a vase"}')
    run = finished_stage(tmp_path / "first" / "a-vase-0").parent
    manifest = {"format": 1, "prompt": "a vase", "seed": 0, "stages": {}}
    (run / "manifest.json").write_text(json.dumps(manifest | {"config": {"refine": {"steps": 7}}}))
    memory.store_stage(run / "10-image", Quiet())
    memory.store_run(run)
    with open_ledger(tmp_path / "new" / "jobs.batch", make=True) as ledger:
        enter(ledger, read_jobs(jobs)[0], tmp_path / "new", memory)
        (row,) = ledger.rows()
        assert row.folder.startswith("a-vase-0-") and ledger.about("remote") == "memory://bucket/prefix"


def test_results_that_are_gone_there_or_lie_elsewhere_are_made_again(memory: Remote, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"prompt": "a vase"}')
    entries = read_jobs(jobs)[0]

    def state(remote: Remote | None) -> str:
        enter(ledger, entries, tmp_path, remote)
        return ledger.rows()[0].state

    with open_ledger(tmp_path / "jobs.batch", make=True) as ledger:
        enter(ledger, entries, tmp_path, memory)
        memory.store_stage(finished_stage(tmp_path / "a-vase-0"), Quiet())
        ledger.end(entries[0].key, "done", outcome="done", result="a-vase-0/10-image")
        assert state(memory) == "done"
        assert state(Remote("memory://other")) == "queued", "it was never stored there"
        ledger.end(entries[0].key, "done", outcome="done", result="a-vase-0/10-image")
        assert state(Remote("memory://other")) == "queued", "it is not there"
        ledger.end(entries[0].key, "done", outcome="done", result="a-vase-0/10-image")
        assert state(None) == "done", "it lies here"
        memory.store_run(finished_stage(tmp_path / "a-vase-0").parent)
        assert state(memory) == "queued", "of what was made in the meantime only a part may be there"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense://x/y", "no address that can be used .*nonsense"),
        ("file:///proc/nothing/here", "file:///proc/nothing/here: writing failed .*; nothing was made"),
    ],
)
def test_addresses_that_cannot_be_used_are_told_first(address: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Remote(address).check()


def test_nothing_of_fsspec_is_imported_without_an_address() -> None:
    code = "import sys, slipcast.pipeline.batch.running, slipcast.pipeline.batch.worker; print('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_addresses_are_addresses() -> None:
    assert is_address("s3://bucket") and not is_address("runs") and not is_address("C:/runs")


def test_folders_are_made_where_a_file_system_has_them(tmp_path: Path) -> None:
    remote = Remote(f"file://{tmp_path}/out")
    remote.check()
    remote.store_stage(finished_stage(tmp_path / "a-vase-0"), Quiet())
    remote.fetch(tmp_path / "back" / "a-vase-0", Quiet())
    assert (tmp_path / "back/a-vase-0/10-image/image").read_text() == "a picture"


# A real server, and batches in processes of their own -------------------------------------------------------------

JOBS = '{"prompt": "sleep 0.02 a"}\n{"prompt": "sleep 0.02 b", "seed": 1}\n{"prompt": "c", "tries": 2}'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3_server() as running:
        running.client().mkdir("bucket")  # type: ignore[attr-defined]
        yield running


def batch(folder: Path, server: Server, *options: str) -> tuple[int, dict[str, Any], str]:
    folder.mkdir(exist_ok=True)
    (folder / "jobs.jsonl").write_text(JOBS)
    command = [sys.executable, fakes.batch_program.__file__, "batch", "jobs.jsonl", "--json", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | server.environment,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


@needs_s3
@pytest.mark.slow
def test_a_batch_on_s3_goes_on_after_its_machine_was_lost(server: Server, tmp_path: Path) -> None:
    out = ("--out", "s3://bucket/prefix", "--workers", "1")
    code, told, err = batch(tmp_path / "first", server, *out)
    assert code == 0 and told["counts"]["done"] == 3, err
    fs: Any = server.client()
    for one in told["jobs"]:
        assert one["result"].startswith("s3://bucket/prefix/") and fs.exists(one["result"])
    assert not fs.exists("bucket/prefix/.slipcast-probe")
    # Another machine, without ledger and runs; of one stage the record is gone, as if it had been half-stored.
    (lost,) = fs.glob("bucket/prefix/sleep*-0/40-*/stage.json")
    fs.rm_file(lost)
    before = {name: fs.cat_file(name) for name in fs.find("bucket/prefix") if name.endswith("made.txt")}
    code, told, err = batch(tmp_path / "second", server, *out)
    assert code == 0 and told["counts"]["done"] == 3, err
    made = [line.split()[:2] for line in (tmp_path / "second/runs/stages.log").read_text().splitlines()]
    assert made == [[lost.split("/")[2], "mesh"]], "the finished stages came back"
    assert {name: fs.cat_file(name) for name in before} == before and fs.exists(lost)


@needs_s3
@pytest.mark.slow
def test_a_server_that_dies_half_way_loses_nothing(tmp_path: Path) -> None:
    out = ("--out", "s3://bucket", "--workers", "1", "--attempts", "1")
    with s3_server() as server:
        client: Any = server.client()
        client.mkdir("bucket")

        def cut() -> None:
            end = time.monotonic() + 240
            while not client.glob("bucket/*/30-refine/stage.json") and time.monotonic() < end:
                time.sleep(0.05)
            server.process.kill()

        thread = threading.Thread(target=cut)
        thread.start()
        code, told, err = batch(tmp_path, server, *out)
        thread.join()
        assert code == 1 and told["error"].endswith("queues them once more") and "Traceback" not in err
        assert "storing" in err and "what is finished lies here" in err
        code, told, err = batch(tmp_path, server, *out)
        assert code == 2 and "s3://bucket: writing failed" in told["error"], (
            "nobody answers: told before any work"
        )
    made = (tmp_path / "runs/stages.log").read_text()
    with s3_server() as server:  # which has forgotten what it had
        client = server.client()
        client.mkdir("bucket")
        asked = CliRunner().invoke(
            app, ["batch", "retry", str(tmp_path / "jobs.jsonl"), "--out", str(tmp_path / "runs")]
        )
        assert asked.exit_code == 0, asked.stderr
        code, told, err = batch(tmp_path, server, *out)
        assert code == 0 and told["counts"]["done"] == 3, err
        assert all(client.exists(one["result"]) for one in told["jobs"])
    again = Counter((tmp_path / "runs/stages.log").read_text().splitlines())
    assert made and set(again.values()) == {1}, "no stage was made twice"
