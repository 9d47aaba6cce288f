"""The pages in a real browser, from file:// and without a network: what is seen, asked for and complained about."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.browser import Browser, find_browser
from fakes.report_runs import draw_run, manifest

from slipcast.pipeline.report.notebook import run_html
from slipcast.pipeline.report.writing import write_index, write_report

COUNT = 500
WINDOW = (800, 680)  # the view is drawn by the CPU: small, but with room for two columns
EVIL = "<script>alert(1)</script>"
_SHOWN = "document.documentElement.dataset.viewer === 'shown'"
_FRAMES = "document.querySelectorAll('#views iframe[data-viewer=shown]').length"

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium here (SLIPCAST_CHROMIUM=PATH names one)"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 runs, the newest with a prompt that is an attack; all show the GLB of the first."""
    folder = tmp_path_factory.mktemp("browser") / "runs"
    first = draw_run(folder / "run-0", manifest(EVIL, 0))
    write_report(first)
    for seed in range(1, COUNT):
        run = folder / f"run-{seed}"
        (run / "50-export").mkdir(parents=True)
        told = manifest(f"a blue vase number {seed}", seed, refine__steps=seed)
        told["stages"]["mesh"]["facts"] = {"faces": 1000 + seed * 7 % 500}
        (run / "manifest.json").write_text(json.dumps(told))
        os.utime(run / "manifest.json", (1.0e9 + seed, 1.0e9 + seed))
        for name in ("report.html", "thumbnail.jpg", "50-export/a-blue-vase.glb"):
            os.link(first / name, run / name)
    write_index(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    assert program is not None
    with Browser(program, tmp_path_factory.mktemp("profile"), width=WINDOW[0], height=WINDOW[1]) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_leaves_and_nothing_is_wrong(browser: Browser) -> Iterator[None]:
    browser.requests.clear()
    browser.console.clear()
    yield
    assert [url[:80] for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    # The viewer says so where a machine draws less than a picture a second, as software does on busy cores.
    assert [line for line in browser.console if "rAF timed out" not in line] == []


def _settled(browser: Browser) -> np.ndarray:
    """A screenshot after the picture has come to rest."""
    before = browser.screenshot()
    for _ in range(40):
        time.sleep(0.25)
        after = browser.screenshot()
        if (before == after).all():
            return after
        before = after
    raise AssertionError("the view never comes to rest")


def _box(browser: Browser, selector: str, number: int = 0) -> tuple[int, int, int, int]:
    rect = f"document.querySelectorAll({json.dumps(selector)})[{number}].getBoundingClientRect()"
    script = f"(({{ x, y, width, height }}) => [x, y, width, height])({rect})"
    x, y, width, height = (round(value) for value in browser.eval(script))
    return x, y, width, height


def _changed(before: np.ndarray, after: np.ndarray, box: tuple[int, int, int, int]) -> float:
    x, y, width, height = box
    part = np.s_[max(y, 0) : y + height, x : x + width]
    return float((np.abs(before[part].astype(int) - after[part]) > 16).any(-1).mean())


def test_the_view_of_a_report_turns_when_it_is_dragged_and_by_the_keys(browser: Browser, runs: Path) -> None:
    browser.open(runs / "run-0" / "report.html")
    browser.wait(_SHOWN)
    still = _settled(browser)
    x, y, width, height = box = _box(browser, "#stage")
    paper = still[max(y, 0) + 5, x + 5].astype(int)
    inside = still[max(y, 0) : y + height, x : x + width].astype(int)
    assert (np.abs(inside - paper).max(-1) > 30).mean() > 0.05  # there is something to see
    browser.drag((x + width / 2, y + height / 2), (x + width / 2 + 150, y + height / 2))
    turned = _settled(browser)
    assert _changed(still, turned, box) > 0.03
    browser.eval("document.querySelector('model-viewer').shadowRoot.querySelector('.userInput').focus()")
    for _ in range(3):
        browser.press("ArrowRight", 39)
    assert _changed(turned, _settled(browser), box) > 0.01
    browser.eval("document.getElementById('reset').click()")
    orbit = "(({ theta, phi }) => [theta, phi])(document.querySelector('model-viewer').getCameraOrbit())"
    browser.wait(f"Math.hypot({orbit}[0], {orbit}[1] - 72 * Math.PI / 180) < 0.01", timeout_s=20)


def test_a_prompt_that_is_a_script_is_text(browser: Browser, runs: Path) -> None:
    for page in (runs / "run-0" / "report.html", runs / "index.html"):
        browser.open(page)
        assert EVIL in browser.eval("document.body.innerText")
        assert browser.eval("document.querySelectorAll('script:not([type]):not([src])').length") == 1


def test_even_markup_that_got_in_would_not_run(browser: Browser, runs: Path) -> None:
    page = runs / "run-0" / "report.html"
    broken = page.with_name("broken.html")
    attack = (
        "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x' onerror='document.title=1'>"
    )
    broken.write_text(
        page.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}", 1), encoding="utf-8"
    )
    browser.open(broken)
    assert "owned" not in browser.eval("document.title") and browser.eval("document.title") != "1"
    assert browser.console and all("Content Security Policy" in line for line in browser.console)
    browser.console.clear()
    browser.requests.clear()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_window(browser: Browser, runs: Path, width: int) -> None:
    browser.resize(width, 900)
    try:
        for page in (runs / "run-0" / "report.html", runs / "index.html"):
            browser.open(page)
            assert browser.eval("document.documentElement.scrollWidth") <= width
    finally:
        browser.resize(*WINDOW)


def test_500_runs_open_at_once_and_load_what_is_in_sight(browser: Browser, runs: Path) -> None:
    browser.open(runs / "index.html")
    opened = browser.eval("performance.timing.loadEventEnd - performance.timing.navigationStart")
    assert opened <= 3000 and browser.eval("document.documentElement.dataset.ready") == "yes"
    assert browser.eval("document.querySelectorAll('article').length") == COUNT

    def thumbnails() -> int:
        browser.listen(0.1)
        return len({url for url in browser.requests if url.endswith("thumbnail.jpg")})

    deadline = time.monotonic() + 20  # a machine at work elsewhere takes its time over the first
    while (first := thumbnails()) < 4 and time.monotonic() < deadline:
        pass
    assert 4 <= first < COUNT / 4
    browser.eval("scrollTo(0, document.body.scrollHeight)")
    browser.wait("document.querySelector('article:last-of-type img').complete")
    assert first < thumbnails() < COUNT


def test_the_index_sorts_and_filters(browser: Browser, runs: Path) -> None:
    browser.open(runs / "index.html")
    shown = "[...document.querySelectorAll('article:not([hidden])')].map((card) => card.dataset.run)"

    def choose(identity: str, value: str, event: str) -> list[str]:
        browser.eval(f"{identity} = document.getElementById('{identity}'); {identity}.value = '{value}'; "
                     f"{identity}.dispatchEvent(new Event('{event}'))")  # fmt: skip
        return browser.eval(shown)

    assert browser.eval(shown)[:2] == ["run-0", "run-499"]  # the newest first
    assert choose("order", "seed", "change")[:3] == ["run-0", "run-1", "run-2"]
    faces = [1000 + seed * 7 % 500 for seed in range(1, COUNT)]
    assert choose("order", "faces", "change")[:2] == ["run-0", f"run-{1 + faces.index(max(faces))}"]
    assert set(choose("search", "number 41", "input")) == {f"run-{n}" for n in range(COUNT) if "41" in str(n)}
    assert choose("search", "no such thing", "input") == []
    assert browser.eval("document.getElementById('none').hidden") is False


def test_two_runs_are_compared_and_turn_together(browser: Browser, runs: Path) -> None:
    browser.open(runs / "index.html")
    browser.eval(
        "document.querySelectorAll('.pick')[1].click(); document.querySelectorAll('.pick')[2].click()"
    )
    browser.eval("document.getElementById('compare').click()")
    browser.wait(f"{_FRAMES} === 2")
    told = browser.eval("[...document.querySelectorAll('.diff tr.other')].map((row) => row.innerText)")
    assert "refine.steps\t499\t498" in told and not any("image.steps" in line for line in told)
    before = _settled(browser)
    left, right = (_box(browser, "#views iframe", number) for number in (0, 1))
    x, y = left[0] + left[2] / 2, left[1] + left[3] / 2
    browser.drag((x, y), (x + 120, y))
    after = _settled(browser)
    assert _changed(before, after, left) > 0.02
    assert _changed(before, after, right) == pytest.approx(_changed(before, after, left), rel=0.3)
    browser.press("Escape", 27)  # which goes to the frame that was dragged in
    browser.wait(
        "!document.getElementById('dialog').open && document.querySelectorAll('iframe').length === 0"
    )


def test_what_a_notebook_shows_turns_in_a_frame_that_may_reach_nothing(browser: Browser, runs: Path) -> None:
    page = runs / "notebook.html"
    listener = "addEventListener('message', (event) => { document.title += ' ' + event.data.slipcast })"
    page.write_text(
        f"<!doctype html><title>-</title><script>{listener}</script>{run_html(runs / 'run-0')}", "utf-8"
    )
    browser.open(page)
    browser.wait("document.title.includes('shown')")
    x, y, width, height = _box(browser, "iframe")
    browser.drag((x + width / 2, y + height / 2), (x + width / 2 + 90, y + height / 2))
    browser.wait("document.title.includes('turned')")
    assert browser.eval("document.title.includes('close')") is False and EVIL in browser.eval(
        "document.body.innerText"
    )


def test_a_view_that_is_closed_and_opened_at_once_is_there(browser: Browser, runs: Path) -> None:
    browser.open(runs / "index.html")
    browser.eval("document.querySelector('.see').click()")
    browser.eval("document.getElementById('close').click(); document.querySelector('.see').click()")
    # The first one's close event comes after the second one is open.
    late = "new Promise((tell) => setTimeout(() => tell(document.querySelectorAll('iframe').length), 300))"
    assert browser.eval(late) == 1
    browser.eval("document.getElementById('close').click()")
    browser.wait("document.querySelectorAll('iframe').length === 0")


def test_a_batch_shows_its_runs_from_beside_its_ledger(browser: Browser, tmp_path: Path) -> None:
    runs = [draw_run(tmp_path / f"a-vase-{seed}", manifest("a vase", seed)) for seed in (0, 1)]
    (runs[0] / "30-refine/curve.csv").write_text(
        "step,loss distillation,loss drift,gradient distillation,gradient drift\n"
        + "".join(
            f"{n},{1 / (n + 1)},{0.001 * n + 0.001},{0.1 / (n + 2)},{1e-5 * n}\n" for n in range(0, 300, 5)
        )
    )
    folder = tmp_path / "jobs.txt.batch"
    folder.mkdir()
    page = write_index(folder, runs=runs)
    browser.open(page)
    assert browser.eval("document.querySelector('h1').textContent") == "jobs.txt"
    browser.eval("document.querySelector('.see').click()")
    browser.wait(f"{_FRAMES} === 1")
    browser.open(runs[0] / "report.html")
    shown = (
        "[...document.querySelectorAll('#losses svg')].map(one => one.getBoundingClientRect().height > 60)"
    )
    assert browser.eval(shown) == [True, True]
    lines = "getComputedStyle(document.querySelectorAll('#losses polyline')[{}]).stroke"
    assert len({browser.eval(lines.format(number)) for number in (0, 1)}) == 2, "each loss has its colour"
