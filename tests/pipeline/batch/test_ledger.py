"""The ledger keeps what it is told, whoever is killed; and it is quick enough for ten thousand jobs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.batch.ledger import Ledger, open_ledger
from slipcast.pipeline.batch.rows import STATES, Worker

WORKER = Worker("here", 7, 1.0)


def job(number: int, **more: Any) -> dict[str, Any]:
    told = {"key": f"k{number}", "id": f"job {number}", "parent": None, "place": number, "prompt": "a vase"}
    return told | {"seed": number, "until": None, "models": "m", "folder": f"runs/{number}"} | more


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "a.batch", make=True) as opened:
        yield opened


def test_adding_a_job_again_changes_nothing(ledger: Ledger) -> None:
    ledger.add([job(1), job(2)])
    ledger.start("k1", WORKER)
    ledger.end("k1", "done", outcome="done", result="a.glb", seconds=2.0)
    ledger.add([job(1, folder="elsewhere"), job(2), job(3)])
    assert ledger.counts() == dict.fromkeys(STATES, 0) | {"done": 1, "queued": 2}
    row = ledger.row("k1")
    assert row is not None and (row.result, row.folder, row.seconds) == ("a.glb", "runs/1", 2.0)


def test_jobs_come_in_the_files_order_and_those_of_a_workers_models_first(ledger: Ledger) -> None:
    ledger.add([job(2, models="b"), job(1, models="a"), job(3, models="a"), job(4, models="a")])
    ledger.end("k4", "queued", outcome="failed", not_before=100.0)
    ledger.end("k3", "queued", outcome="out of memory", low_memory=True)

    def due(now: float, **options: Any) -> str | None:
        row = ledger.due(now, **options)
        return None if row is None else row.key

    assert due(0.0) == "k1" and due(0.0, models="b") == "k2" and due(0.0, low_memory=True) == "k3"
    for key in ("k1", "k2", "k3"):
        ledger.start(key, WORKER)
    assert due(99.0) is None and due(100.0) == "k4" and ledger.next_time() == 100.0


def test_attempts_stages_and_loads_are_kept(ledger: Ledger) -> None:
    ledger.add([job(1)])
    first = ledger.start("k1", WORKER)
    ledger.stage("k1", first, "image", seconds=None, outcome="running")
    ledger.stage("k1", first, "image", seconds=1.5, outcome="made")
    ledger.end("k1", "queued", outcome="died", error="it was killed", counts=True)
    ledger.start("k1", Worker("there", 8, 2.0))
    ledger.end("k1", "queued", outcome="interrupted")
    ledger.loaded(WORKER, ["base", "domain"])
    ledger.loaded(WORKER, ["base"])
    died, interrupted = ledger.attempts("k1")
    assert (died["outcome"], died["error"], died["pid"]) == ("died", "it was killed", 7)
    assert [(stage["stage"], stage["seconds"]) for stage in died["stages"]] == [("image", 1.5)]
    assert interrupted["host"] == "there" and interrupted["ended"] >= interrupted["started"]
    row = ledger.row("k1")
    assert row is not None and row.attempts == 1  # that a driver was stopped is no fault of the job
    assert {load["model"]: load["times"] for load in ledger.loads()} == {"base": 2, "domain": 1}


def test_what_a_file_no_longer_holds_is_left_out_and_comes_back(ledger: Ledger) -> None:
    ledger.add([job(1), job(2), job(3, parent="k2")])
    ledger.end("k1", "done", outcome="done")
    assert ledger.leave_out({"k3"}) == 2 and sum(ledger.counts().values()) == 0 and ledger.due(1.0) is None
    ledger.add([job(1), job(2)])
    assert ledger.counts()["done"] == 1 and ledger.counts()["queued"] == 1


def test_one_driver_at_a_time(ledger: Ledger) -> None:
    with (
        ledger.driving(),
        open_ledger(ledger.folder) as other,
        pytest.raises(SlipcastError, match=r"worked on already, by process \d+"),
        other.driving(),
    ):
        pass
    with ledger.driving():  # which is free again
        pass


def test_a_change_by_somebody_else_is_seen(ledger: Ledger) -> None:
    ledger.add([job(1)])
    before = ledger.changes()
    assert ledger.changes() == before
    with open_ledger(ledger.folder) as other:
        other.set_state("k1", "cancelled")
    assert ledger.changes() != before


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no batch in"), open_ledger(tmp_path):
        pass
    with open_ledger(tmp_path, make=True):
        pass
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(BadInput, match=r"newer slipcast .version 3, this one reads 2"), open_ledger(tmp_path):
        pass
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(BadInput, match="no ledger of a batch"), open_ledger(tmp_path):
        pass
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(BadInput, match="a database, but no ledger"), open_ledger(tmp_path):
        pass


def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(SlipcastError, match=r"disk is full.; put that right, then the same command goes on"),
        open_ledger(tmp_path, make=True) as ledger,
    ):
        ledger.add([job(1)])
        ledger._db.execute(
            f"PRAGMA max_page_count = {ledger._db.execute('PRAGMA page_count').fetchone()[0] + 1}"
        )
        ledger.add(job(number) for number in range(2, 10_000))
    with open_ledger(tmp_path) as ledger:
        assert [row.key for row in ledger.rows()] == ["k1"]
        ledger.add([job(2)])


def test_ten_thousand_jobs(ledger: Ledger) -> None:
    """2 s for status and resume and 1,000 changes a second are promised; a busy machine gets five times as long."""
    began = time.process_time()
    ledger.add(job(number) for number in range(10_000))
    ledger.leave_out({f"k{number}" for number in range(10_000)})
    assert ledger.counts()["queued"] == 10_000 and len(ledger.rows()) == 10_000
    assert time.process_time() - began < 10.0
    began = time.process_time()
    for _ in range(500):
        row = ledger.due(1.0, models="m")
        assert row is not None
        ledger.start(row.key, WORKER)
        ledger.end(row.key, "done", outcome="done")
    assert time.process_time() - began < 5.0
    print(f"{1000 / (time.process_time() - began):.0f} changes/s")


def test_a_ledger_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    with open_ledger(tmp_path, make=True) as ledger:
        ledger.add([job(1)])
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.executescript("ALTER TABLE jobs DROP COLUMN leg; PRAGMA user_version = 1;")
    connection.close()
    for _ in range(2):
        with open_ledger(tmp_path) as ledger:
            (row,) = ledger.rows()
            assert (row.key, row.leg, row.state) == ("k1", 0, "queued")
