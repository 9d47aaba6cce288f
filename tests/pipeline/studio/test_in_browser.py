"""The studio in a real browser, by clicks and keys: from a prompt to a GLB, and what may come between."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trimesh
from fakes.khronos import validate, validator
from fakes.studio_browser import Studio, Watched, open_studio
from PIL import Image

pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(browser: Browser, studio: Studio) -> Iterator[Watched]:
    one = Watched(browser, studio.address)
    yield one
    one.check(complaints=("status of 422",))  # Chromium tells of forms that erred, too
    one.context.close()


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


def queue(page: Page, prompt: str, button: str = "Draw candidates", seed: int = 0) -> str:
    """Fill the form in and send it; the job's address."""
    page.goto("/")
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("Seed").fill(str(seed))
    page.get_by_role("button", name=button).click()
    page.wait_for_url(re.compile("/jobs/"))
    return page.url


@pytest.fixture(scope="module")
def downloaded(browser: Browser, studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GLB of a prompt: drawn, picked, made and downloaded by clicks."""
    watched = Watched(browser, studio.address)
    page = watched.page
    first = queue(page, "a blue and white teapot")
    page.get_by_role("button", name="Make candidate 3").click()
    page.wait_for_url(lambda url: "/jobs/" in url and url != first)
    page.get_by_role("heading", name="Downloads").wait_for()
    assert "went on" in page.locator(".tile.chosen").inner_text()
    assert page.locator(".tile.chosen").get_attribute("data-key") == "3", "what was picked is what was made"
    page.locator("#view.shown").wait_for()
    with page.expect_download() as download:
        page.locator(".offers li").filter(has_text="browsers, engines, Blender").get_by_role("link").click()
    path = tmp_path_factory.mktemp("downloads") / download.value.suggested_filename
    download.value.save_as(path)
    watched.check()
    watched.context.close()
    return path


def test_a_prompt_becomes_candidates_one_of_which_becomes_a_glb(downloaded: Path) -> None:
    assert downloaded.suffix == ".glb"
    (mesh,) = trimesh.load_scene(downloaded).geometry.values()
    assert isinstance(mesh, trimesh.Trimesh) and len(mesh.faces) == 12


def test_khronos_validator_finds_nothing_wrong_with_the_download(downloaded: Path) -> None:
    assert validate(validator(), downloaded)["numErrors"] == 0


def test_a_job_is_cancelled_and_goes_on(page: Page) -> None:
    queue(page, "sleep 3 a slow vase", "Make the best one at once")
    page.get_by_text("at work", exact=True).first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. What is finished is kept").wait_for()
    page.get_by_role("link", name="Queue").click()
    row = page.locator(".jobs li").filter(has_text="sleep 3 a slow vase")
    assert "cancelled" in row.inner_text()
    row.get_by_role("link", name="sleep 3 a slow vase").last.click()
    page.get_by_role("button", name="Go on").click()
    page.locator(".chip.waiting, .chip.running").first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator(".chip.cancelled").wait_for()


def test_a_reload_in_the_middle_of_work_and_a_server_that_is_killed_lose_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    with open_studio(tmp_path) as studio:
        watched = Watched(browser, studio.address)
        page = watched.page
        where = queue(page, "sleep 1 a patient vase", "Make the best one at once")
        page.locator(".steps .running").first.wait_for()
        page.reload()
        page.locator(".steps .running, .steps .finished").first.wait_for()
        assert page.url == where
        studio.kill()
        page.locator("html.gone").wait_for()
        studio.start(studio.port)
        page.locator("html:not(.gone)").wait_for()
        page.get_by_role("heading", name="Downloads").wait_for()
        watched.check(complaints=("Failed to load resource", "ERR_CONNECTION"))
        watched.context.close()


def test_a_bad_upload_is_told_beside_its_field_and_keeps_what_was_typed(
    watched: Watched, tmp_path: Path
) -> None:
    page = watched.page
    (tmp_path / "notes.png").write_text("no picture at all")
    page.goto("/")
    page.get_by_label("Prompt").fill("a cup of mine")
    page.locator("#picture").set_input_files(tmp_path / "notes.png")
    page.get_by_role("button", name="Make it from the picture").click()
    error = page.locator("#picture-error")
    assert "The file notes.png is no picture that can be read" in error.inner_text()
    assert page.locator("#picture").get_attribute("aria-invalid") == "true"
    assert "picture-error" in str(page.locator("#picture").get_attribute("aria-describedby"))
    assert page.get_by_label("Prompt").input_value() == "a cup of mine"
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "cup.png")
    page.locator("#picture").set_input_files(tmp_path / "cup.png")
    page.get_by_role("button", name="Make it from the picture").click()
    page.wait_for_url(re.compile("/jobs/"))


def test_a_prompt_that_is_a_script_is_text_on_every_page(page: Page) -> None:
    evil = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'> sleep 0.01"
    queue(page, evil)
    assert evil in page.locator("h1").inner_text()
    page.get_by_role("link", name="Queue").click()
    assert evil in page.locator("main").inner_text() and "owned'" not in page.title().replace(evil[:60], "")
    assert page.title() != "owned"


def test_two_browsers_do_not_mix(browser: Browser, studio: Studio) -> None:
    both = [Watched(browser, studio.address) for _ in range(2)]
    prompts = ["a red jug", "a green bowl"]
    for one, prompt in zip(both, prompts, strict=True):
        one.page.goto("/")
        one.page.get_by_label("Prompt").fill(prompt)
    for one in both:
        one.page.get_by_role("button", name="Draw candidates").click()
    for one, prompt in zip(both, prompts, strict=True):
        one.page.get_by_role("button", name="Make candidate 1").first.wait_for()
        assert one.page.locator("h1").inner_text() == prompt
    assert both[0].page.url != both[1].page.url
    for one, other in zip(both, reversed(prompts), strict=True):
        assert other not in one.page.locator("main").inner_text()
        one.check()
        one.context.close()


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until this has the focus, and see that it shows."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style != "none", f"{selector} does not show that it has the focus"
            return
    raise AssertionError(f"{selector} is not reached by Tab")


def test_the_keyboard_alone_makes_an_asset(page: Page) -> None:
    page.goto("/")
    page.keyboard.type("a jug by keys")  # the prompt has the focus
    tab_to(page, "button[value=candidates]")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/jobs/"))
    page.locator(".gallery button").nth(1).wait_for()
    page.keyboard.press("2")
    assert page.evaluate("document.activeElement.dataset.key") == "2"
    first = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/jobs/" in url and url != first)
    page.get_by_role("heading", name="Downloads").wait_for()
    page.locator("#view.shown").wait_for()
    for selector in ("#turn", "#spin", ".offers a"):
        tab_to(page, selector)
    tab_to(page, ".offers button")


def test_the_keyboard_cancels_and_the_focus_survives_what_is_put_in_place(page: Page) -> None:
    queue(page, "sleep 2 a vase by keys", "Make the best one at once")
    page.locator(".steps .running").first.wait_for()
    tab_to(page, "form[action$='/cancel'] button")
    time.sleep(3)  # parts of the page are put in place meanwhile
    assert page.evaluate("document.activeElement.closest('form')?.action.endsWith('/cancel')")
    page.keyboard.press("Enter")
    page.locator(".chip.cancelled").wait_for()
