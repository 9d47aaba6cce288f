"""Two runs on one page: pictures side by side, what differs in tables, and nothing of a run's text that could run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.report_runs import PROMPT, draw_run, manifest
from typer.testing import CliRunner

from slipcast.pipeline.batch.listing import difference
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.report.compare_page import compare_page
from slipcast.pipeline.report.writing import write_report

from .test_pages import EVIL, Page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    out = tmp_path_factory.mktemp("runs")
    second = manifest(PROMPT, 4, mesh__resolution=40)
    return draw_run(out / "a-blue-vase-3"), draw_run(out / "another", second)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["runs", *map(str, arguments)])
    return result.exit_code, result.stderr


def test_pictures_stand_side_by_side_and_differences_in_tables(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    where = tmp_path / "new" / "compare.html"
    assert run("--diff", *runs, "--page", where)[0] == 0
    page = Page(where)
    shown = [one["alt"] for one in page.all("img")]
    for name in ("image.png", "preview.png"):
        assert [alt for alt in shown if (alt or "").startswith(name)] == [
            f"{name} of a-blue-vase-3",
            f"{name} of another",
        ]
    assert all((one["src"] or "").startswith("data:image/") for one in page.all("img"))
    assert list(page.addresses()) == [] and "script" not in {name for name, _ in page.elements}
    assert "mesh.resolution" in page.text and "40" in page.text and "seed" in page.text
    assert run("--diff", *runs, "--page", where)[0] == 0  # a page of ours is written anew


def test_a_run_without_pictures_has_a_place_for_them(runs: tuple[Path, Path], tmp_path: Path) -> None:
    bare = draw_run(tmp_path / "bare", manifest(until="image"))
    (bare / "10-image" / "image.png").unlink()
    (tmp_path / "page.html").write_text(compare_page(difference(runs[0], bare)))
    assert "none" in Page(tmp_path / "page.html").text


def test_texts_of_a_run_are_texts(runs: tuple[Path, Path], tmp_path: Path) -> None:
    evil = draw_run(tmp_path / "evil", manifest(EVIL.replace("\ud800", "")))
    (tmp_path / "page.html").write_text(compare_page(difference(runs[0], evil)), encoding="utf-8")
    page = Page(tmp_path / "page.html")
    assert "<script>alert(1)</script>" in page.text and page.all("script") == []


def test_peoples_files_stay_and_a_page_needs_two_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine")
    code, said = run("--diff", *runs, "--page", mine)
    assert code == 2 and "give another name" in said and mine.read_text() == "<p>mine"
    report = runs[0] / "report.html"
    write_report(runs[0])
    before = report.read_bytes()
    assert run("--diff", *runs, "--page", report)[0] == 2 and report.read_bytes() == before
    code, said = run(runs[0].parent, "--page", tmp_path / "x.html")
    assert code == 2 and "--diff A B" in said
    code, said = run("--diff", *runs, "--page", tmp_path)
    assert code == 2 and "is there already" in said
