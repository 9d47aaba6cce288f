"""Real workers and drivers, killed at random: the same command makes every job once, with the bytes of a quiet run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fakes.batch_program
import psutil
import pytest

from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.batch.ledger import ledger_folder, open_ledger
from slipcast.pipeline.batch.processes import Processes
from slipcast.pipeline.batch.work import Task
from slipcast.pipeline.run.progress import Reporter
from slipcast.pipeline.stages.table import STAGES

PROGRAM = [sys.executable, fakes.batch_program.__file__]
JOBS = "\n".join(
    [
        *(f'{{"prompt": "sleep 0.03 {name}"}}' for name in ("a", "b", "c", "d")),
        '{"prompt": "sleep 0.02 e", "refine.steps": 3}',
        '{"prompt": "sleep 0.02 e", "refine.steps": 4}',
        '{"prompt": "sleep 0.01 f", "tries": 3, "keep": 2}',
    ]
)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [*PROGRAM, "batch", "jobs.jsonl", "--workers", "2", "--attempts", "50", "--json", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def jobs_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "jobs.jsonl").write_text(JOBS)
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """What was made, beside the records, which hold times."""
    made = (
        path
        for stage in STAGES
        for name in ("made.txt", "asset.glb", *stage.gives)
        for path in folder.glob(f"runs/*/{stage.folder}/{name}")
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in made}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch that nobody disturbed."""
    folder = jobs_in(tmp_path_factory.mktemp("quiet") / "batch")
    out, err = start(folder).communicate(timeout=60)
    told = json.loads(out)
    assert told["counts"]["done"] == 7, err
    return folder


def test_every_stage_is_made_once(quiet: Path) -> None:
    made = Counter(line.rsplit(" ", 1)[0] for line in (quiet / "runs/stages.log").read_text().splitlines())
    assert set(made.values()) == {1}


def test_killed_at_random_and_started_again(quiet: Path, tmp_path: Path) -> None:
    folder, draw = jobs_in(tmp_path / "batch"), random.Random(7)
    kills, process = 0, start(folder)
    began = time.monotonic()
    while kills < 12 and time.monotonic() - began < 100:
        time.sleep(draw.uniform(0.1, 0.8))
        if process.poll() is not None:
            process.communicate()
            if process.returncode == 0:
                break
            process = start(folder)
        victim = psutil.Process(process.pid)
        if draw.random() < 0.6:
            workers = [one for one in victim.children() if "spawn_main" in " ".join(one.cmdline())]
            victim = draw.choice(workers) if workers else victim
        victim.kill()
        kills += 1
    process.communicate(timeout=60)
    out, err = start(folder).communicate(timeout=90)
    told = json.loads(out)
    assert told["counts"]["done"] == 7 and kills >= 5, err
    assert results(folder) == results(quiet) and len(results(folder)) > 60
    with open_ledger(ledger_folder(folder / "jobs.jsonl", folder / "runs")) as ledger:
        done = [
            sum(attempt["outcome"] == "done" for attempt in ledger.attempts(row.key))
            for row in ledger.all_rows()
        ]
        assert set(done) <= {0, 1}, "a job was done twice"


def test_ctrl_c_drains_and_a_second_one_stops(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "jobs.jsonl").write_text("\n".join(f'{{"prompt": "sleep 0.4 {n}"}}' for n in "abcdef"))
    for signals in (1, 2):
        process = start(folder, "--events", "events.jsonl")
        # At work on a stage: the first two jobs, and later the next two.
        wait_for(folder / "events.jsonl", '"outcome": "running"', 2 if signals == 1 else 2 * len(STAGES) + 2)
        began = time.monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130 and json.loads(out)["error"].startswith("stopped"), err
        assert "Traceback" not in err and ("stop once more" in err or signals == 2)
        counts = states(folder)
        if signals == 1:
            assert counts == {"done": 2, "queued": 4}, "what was at work ends, and nothing else begins"
        else:
            assert counts == {"done": 2, "queued": 4} and time.monotonic() - began < 25
            lines = [json.loads(p.read_text())["stages"] for p in folder.glob("runs/*/manifest.json")]
            assert {line["status"] for stages in lines for line in stages.values()} == {
                "finished",
                "interrupted",
            }


def wait_for(path: Path, text: str, count: int) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if path.exists() and path.read_text().count(text) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{text} was not there {count} times")


def states(folder: Path) -> dict[str, int]:
    with open_ledger(ledger_folder(folder / "jobs.jsonl", folder / "runs")) as ledger:
        return {state: number for state, number in ledger.counts().items() if number}


def test_workers_of_a_killed_driver_end_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "sleep 100 a"}')
    process = start(tmp_path, "--events", "events.jsonl")
    wait_for(tmp_path / "events.jsonl", '"outcome": "running"', 1)
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=50)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_has_its_environment_and_answers(tmp_path: Path) -> None:
    engine = Processes(environment_of, [{"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "1"}])
    try:
        worker = engine.give(0, task(tmp_path))
        (event,) = _until(engine, "done")
        assert event.values == {"threads": "3", "gpu": "1", "pid": worker.pid, "leads": True}
        assert engine.memory_mb(0) > 1.0
        os.kill(worker.pid, signal.SIGKILL)
        (event,) = _until(engine, "died")
        assert event.values["signal"] == 9 and engine.memory_mb(0) == 0.0
        assert engine.give(0, task(tmp_path)).pid != worker.pid
        assert _until(engine, "done")
    finally:
        engine.close()
    assert not [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]


def test_a_worker_that_is_asked_twice_to_stop_still_writes_down_where_it_was(tmp_path: Path) -> None:
    """Ctrl-C asks all processes that were started here, and then the engine closes."""
    engine = Processes(written_at_the_end, [{}])
    worker = engine.give(0, task(tmp_path))
    _until(engine, "notice")
    os.kill(worker.pid, signal.SIGTERM)
    wait_for(tmp_path / "where", "", 1)
    engine.close(gently=True)
    assert (tmp_path / "where").read_text() == "here"


def written_at_the_end(task: Task, console: Reporter, shelf: object) -> dict[str, object]:
    try:
        console.notice("at work")  # from here on it may be asked to stop, and whatever it tells next ends it
        advance = console.task("steps", 1_000_000)
        while True:
            time.sleep(0.01)
            advance()
    finally:
        (task.out / "where").write_text("writing")
        time.sleep(0.5)  # a second signal comes meanwhile
        (task.out / "where").write_text("here")


def task(folder: Path) -> Task:
    return Task("k", "a vase", 0, MakeConfig(), folder / "a-vase-0", folder)


def environment_of(task: Task, console: object, shelf: object) -> dict[str, object]:
    return {
        "threads": os.environ["OMP_NUM_THREADS"],
        "gpu": os.environ["CUDA_VISIBLE_DEVICES"],
        "pid": os.getpid(),
        "leads": os.getpgid(0) == os.getpid(),
    }


def _until(engine: Processes, kind: str) -> list:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := [event for event in engine.wait(0.2) if event.kind == kind]:
            return found
    raise AssertionError(f"no event {kind}")


def test_a_job_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"prompt": "big a"}\n{"prompt": "b"}')
    out, err = start(tmp_path, "--memory-limit", "200M").communicate(timeout=60)
    told = {job["prompt"]: job for job in json.loads(out)["jobs"]}
    assert told["b"]["state"] == "done" and told["big a"]["state"] == "set aside", err
    assert "of memory, more than its 200 MB" in told["big a"]["error"]
