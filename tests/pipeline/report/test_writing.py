"""When the pages are written: at the end of make and export, however they end, and never to a run's harm."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes.pipeline_stages import Workshop, files_of
from fakes.pot import finished_run
from fakes.report_runs import draw_run, manifest
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.report import writing
from slipcast.pipeline.report.writing import is_fresh, refresh_report
from slipcast.pipeline.run.progress import Quiet


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


def call(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_make_writes_the_page_and_it_changes_nothing_of_the_run(workshop: Workshop) -> None:
    first = workshop.make()
    assert is_fresh(first.run)
    before, records = files_of(first.run), first.records
    (first.run / "report.html").write_text("edited")
    again = workshop.make()
    assert again.made == () and again.records == records and files_of(first.run) == before
    assert is_fresh(first.run)  # a kept run's page is written anew as well


def test_a_run_that_fails_or_is_stopped_has_a_page_too(workshop: Workshop) -> None:
    def fail(ctx: object) -> None:
        raise ValueError("too hot <b>")

    def stop(ctx: object) -> None:
        raise KeyboardInterrupt

    for hook, said in ((fail, "Failed in stage lift"), (stop, "Stopped in stage lift")):
        workshop.hooks["lift"] = hook
        with pytest.raises((SlipcastError, KeyboardInterrupt)):
            workshop.make()
        text = (workshop.out / "a-blue-vase-0" / "report.html").read_text()
        assert said in text and "too hot <b>" not in text


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SlipcastError("no such thing")]
)
def test_a_page_that_cannot_be_written_fails_no_run(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writing, "write_text", fail)
    console = Quiet()
    result = workshop.make(console=console)
    assert result.glb is not None and result.glb.is_file()
    (notice,) = console.notices
    assert "report.html was not written" in notice and f"`slipcast report {result.run}` tries again" in notice
    assert str((isinstance(error, OSError) and error.strerror) or error) in notice


def test_a_call_that_ends_before_it_began_is_told_nothing_about_pages(workshop: Workshop) -> None:
    def refuse(config: object, run: object) -> None:
        raise BadInput("no such device")

    console = Quiet()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BadInput):
        patch.setattr("slipcast.pipeline.make.as_began", refuse)
        workshop.make(console=console)
    assert console.notices == [] and not list(workshop.out.rglob("report.html"))


def test_the_page_counts_as_no_file_of_anybodys(workshop: Workshop) -> None:
    run = workshop.make().run
    assert workshop.make(from_stage="image").made == ("image", "lift", "refine", "mesh", "paint", "export")
    assert not list(run.glob("*.kept")) and (run / "report.html").is_file()


def test_export_writes_it_anew_unless_the_files_go_elsewhere(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "runs")
    assert call("export", run, "--format", "ply", "--out", tmp_path / "else").exit_code == 0
    assert not (run / "report.html").exists()
    assert call("export", run, "--format", "ply").exit_code == 0
    assert "exports/a-blue-pot.ply" in (run / "report.html").read_text()


def test_a_page_is_old_when_something_is_newer(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run-0")
    assert not is_fresh(run)
    refresh_report(run, pytest.fail)
    assert is_fresh(run)
    later = (run / "report.html").stat().st_mtime + 10
    os.utime(run / "manifest.json", (later, later))
    assert not is_fresh(run)
    refresh_report(run, pytest.fail)
    os.utime(run / "report.html", (later, later))
    assert is_fresh(run)
    text = (run / "report.html").read_text().replace('content="slipcast ', 'content="slipcast 0.0.')
    (run / "report.html").write_text(text)
    os.utime(run / "report.html", (later, later))
    assert not is_fresh(run)  # another version's


def test_the_command_knows_runs_folders_and_files_inside(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "my runs" / "vase-3")
    draw_run(tmp_path / "my runs" / "vase-4", manifest(seed=4), mesh=False)
    assert call("report", run).stdout.strip() == str(run / "report.html")
    assert call("report", run / "50-export" / "a-blue-vase.glb").stdout.strip() == str(run / "report.html")
    told = json.loads(call("report", run.parent, "--json").stdout)
    assert told == {"page": str(run.parent / "index.html")} and is_fresh(run.parent / "vase-4")


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_the_command_refuses_what_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("report", where)
    assert told.exit_code == 2 and "give" in told.stderr and "runs/a-blue-vase-0" in told.stderr


def test_open_shows_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", lambda url: opened.append(url) or 1)
    run = draw_run(tmp_path / "a run")
    told = call("report", run, "--open")
    assert told.exit_code == 0 and opened == [(run / "report.html").as_uri()]
    assert "no browser could be started" in told.stderr
