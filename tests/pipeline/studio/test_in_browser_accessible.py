"""axe-core on every page of the studio, wide and narrow, light and dark: no serious fault; and nothing sticks out."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.studio_assets import plain
from fakes.studio_browser import Studio, Watched

pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def find_axe() -> Path | None:
    """axe.min.js of npm's axe-core: SLIPCAST_AXE names it, or it lies where npm installs."""
    named = os.environ.get("SLIPCAST_AXE")
    places = [Path(named)] if named else []
    for scope in ((), ("-g",)) if not named else ():
        try:
            root = subprocess.run(
                ["npm", "root", *scope], capture_output=True, text=True, timeout=60
            ).stdout.strip()
        except OSError:
            continue
        places.append(Path(root) / "axe-core" / "axe.min.js")
    return next((path for path in places if path.is_file()), None)


@pytest.fixture(scope="module")
def axe() -> str:
    path = find_axe()
    if path is None:
        pytest.skip("npm's axe-core is not installed (npm install axe-core, or SLIPCAST_AXE=.../axe.min.js)")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def addresses(browser: Browser, studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """{page: its address}, with a job of each kind, a set of pictures and a domain."""
    watched = Watched(browser, studio.address)
    page, found = watched.page, {"empty queue": "/jobs", "empty tuning": "/tune", "not found": "/nowhere"}

    def make(prompt: str, button: str) -> str:
        page.goto("/")
        page.get_by_label("Prompt").fill(prompt)
        page.get_by_role("button", name=button).click()
        page.wait_for_url(re.compile("/jobs/"))
        return page.url

    found["candidates"] = make("a jug", "Draw candidates")
    page.get_by_role("button", name="Make candidate 1").first.wait_for()
    found["result"] = make("a bowl", "Make the best one at once")
    page.get_by_role("heading", name="Downloads").wait_for()
    found["failed"] = make("refuse a cup", "Make the best one at once")
    page.locator(".chip.failed").wait_for()
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        plain(number, folder / f"{number}.png")
    page.goto("/domains")
    page.get_by_label("Pictures that have a look in common").set_input_files(sorted(folder.iterdir()))
    page.get_by_role("button", name="Read them").click()
    page.get_by_text("to learn from", exact=True).wait_for()
    found["pictures"] = page.url
    page.get_by_label("Name").fill("clay")
    page.get_by_label("Licence").fill("MIT")
    page.get_by_label("Steps").fill("20")
    page.get_by_role("button", name="Train").click()
    page.locator(".chip.finished").wait_for()
    found["domain"] = page.url
    found["running"] = make("sleep 60 a vase", "Make the best one at once")
    page.locator(".steps .running").first.wait_for()
    watched.check()
    watched.context.close()
    tuned = "/tune?prompt=a+jug&values=0+2"
    return found | {
        "make": "/", "make with errors": "/make?", "queue": "/jobs", "domains": "/domains", "tune": tuned,
        "tune with errors": "/tune?prompt=a&values=x",
    }  # fmt: skip


PAGES = (
    "make", "make with errors", "queue", "candidates", "result", "failed", "running", "domains", "pictures", "domain",
    "empty tuning", "tune", "tune with errors", "not found",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault(
    browser: Browser, studio: Studio, addresses: dict[str, str], axe: str, width: int, scheme: str
) -> None:
    watched = Watched(browser, studio.address, width, color_scheme=scheme, bypass_csp=True)
    page, faults = watched.page, list[str]()
    for name in PAGES:
        if name == "make with errors":
            page.goto("/?more=refine.stepz%3D1")
            page.get_by_label("Prompt").fill("a vase")
            page.get_by_label("Seed").fill("x")
            page.get_by_role("button", name="Draw candidates").click()
            page.locator("#seed-error").wait_for()
        else:
            page.goto(addresses[name])
        if name == "result":
            page.locator("#view.shown").wait_for()
        if name == "tune":
            page.locator(".frame.done").nth(3).wait_for()
        for summary in page.locator("main summary").all():
            if summary.is_visible() and summary.evaluate("one => !one.parentElement.open"):
                summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} sticks out"
        page.add_script_tag(content=axe)
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        faults += [
            f"{name}: {one['id']} ({one['impact']}): {[node['target'] for node in one['nodes']][:4]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
    watched.context.close()
    assert faults == [], "\n".join(faults)
