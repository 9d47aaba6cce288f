"""The process that works is started again when it dies, and what keeps it from working is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from slipcast.pipeline.studio import keeper as module
from slipcast.pipeline.studio.jobs_file import jobs_file
from slipcast.pipeline.studio.keeper import Keeper
from slipcast.pipeline.studio.processes import WORKER, living

WORKS = """
import signal, sys, time
from pathlib import Path
from slipcast.pipeline.studio.jobs_file import jobs_file
from slipcast.pipeline.studio.processes import WORKER, note_self
note_self(jobs_file(Path(sys.argv[1])).parent / WORKER, words=sys.argv[2:])
time.sleep(60)
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.05)
    jobs_file(tmp_path).parent.mkdir(parents=True)
    yield tmp_path


def until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def at_work(runs: Path) -> int | None:
    told = living(jobs_file(runs).parent / WORKER)
    return None if told is None else told["pid"]


def test_it_is_started_and_started_again_and_ended_with_the_server(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", WORKS))
    monkeypatch.setattr(module, "_QUICK_S", 0.0)
    keeper = Keeper(runs, 3)
    keeper.start()
    until(lambda: at_work(runs))
    first = at_work(runs)
    told = living(jobs_file(runs).parent / WORKER)
    assert first is not None and told is not None and told["words"] == ["3"]
    psutil.Process(first).kill()
    until(lambda: at_work(runs) not in (None, first))
    second = Keeper(runs)
    second.start()
    time.sleep(0.3)
    last = at_work(runs)
    assert second._process is None, "one that lives is taken over"
    second.stop()
    keeper.stop()
    assert last is not None and at_work(runs) is None and keeper.problem is None


def test_one_that_never_comes_to_work_is_told_and_tried_later_and_later(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print('first line'); sys.exit('the ledger is of a newer slipcast.')"
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", code))
    keeper, began = Keeper(runs), time.monotonic()
    keeper.start()
    until(lambda: keeper.problem is not None)
    assert keeper.problem is not None and "(the ledger is of a newer slipcast)" in keeper.problem
    assert keeper._next >= began + 2
    keeper.stop()
