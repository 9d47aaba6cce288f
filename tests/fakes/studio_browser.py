"""A studio of its own and a browser that looks at it, for the tests in a browser; both end with the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakes.studio_assets
import psutil
import pytest
from fakes.browser import find_browser

from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.processes import WORKER, living

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

SLOW_MS = 90_000
"""A machine at work elsewhere takes its time."""


class Studio:
    """A server on a folder of runs, with stages that take moments."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.desk = folder, Desk(folder / "runs")
        self.address = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> None:
        """Start the server, on the port of one that was killed where one is given."""
        words = [sys.executable, fakes.studio_assets.__file__, "serve", str(self.desk.runs), str(port)]
        environment = os.environ | {"SLIPCAST_DOMAINS": str(self.folder / "domains")}
        self._process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "http://127.0.0.1:" not in line:
            raise AssertionError(line + self._process.communicate()[0])
        self.address = line.split()[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """As a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Stop the server and whoever works for it."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.communicate(timeout=60)
        notes = [self.desk.folder / WORKER, *(self.desk.folder / "trainings").glob("*.json")]
        for told in filter(None, map(living, notes)):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(told["pid"]).kill()


@contextlib.contextmanager
def open_studio(folder: Path) -> Iterator[Studio]:
    """A running studio, for this block."""
    made = Studio(folder)
    made.start()
    try:
        yield made
    finally:
        made.end()


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser, for this block; skips where there is none, or no Playwright."""
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium here (SLIPCAST_CHROMIUM=PATH names one)")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright here: needs the extra [dev]"
    )
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = started.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of a context of its own: what it asked for and complained about is noted."""

    def __init__(self, browser: Browser, address: str, width: int = 1280, **more: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, base_url=address, **more)
        self.context.set_default_timeout(SLOW_MS)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self._address = address
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.said.append(line.text)

    def check(self, *, complaints: tuple[str, ...] = ()) -> None:
        """Everything was asked of the server itself, and nothing was complained about but this."""
        own = (f"{self._address}/", "data:", f"blob:{self._address}")
        assert [url[:90] for url in self.asked if not url.startswith(own)] == []
        known = ("rAF timed out", "GPU stall", *complaints)  # software draws less than a picture a second
        unknown = [line for line in self.said if not any(one in line for one in known)]
        assert unknown == [], "\n".join(unknown)
