"""``slipcast.Batch``, with real workers whose stages write a line each."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import batch_work

from slipcast import BadInput, Batch, BatchEvent
from slipcast.pipeline.batch import running
from slipcast.pipeline.batch.asking import status

EVIL = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _fake_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WORK", batch_work.make_job)


def made(out: Path) -> list[str]:
    return (out / "stages.log").read_text().splitlines()


def test_jobs_come_as_they_finish_and_the_same_batch_makes_nothing_again(tmp_path: Path) -> None:
    batch = Batch("vases", out=tmp_path, workers=2, attempts=1)
    batch.add("sleep 1.5 slow").add("quick", seed=4, overrides=["refine.steps=9"]).add(
        f"refuse {EVIL}", id="bad"
    )
    batch.add("best", tries=2, id="tries")
    seen: list[BatchEvent] = []
    jobs = list(batch.results(seen.append))
    assert len(jobs) == 4 and jobs[-1].prompt == "sleep 1.5 slow", "the slow one is the last"
    by_prompt = {job.prompt: job for job in jobs}
    quick, bad, best = by_prompt["quick"], by_prompt[f"refuse {EVIL}"], by_prompt["best"]
    assert quick.done and quick.seed == 4 and quick.result == str(tmp_path / "quick-4/50-export/asset.glb")
    assert (
        (tmp_path / "quick-4/50-export/asset.glb").is_file()
        and quick.run == tmp_path / "quick-4"
        and quick.attempts == 0
    )
    assert best.done and best.run is not None and best.run.name.startswith("best-")
    assert (bad.state, bad.run, bad.result) == ("failed", None, None) and "cannot be made" in str(bad.error)
    kinds = {event.kind for event in seen}
    assert {"started", "stage", "done", "failed", "parent"} <= kinds
    assert {event.values["stage"] for event in seen if event.kind == "stage" and event.job == quick.id} >= {
        "image"
    }
    before = made(tmp_path)
    result = batch.run()
    assert made(tmp_path) == before and [job.id for job in result.jobs][2:] == ["bad", "tries"]
    assert result.counts["done"] == 3 and [job.id for job in result.failed] == ["bad"]
    assert EVIL not in result._repr_html_() + bad._repr_html_() and "3 done, 1 failed" in result._repr_html_()
    assert "quick" in quick._repr_html_()
    page = result.index()
    assert (
        page == tmp_path / "vases.jsonl.batch/index.html" and "./../quick-4/report.html" in page.read_text()
    )
    assert status(batch.jobs_file, tmp_path)["counts"]["done"] == 3, "the command line knows it, too"


def test_who_leaves_early_finds_the_rest_later(tmp_path: Path) -> None:
    batch = Batch(out=tmp_path, workers=1)
    for number in range(3):
        batch.add(f"sleep 0.3 {number}", id=str(number))
    for job in batch.results():
        assert job.id == "0"
        break
    left = status(batch.jobs_file, tmp_path)["counts"]
    assert left["running"] == 0 and left["queued"] >= 1, (
        "what was at work has ended, and nothing else has begun"
    )
    result = batch.run()
    assert result.counts["done"] == 3 and len(set(made(tmp_path))) == len(made(tmp_path))


def test_an_error_in_the_callback_is_the_callers(tmp_path: Path) -> None:
    def stop(event: BatchEvent) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Batch(out=tmp_path, workers=1).add("a").run(stop)
    again = Batch(out=tmp_path, workers=1).add("a").add("flaky 1 b")
    assert [(job.prompt, job.state, job.attempts) for job in again.results()] == [
        ("a", "done", 0),
        ("flaky 1 b", "done", 1),
    ], "a job that is tried again is not over yet"


def test_what_cannot_be_used_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no jobs"):
        Batch(out=tmp_path).run()
    with pytest.raises(BadInput, match="a batch's name"):
        Batch("a/b")
    with pytest.raises(BadInput, match="memory_limit"):
        Batch(memory_limit="much")
    with pytest.raises(BadInput, match="--needs is for Ray"):
        Batch(out=tmp_path, needs=["refine:gpus=1"]).add("a").run()
    with pytest.raises(BadInput, match=r"line 2.*refin"):
        Batch(out=tmp_path).add("a").add("b", overrides=["refin.steps=2"]).run()
    with pytest.raises(BadInput, match="written down"):
        Batch(out=tmp_path).add("a", overrides=["refine.steps=.nan"]).run()
    assert not list(tmp_path.glob("*-0"))
