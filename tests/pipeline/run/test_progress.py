"""Progress on stderr: named, with the time left, and out of stdout's way."""

from __future__ import annotations

import io

import pytest

from slipcast.pipeline.run import progress
from slipcast.pipeline.run.measure import Measured, kernel_peak_mb
from slipcast.pipeline.run.progress import Bars, Lines, Quiet, for_terminal


def test_lines_name_the_stage_and_estimate_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    lines = Lines(stream, every_s=10)
    lines.stage_started("refine")
    advance = lines.task("distilling", 100)
    for _ in range(25):
        now += 1.0
        advance()
    lines.stage_ended("refine", "100.0 s")
    said = stream.getvalue().splitlines()
    assert said == [
        "refine ...",
        "refine: distilling 10/100, about 90 s left",
        "refine: distilling 20/100, about 80 s left",
        "refine: 100.0 s",
    ]


def test_bars_show_stage_and_description_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.stage_started("image")
        advance = bars.task("denoising", 4)
        advance(4)
        bars.notice("the word [zorb] is unknown")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "image: denoising" in captured.err and "4/4" in captured.err
    assert "the word [zorb] is unknown" in captured.err  # brackets are text, not markup


def test_pipes_get_lines_and_libraries_get_silence(capsys: pytest.CaptureFixture[str]) -> None:
    assert type(for_terminal()) is Lines
    quiet = Quiet()
    quiet.task("anything", 3)(2)
    quiet.notice("remembered")
    assert quiet.notices == ["remembered"] and capsys.readouterr().err == ""


def test_measured_sees_time_and_a_new_memory_peak() -> None:
    with Measured() as measured:
        block = bytearray(int((kernel_peak_mb() + 64) * 2**20))  # more than this process ever had
        block[::4096] = b"x" * len(block[::4096])
        size_mb = len(block) / 2**20
        del block
    assert measured.peak_memory_mb > size_mb
    assert measured.seconds > 0
