"""Domains and tuning in a real browser: pictures sent and read, a training steered, weights compared and used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fakes.studio_browser import Studio, Watched, open_studio
from PIL import Image

from slipcast.pipeline.batch.staged import read_staged

pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    one = Watched(browser, studio.address)
    yield one.page
    one.check(complaints=("status of 422",))
    one.context.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six pictures, a copy of the first, one that is none, and one that is too small."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        rgb = rng.integers(0, 255, (48, 48 if number < 4 else 96, 3), np.uint8)
        Image.fromarray(rgb).save(folder / f"pot {number}.png")
    (folder / "copy.png").write_bytes((folder / "pot 0.png").read_bytes())
    (folder / "notes.png").write_text("no picture")
    Image.new("RGB", (8, 8)).save(folder / "dot.png")
    return sorted(folder.iterdir())


def teach(page: Page, pictures: list[Path], name: str, steps: int) -> None:
    """From the list of domains to a training at work."""
    page.goto("/domains")
    page.get_by_label("Pictures that have a look in common").set_input_files(pictures)
    page.get_by_role("button", name="Read them").click()
    page.get_by_text("to learn from", exact=True).wait_for()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Licence").fill("CC0-1.0")
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Train").click()
    page.wait_for_url(re.compile("/domains/of/"))


def test_pictures_are_read_and_what_is_wrong_with_each_is_told(page: Page, pictures: list[Path]) -> None:
    page.goto("/domains")
    page.get_by_role("button", name="Read them").click()
    assert "Choose the pictures first" in page.locator("#pictures-error").inner_text()
    page.get_by_label("Pictures that have a look in common").set_input_files(pictures)
    page.get_by_role("button", name="Read them").click()
    page.get_by_text("to learn from", exact=True).wait_for()
    told = page.locator(".reading").inner_text()
    assert "6" in page.locator(".reading .tiles div").first.inner_text()
    assert "notes.png is no picture that can be read" in told
    assert "is the same as" in told and "smaller than 32 pixels (dot.png)" in told
    assert "4 square" in told and "2 wide" in told
    assert page.locator(".contact img").count() == 7
    page.get_by_role("button", name="Train").click()
    assert page.locator("#name-error").is_visible() and page.locator("#licence-error").is_visible()
    page.get_by_label("Name").fill("../away")
    page.get_by_label("Licence").fill("MIT")
    page.get_by_label("Steps").fill("many")
    page.get_by_role("button", name="Train").click()
    assert "letters, digits" in page.locator("#name-error").inner_text()
    assert "not 'many'" in page.locator("#steps-error").inner_text()
    assert page.get_by_label("Licence").input_value() == "MIT"


def test_a_training_is_watched_stopped_resumed_and_used(
    page: Page, studio: Studio, pictures: list[Path]
) -> None:
    teach(page, pictures, "porcelain", 60)
    page.get_by_role("heading", name="Samples").wait_for()
    page.get_by_role("img", name="Denoising loss by step").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile("^Stopped after step")).first.wait_for()
    page.get_by_role("button", name="Go on").click()
    page.locator(".chip.finished").wait_for()
    assert page.get_by_text("After step 60").is_visible()
    assert (studio.folder / "domains" / "porcelain" / "domain.json").is_file()
    page.get_by_role("link", name="Domains").first.click()
    page.get_by_role("link", name="porcelain").click()
    page.get_by_role("link", name="Use in Make").click()
    assert page.get_by_label("Domain", exact=True).input_value() == "porcelain"


def test_a_training_outlives_the_server(browser: Browser, tmp_path: Path, pictures: list[Path]) -> None:
    with open_studio(tmp_path) as studio:
        watched = Watched(browser, studio.address)
        page = watched.page
        teach(page, pictures, "glass", 100)
        page.get_by_role("heading", name="Samples").wait_for()
        studio.kill()
        page.locator("html.gone").wait_for()
        studio.start(studio.port)
        page.locator(".chip.finished").wait_for()
        assert page.locator("html.gone").count() == 0
        watched.check(complaints=("Failed to load resource", "ERR_CONNECTION"))
        watched.context.close()


def test_what_does_not_learn_and_what_fails_is_told(page: Page, pictures: list[Path]) -> None:
    teach(page, pictures, "dull clay", 2000)
    page.get_by_text("It is not learning:").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Go on").wait_for()
    teach(page, pictures, "fail", 10)
    page.get_by_text("It failed: the base is not here.").wait_for()


def test_two_weights_are_compared_and_the_chosen_one_is_used(page: Page, tmp_path: Path) -> None:
    page.goto("/tune")
    page.get_by_role("heading", name="Say what to draw").wait_for()
    page.get_by_label("Prompt").fill("a jug")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("textbox", name="A Weight of the domain").fill("1.5")
    page.get_by_role("button", name="Draw").click()
    page.locator(".frame.done").nth(5).wait_for()
    assert page.locator(".sketches .frame.done").count() == 4
    a, b = (page.locator(f"[data-side={side}]") for side in "ab")
    assert "domain 1.5" in a.inner_text() and "domain 0" in b.inner_text()
    for side in (a, b):
        side.get_by_role("img", name=re.compile("Length of what each term pushes")).wait_for()
        side.get_by_text("As numbers").click()
        assert side.get_by_role("columnheader", name="text - null").is_visible()
    page.get_by_role("link", name=re.compile(r"as B\s+at 4")).click()
    page.locator("[data-side=b] .frame.done").wait_for()
    assert "domain 4" in b.inner_text() and "domain 1.5" in a.inner_text()
    with page.expect_download() as download:
        b.get_by_role("link", name="YAML for slipcast run").click()
    path = tmp_path / "tuned.yaml"
    download.value.save_as(path)
    (run,) = read_staged(path, out=tmp_path / "runs")
    assert (run.prompt, run.seed, run.config.image.domain_weight) == ("a jug", 7, 4.0)
    b.get_by_role("link", name="Use in Make").click()
    assert page.locator("#domain_weight").input_value() == "4"
    assert (page.get_by_label("Prompt").input_value(), page.get_by_label("Seed").input_value()) == (
        "a jug",
        "7",
    )


def test_what_cannot_be_drawn_is_told_in_its_place(page: Page) -> None:
    page.goto("/tune?prompt=a+vase&values=0+x&steps=no")
    assert "steps are a whole number" in page.locator("#steps-error").inner_text().lower()
    assert page.locator("#values-error").is_visible() and page.locator(".sketch").count() == 0
    page.goto("/tune?prompt=fail&values=1")
    page.locator(".frame.failed").nth(2).wait_for()
    assert page.locator(".frame.failed .state").first.inner_text() == "it would not"
