"""A studio in the process of the test: its pages with a browser's headers, and a queue that nobody works off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipcast.pipeline.studio.desk import Desk

if TYPE_CHECKING:
    from fakes.studio_browser import Studio
    from playwright.sync_api import Browser
    from starlette.testclient import TestClient

HOST = "127.0.0.1:7860"


@dataclass
class Told:
    """In the place of what starts the process that works."""

    problem: str | None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from fakes.studio_browser import open_browser

    with open_browser() as one:
        yield one


@pytest.fixture(scope="module")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    from fakes.studio_browser import open_studio

    with open_studio(tmp_path_factory.mktemp("studio")) as one:
        yield one


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "runs")


@pytest.fixture
def client(desk: Desk, studio_of: Callable[..., TestClient]) -> TestClient:
    """Answers as a browser on our own pages is answered; redirects are not followed."""
    return studio_of(desk)


@pytest.fixture
def studio_of() -> Callable[..., TestClient]:
    """A function: the browser of a studio; ``problem`` is what it says on every page."""
    pytest.importorskip("starlette", reason="the extra [ui] is not installed")
    from starlette.testclient import TestClient

    from slipcast.pipeline.studio.app import studio_app

    def made(desk: Desk, problem: str | None = None) -> TestClient:
        app = studio_app(desk, Told(problem), [HOST, "localhost:7860"])
        own: dict[str, Any] = {"Origin": f"http://{HOST}"}
        address = f"http://{HOST}"
        return TestClient(app, address, False, headers=own, follow_redirects=False)

    return made
