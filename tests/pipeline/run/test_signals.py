"""Ctrl-C and SIGTERM, sent to real processes at any moment: the exit code, the manifest, and that the run goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fakes.stoppable_run
import pytest

from slipcast.configs.errors import SlipcastError
from slipcast.configs.stopping import Stopped, ask_to_stop, asked_to_stop, check_stop, forget, when_stopped
from slipcast.pipeline.run.progress import Lines, Progress, Quiet
from slipcast.pipeline.run.signals import stop_on_signals

PROGRAM = fakes.stoppable_run.__file__


@pytest.fixture(autouse=True)
def _nobody_asks() -> Iterator[None]:
    yield
    forget()


def _start(folder: Path, mode: str, *, ignoring: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, PROGRAM, mode, "make", "a blue vase", "--json"]
    if ignoring:  # as the shell starts what it runs in the background
        command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None and process.stderr.readline() == "ready\n"
    return process


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def _statuses(folder: Path) -> list[str]:
    manifest = folder / "runs" / "a-blue-vase-0" / "manifest.json"
    if not manifest.exists():
        return []
    return [line["status"] for line in json.loads(manifest.read_text())["stages"].values()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "number", "ignoring"),
    [
        ("plain", signal.SIGINT, True),
        ("importing", signal.SIGINT, False),
        ("swallow", signal.SIGINT, False),
        ("break", signal.SIGTERM, False),
        ("block", signal.SIGINT, False),
        ("pool", signal.SIGTERM, False),
    ],
)
def test_a_signal_at_any_moment_stops_and_the_same_command_goes_on(
    mode: str, number: signal.Signals, ignoring: bool, tmp_path: Path
) -> None:
    draw = random.Random(f"{mode} {number} {ignoring}")
    process = _start(tmp_path, mode, ignoring=ignoring)
    time.sleep(draw.uniform(0.1, 0.9))
    process.send_signal(number)
    code, out, err = _end(process)
    assert code == 128 + number, err
    assert "Traceback" not in err and "stopped; nothing finished is lost" in err.splitlines()[-1]
    assert json.loads(out)["error"].startswith("stopped")
    assert "running" not in _statuses(tmp_path) and _statuses(tmp_path)[-1:] in ([], ["interrupted"])
    code, out, err = _end(_start(tmp_path, "plain"))
    assert code == 0, err
    assert Path(tmp_path, json.loads(out)["glb"]).is_file() and set(_statuses(tmp_path)) == {"finished"}


def test_a_second_signal_does_not_wait_for_the_next_step(tmp_path: Path) -> None:
    process = _start(tmp_path, "sleepy")
    while _statuses(tmp_path) != ["running"]:
        time.sleep(0.02)
    time.sleep(0.2)
    began = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    code, _, err = _end(process)
    assert code == 130 and "stopped" in err and time.monotonic() - began < 20
    assert _statuses(tmp_path) == ["interrupted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_nothing_where_it_falls(number: int) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    ended: list[str] = []
    with stop_on_signals(), when_stopped(lambda: ended.append("the program that was waited for")):
        signal.raise_signal(number)
        assert asked_to_stop() == number and len(ended) == 1
        with pytest.raises(Stopped):
            check_stop()
        with pytest.raises(Stopped):
            signal.raise_signal(number)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    check_stop()  # the request was for the block alone


def test_at_once_raises_where_it_falls() -> None:
    with stop_on_signals(), stop_on_signals(at_once=True), pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)


def test_other_threads_leave_the_handlers_alone() -> None:
    seen = []

    def elsewhere() -> None:
        with stop_on_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("progress", [Quiet(), Lines(open(os.devnull, "w"))])  # noqa: SIM115
def test_every_step_of_progress_looks_at_the_flag(progress: Progress) -> None:
    advance = progress.task("steps", 3)
    advance()
    ask_to_stop(signal.SIGINT)
    with pytest.raises(Stopped):
        advance()


def test_a_block_that_begins_after_the_signal_does_not_begin() -> None:
    ask_to_stop(signal.SIGTERM)
    with pytest.raises(Stopped), when_stopped(lambda: None):
        raise SlipcastError("this was reached")
