"""The drawings of a refinement's course: the lines are where the numbers are, and no text gets out of them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fakes.report_runs import draw_run, manifest

from slipcast.pipeline.report.curves import curves, read_course
from slipcast.pipeline.report.reading import read_told
from slipcast.pipeline.report.run_page import run_page

COURSE = """step,loss distillation,loss drift,gradient distillation,gradient drift
0,1,0.01,0.1,
5,0.1,0.001,0.001,0
10,0.01,,0.00001,1e-30
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    path = tmp_path / "curve.csv"
    path.write_text(COURSE)
    return path


def test_the_lines_are_where_the_numbers_are(course: Path) -> None:
    tree = ElementTree.fromstring(str(curves(course)))
    losses, gradients = tree.iter("svg")
    assert losses.attrib["viewBox"] == "0 0 640 260"
    distillation, drift = losses.iter("polyline")
    points = [tuple(map(float, one.split(","))) for one in distillation.attrib["points"].split()]
    assert [x for x, _ in points] == [56.0, 344.0, 632.0], "steps 0, 5 and 10 from the left to the right"
    heights = {float(line.attrib["y1"]) for line in losses.iter("line")}
    assert points[0][1] == 8.0 and {y for _, y in points} <= heights, "1, 0.1 and 0.01 lie on the grid"
    assert len(drift.attrib["points"].split()) == 2, "what was not measured is no point"
    lowest = max(float(line.attrib["y1"]) for line in gradients.iter("line"))
    *_, pulls = gradients.iter("polyline")
    assert {float(one.split(",")[1]) for one in pulls.attrib["points"].split()} == {lowest}, (
        "0 has no logarithm"
    )
    assert [item.text or item[0].tail for item in tree.iter("li")] == ["distillation", "drift"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step\n1\n",
        "nonsense",
        "step,loss a\nx,1\n1,2\n",
        "step,loss a\n0,nan\n1,inf\n",
        "step,loss a\n0,1\n",
    ],
)
def test_nothing_is_drawn_of_what_is_no_course(tmp_path: Path, text: str) -> None:
    (tmp_path / "curve.csv").write_text(text)
    assert curves(tmp_path / "curve.csv") is None
    assert curves(None) is None and read_course(tmp_path / "none.csv") == ({}, {})


def test_names_are_text_on_the_page_of_a_run(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "a-0", manifest())
    before = run_page(read_told(run))
    assert "<svg" not in before and "after the last step" in before
    (run / "30-refine/curve.csv").write_text(COURSE.replace("drift", "<script>alert(1)</script>"))
    page = run_page(read_told(run))
    assert page.count("<svg") == 2 and "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
