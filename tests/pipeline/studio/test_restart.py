"""Real processes: server, worker and worker's worker are killed in the middle of a job, and nothing is lost.

The stages are fakes that sleep (``fakes.batch_work``); the server, the ledger and who starts whom are the real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes.studio_program
import psutil
import pytest

from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.processes import SERVER, WORKER, living

pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")

PROGRAM = [sys.executable, fakes.studio_program.__file__, "serve"]


class Studio:
    """A folder of runs with servers that come and go."""

    def __init__(self, runs: Path) -> None:
        self.desk = Desk(runs)
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> float:
        """Start a server; the seconds until its first page was there."""
        began = time.monotonic()
        words = [*PROGRAM, str(self.desk.runs), "0"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://127.0.0.1:" in line, line + self.process.stdout.read()
        self.address = line.split()[2]
        assert "What shall it be?" in self.get("/")
        return time.monotonic() - began

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return answer.read().decode()

    def send(self, path: str, **fields: str) -> str:
        """POST a form as a page of ours does; the address that it leads to."""
        data = urllib.parse.urlencode(fields).encode()
        asked = urllib.request.Request(self.address + path, data, {"Origin": self.address})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.url.removeprefix(self.address)

    def worker(self) -> int:
        """The number of the process that works off the queue."""
        note = self.desk.folder / WORKER
        until(lambda: living(note) is not None)
        told = living(note)
        assert told is not None
        return told["pid"]

    def states(self) -> dict[str, str]:
        return {row.prompt: row.state for row in self.desk.rows()}

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path / "runs")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.send_signal(signal.SIGINT)
        made.process.communicate(timeout=60)
    told = living(made.desk.folder / WORKER)
    if told is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(told["pid"]).kill()


def stages_of(studio: Studio) -> Counter[str]:
    lines = (studio.desk.runs / "stages.log").read_text().splitlines()
    return Counter(line.rsplit(" ", 1)[0] for line in lines)


@pytest.mark.slow
def test_the_server_is_killed_in_the_middle_of_a_job_and_another_one_goes_on(studio: Studio) -> None:
    studio.start()
    path = studio.send("/make", prompt="sleep 0.4 a", how="whole")
    studio.send("/make", prompt="sleep 0.1 b", how="whole")
    until(lambda: studio.states()["sleep 0.4 a"] == "running")
    worker = studio.worker()
    studio.kill()
    assert psutil.pid_exists(worker), "what is at work goes on without a server"
    with pytest.raises(urllib.error.URLError):
        studio.get("/")
    studio.start()
    assert studio.worker() == worker, "it is taken over"
    assert "sleep 0.4 a" in studio.get(path)
    until(lambda: set(studio.states().values()) == {"done"})
    assert '"spoken":"finished"' in studio.get(f"{path}/state")
    assert set(stages_of(studio).values()) == {1}, "no stage was made twice"
    later = studio.send("/make", prompt="sleep 0.01 c", how="whole")
    until(lambda: '"spoken":"finished"' in studio.get(f"{later}/state"))


@pytest.mark.slow
def test_the_process_at_work_is_killed_and_so_is_its_worker_and_the_job_is_done_all_the_same(
    studio: Studio,
) -> None:
    studio.start()
    path = studio.send("/make", prompt="sleep 0.5 a", how="whole")
    until(lambda: studio.states()["sleep 0.5 a"] == "running")
    first = studio.worker()
    os.kill(first, signal.SIGKILL)
    until(lambda: (told := living(studio.desk.folder / WORKER)) is not None and told["pid"] != first)
    until(lambda: psutil.Process(studio.worker()).children() and studio.states()["sleep 0.5 a"] == "running")
    time.sleep(0.3)
    for child in psutil.Process(studio.worker()).children():
        child.kill()
    until(lambda: '"spoken":"finished"' in studio.get(f"{path}/state"))
    assert set(stages_of(studio).values()) == {1}, "finished stages were kept"
    with studio.desk.ledger() as ledger:
        row = studio.desk.rows()[0]
        outcomes = [attempt["outcome"] for attempt in ledger.attempts(row.key)]
    assert outcomes[0] == "interrupted" and outcomes[-1] == "done"


@pytest.mark.slow
def test_fifty_jobs_outlive_a_restart_and_a_job_at_work_is_cancelled(studio: Studio) -> None:
    studio.start()
    first = studio.send("/make", prompt="sleep 30 a", how="whole")
    for number in range(50):
        studio.send("/make", prompt=f"sleep 0.01 jug {number}", how="whole", seed=str(number))
    until(lambda: studio.states()["sleep 30 a"] == "running")
    process = studio.process
    assert process is not None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and living(studio.desk.folder / WORKER) is None
    assert living(studio.desk.folder / SERVER) is None
    assert Counter(studio.states().values()) == {"queued": 51}
    studio.start()
    assert "<strong>5" in studio.get("/jobs") and "Page 1 of 3" in studio.get("/jobs")
    until(lambda: studio.states()["sleep 30 a"] == "running")
    studio.send(f"{first}/cancel")
    until(lambda: Counter(studio.states().values()) == {"cancelled": 1, "done": 50}, 120.0)
    assert json.loads(studio.get(f"{first}/state"))["spoken"] == "cancelled"


def test_without_a_server_the_queue_is_worked_off_and_the_process_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "runs")
    names = [desk.submit({"prompt": f"sleep 0.01 {letter} jug"}) for letter in "ab"]
    words = [sys.executable, fakes.studio_program.__file__, "work", str(desk.runs)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert {row.id: row.state for row in desk.rows()} == dict.fromkeys(names, "done")
    assert not (desk.folder / WORKER).exists()


def test_a_line_that_has_gone_fails_its_job_and_no_other(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "runs")
    names = [desk.submit({"prompt": f"sleep 0.01 {letter} jug"}) for letter in "ab"]
    lines = desk.file.read_text().splitlines(keepends=True)
    desk.file.write_text(lines[1])
    words = [sys.executable, fakes.studio_program.__file__, "work", str(desk.runs)]
    subprocess.run(words, check=True, capture_output=True, timeout=100)
    rows = {row.id: row for row in desk.rows()}
    assert (rows[names[0]].state, rows[names[1]].state) == ("failed", "done")
    assert "its line has gone" in str(rows[names[0]].error)


def test_the_studios_queue_is_a_batch_as_any_other(tmp_path: Path) -> None:
    from slipcast.pipeline.batch.asking import status
    from slipcast.pipeline.batch.jobs import read_jobs

    desk = Desk(tmp_path / "runs")
    name = desk.submit({"prompt": "a vase", "seed": 3, "overrides": {"refine.steps": 5}})
    (job,), _ = read_jobs(desk.file)
    with desk.ledger() as ledger:
        assert (job.id, job.key) == (name, ledger.rows()[0].key)
    assert [one["id"] for one in status(desk.file, desk.runs)["jobs"]] == [name]
