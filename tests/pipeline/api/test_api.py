"""``from slipcast import make, image, Batch, Domain``, and the notebook in docs, whose cells run here."""

from __future__ import annotations

import ast
import html
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.pipeline_stages import Workshop
from fakes.report_runs import draw_run, manifest

import slipcast
from slipcast.configs.errors import BadInput
from slipcast.pipeline.api import making
from slipcast.pipeline.api.telling import Event, Told
from slipcast.pipeline.report.notebook import domain_html, pictures_html, run_html

NOTEBOOK = Path(__file__).resolve().parents[3] / "docs/notebook.ipynb"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    fake = Workshop(tmp_path / "runs")
    monkeypatch.setattr(
        making, "run_make", lambda prompt, config, **options: fake.make(config, prompt, **options)
    )
    return fake


def test_a_result_has_the_paths_of_everything(workshop: Workshop) -> None:
    result = slipcast.make("a blue vase", out=workshop.out, seed=4)
    assert (result.prompt, result.seed) == ("a blue vase", 4) and result.seconds >= 0
    assert result.glb in result.files and all(path.is_file() for path in result.files)
    assert result.report == result.run / "report.html" and result.picture is None
    assert result.made == ("image", "lift", "refine", "mesh", "paint", "export")
    assert isinstance(result, slipcast.MakeResult)


def test_events_tell_what_a_terminal_would_show(workshop: Workshop) -> None:
    def work(ctx: Any) -> None:
        advance = ctx.progress.task("refining", 3)
        for _ in range(3):
            advance()
        ctx.progress.notice("careful")

    workshop.hooks["refine"] = work
    seen: list[Event] = []
    slipcast.make("a blue vase", out=workshop.out, progress=seen.append, until_stage="refine")
    of_refine = [(one.kind, one.text, one.done, one.total) for one in seen if one.stage == "refine"]
    assert of_refine[:5] == [
        ("started", "", 0, 0),
        *(("step", "refining", n, 3) for n in (1, 2, 3)),
        ("notice", "careful", 0, 0),
    ]
    assert of_refine[5][0] == "ended" and [one.stage for one in seen if one.kind == "ended"] == [
        "image",
        "lift",
        "refine",
    ]
    again: list[Event] = []
    slipcast.make("a blue vase", out=workshop.out, progress=again.append, until_stage="refine")
    assert {one.text for one in again} == {"kept, it is finished already"}


def test_a_call_that_its_own_callback_stops_goes_on_where_it_was(workshop: Workshop) -> None:
    class Enough(Exception):
        pass

    def stop(event: Event) -> None:
        if event == Event("started", "mesh"):
            raise Enough

    with pytest.raises(slipcast.SlipcastError):
        slipcast.make("a blue vase", out=workshop.out, progress=stop)
    assert slipcast.make("a blue vase", out=workshop.out).made == ("mesh", "paint", "export")


def test_resume_takes_all_but_the_overrides_from_the_run(workshop: Workshop) -> None:
    first = slipcast.make("a blue vase", out=workshop.out, seed=9, overrides=["refine.steps=7"])
    again = slipcast.make(resume=first.run, overrides=["mesh.target_faces=1000"])
    assert again.run == first.run and again.made == ("mesh", "paint", "export") and again.seed == 9
    settings = slipcast.load_config("starter", ["refine.steps=7", "mesh.target_faces=1000"])
    same = {"out": workshop.out, "seed": 9}
    assert slipcast.make("a blue vase", settings, **same).made == ()
    other = slipcast.make("a blue vase", settings, overrides=["export.turntable_frames=3"], **same)
    assert other.made == ("export",)


def test_bad_calls_are_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="make expects a prompt"):
        slipcast.make()
    with pytest.raises(BadInput, match="no preset 'nonesuch'"):
        slipcast.make("a vase", "nonesuch", out=tmp_path)
    with pytest.raises(BadInput, match="stepz"):
        slipcast.image("a vase", out=tmp_path, stepz=3)
    with pytest.raises(BadInput):
        slipcast.Domain.open(tmp_path / "none")


def test_a_domain_is_opened_without_its_networks() -> None:
    domain = slipcast.Domain.open()
    assert domain.name == "blue and white porcelain" and domain.licence == "Apache-2.0"
    assert (domain.folder / "domain.json").is_file() and domain.name in domain._repr_html_()


def test_what_notebooks_show_is_escaped(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run-0", manifest(EVIL))
    shown = run_html(run)
    assert EVIL not in shown and html.escape(EVIL) in shown
    frame = html.unescape(shown.partition('srcdoc="')[2].partition('"')[0])
    assert EVIL not in frame and 'id="glb"' in frame and "data-framed" in frame
    assert 'sandbox="allow-scripts"' in shown and "srcdoc" not in run_html(run, viewer=False)
    assert "<script>" not in domain_html(EVIL, {EVIL: EVIL}) + pictures_html(
        [run / "10-image/image.png"], EVIL
    )
    assert pictures_html([tmp_path / "none.png"], "x").count("<img") == 0


def test_a_reporter_needs_no_function() -> None:
    with Told(None) as told:
        told.task("x", 1)(1)
        told.stage_started("a")
        told.stage_ended("a", "b")


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [
        cell
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert all(cell["outputs"] == [] for cell in cells)
    names: dict[str, Any] = {}
    shown = [_run_cell("".join(cell["source"]), names) for cell in cells]
    rich = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert len(rich) == 4 and "porcelain" in rich[0] and rich[1].count("<img") == 2 and "iframe" in rich[2]
    assert names["again"].made == ("mesh", "paint", "export") and shown[-4] == (
        True,
        names["again"].records["mesh"].facts["faces"],
    )
    page = tmp_path / "runs/cups.jsonl.batch/index.html"
    assert shown[-1] == (2, page.relative_to(tmp_path)) and page.is_file() and "2 done" in rich[3]
    told = capsys.readouterr().out
    assert told.count("kept, it is finished already") == 3 and told.count(" done runs/") == 2


def _run_cell(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does: the value of its last line is shown, if that is an expression."""
    *body, last = ast.parse(code).body
    ends_in_value = isinstance(last, ast.Expr) and not (
        isinstance(last.value, ast.Call)
        and isinstance(last.value.func, ast.Name)
        and last.value.func.id == "print"
    )
    exec(compile(ast.Module(body if ends_in_value else [*body, last], []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if ends_in_value else None  # type: ignore[attr-defined]
