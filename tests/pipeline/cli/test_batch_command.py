"""``slipcast batch`` from the outside: what it prints, its exit codes, and that it refuses before it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from slipcast.pipeline.batch import running
from slipcast.pipeline.batch.engine import Event
from slipcast.pipeline.batch.ledger import open_ledger
from slipcast.pipeline.batch.rows import Worker
from slipcast.pipeline.batch.work import Task
from slipcast.pipeline.cli.app import app


class _AtOnce:
    """An engine that makes everything at once; what is called ``bad`` it cannot make."""

    places = 1

    def __init__(self) -> None:
        self.events: list[Event] = []

    def leg(self, place: int) -> int:
        return 0

    def ready(self, place: int) -> bool:
        return True

    def give(self, place: int, task: Task) -> Worker:
        values: dict[str, Any] = {"seconds": 1.0, "peak_mb": 1.0, "made": [], "score": None}
        result = task.folder / "50-export" / "asset.glb"
        if "bad" in task.prompt:
            self.events.append(Event(place, "failed", {"how": "input", "error": "it is bad"}))
            return Worker("here", 1, 1.0)
        result.parent.mkdir(parents=True)
        result.touch()
        self.events.append(Event(place, "done", values | {"result": str(result)}))
        return Worker("here", 1, 1.0)

    def wait(self, timeout_s: float) -> list[Event]:
        events, self.events = self.events, []
        return events

    def memory_mb(self, place: int) -> float:
        return 0.0

    def end(self, place: int, *, gently: bool = False) -> None: ...

    def close(self, *, gently: bool = False) -> None: ...


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_processes", lambda plan: _AtOnce())
    Path("jobs.txt").write_text("a vase\na cup\n")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["batch", *arguments])


def test_each_result_is_a_line_and_the_same_command_makes_nothing_again() -> None:
    result = _run("jobs.txt")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [f"runs/a-{name}-0/50-export/asset.glb" for name in ("vase", "cup")]
    assert "2 done" in result.stderr and all(Path(line).is_file() for line in result.stdout.splitlines())
    assert _run("run", "jobs.txt").stdout == result.stdout
    with open_ledger(Path("runs/jobs.txt.batch")) as ledger:
        assert [len(ledger.attempts(row.key)) for row in ledger.rows()] == [1, 1]


def test_failures_are_told_and_tried_again_when_asked_for() -> None:
    Path("jobs.txt").write_text("a vase\na bad cup\n")
    result = _run("jobs.txt", "--json")
    assert result.exit_code == 1 and "`slipcast batch retry jobs.txt`" in result.stderr
    told = json.loads(result.stdout)
    assert told["counts"]["failed"] == 1 and [job["state"] for job in told["jobs"]] == ["done", "failed"]
    status = _run("status", "jobs.txt")
    assert "it is bad" in status.stdout and status.stdout.splitlines()[-1] == "1 done, 1 failed"
    (name,) = json.loads(_run("retry", "jobs.txt", "--json").stdout)["queued"]
    assert json.loads(_run("status", "jobs.txt", "--json").stdout)["counts"]["queued"] == 1
    assert _run("cancel", "jobs.txt", name).stdout.strip() == name
    assert _run("jobs.txt").exit_code == 0, "a cancelled job is left out, and no failure"
    assert _run("cancel", "jobs.txt").stdout.strip() == "nothing to be cancelled"
    again = _run("cancel", "jobs.txt", name)
    assert again.exit_code == 2 and "is cancelled, and not queued or running" in again.stderr


def test_events_are_json_lines() -> None:
    result = _run("jobs.txt", "--events", "-")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events if event["job"]] == ["started", "done"] * 2
    assert all(isinstance(event["time"], float) for event in events)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.txt"], "there is no job file or folder none.txt"),
        (["jobs.txt", "refine.stps=1"], "did you mean refine.steps?"),
        (["jobs.txt", "--config", "none"], "there is no preset 'none'"),
        (["jobs.txt", "--memory-limit", "much"], "expected a size such as 900M or 4G, not 'much'"),
        (["jobs.txt", "base=none"], "jobs.txt line 1:"),
        (["jobs.txt", "domain=elsewhere"], "jobs.txt line 1: domain expects 'starter'"),
        (["status", "jobs.txt"], "there is no batch in runs/jobs.txt.batch yet"),
        (["retry", "jobs.txt"], "there is no batch in"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_has_run(arguments: list[str], said: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2 and said in result.stderr, result.stderr
    assert not Path("runs/a-vase-0").exists() and result.stdout == ""


def test_broken_lines_are_left_out_with_keep_going() -> None:
    Path("jobs.txt").write_text("a vase\n123\n")
    assert _run("jobs.txt").exit_code == 2
    result = _run("jobs.txt", "--keep-going", "--json")
    assert result.exit_code == 0
    assert (
        "jobs.txt line 2: the prompt '123' holds no letters; say in words what to make; left out"
        in result.stderr
    )
    assert len(json.loads(result.stdout)["left_out"]) == 1


def test_two_job_files_of_one_name_do_not_share_a_ledger() -> None:
    assert _run("jobs.txt").exit_code == 0
    Path("other").mkdir()
    Path("other/jobs.txt").write_text("a pot\n")
    result = _run("other/jobs.txt")
    assert result.exit_code == 2 and "use another --out for other/jobs.txt" in result.stderr
    Path("jobs.txt").rename("other/jobs.txt")  # the file was moved, and its batch goes on
    assert _run("other/jobs.txt").exit_code == 0


def test_a_batch_that_is_being_worked_on() -> None:
    with open_ledger(Path("runs/jobs.txt.batch"), make=True) as ledger, ledger.driving():
        result = _run("jobs.txt")
    assert result.exit_code == 1 and "this batch is being worked on already, by process" in result.stderr


def test_a_file_in_the_place_of_the_folder() -> None:
    Path("runs").write_text("no folder")
    result = _run("jobs.txt")
    assert result.exit_code == 2 and "runs is a file, not a folder" in result.stderr


def test_a_report_is_written_beside_the_ledger() -> None:
    assert CliRunner().invoke(app, ["batch", "jobs.txt"]).exit_code == 0
    nothing = CliRunner().invoke(app, ["batch", "report", "jobs.txt"])
    assert nothing.exit_code == 2 and "nothing to show" in nothing.stderr  # these workers write no manifest
    for run in ("a-vase-0", "a-cup-0"):
        told = {"format": 1, "prompt": run[:-2].replace("-", " "), "seed": 0, "stages": {}}
        Path("runs", run, "manifest.json").write_text(json.dumps(told))
    done = CliRunner().invoke(app, ["batch", "report", "jobs.txt"])
    assert done.exit_code == 0 and done.stdout.strip() == "runs/jobs.txt.batch/index.html", done.stderr
    page = Path("runs/jobs.txt.batch/index.html").read_text()
    assert page.count("<article") == 2 and 'href="./../a-cup-0/report.html"' in page


def test_an_address_needs_its_package_and_the_ledger_lies_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    refused = CliRunner().invoke(app, ["batch", "jobs.txt", "--out", "s3://bucket", "--local", "here"])
    assert refused.exit_code == 2 and 'pip install "slipcast[cluster]"' in refused.stderr
    told = CliRunner().invoke(app, ["batch", "status", "jobs.txt", "--out", "s3://bucket", "--local", "here"])
    assert told.exit_code == 2 and "no batch in here/jobs.txt.batch" in told.stderr


def test_a_folder_that_cannot_be_written() -> None:
    done = CliRunner().invoke(app, ["batch", "jobs.txt", "--out", "/proc/nowhere"])
    assert done.exit_code in (1, 2) and "/proc/nowhere" in done.stderr and "Traceback" not in done.stderr
