"""The studio as an ASGI application: its pages, its files, and the guard before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ...configs.errors import SlipcastError
from ..report import viewer
from . import domain_page, job_page, make_page, picture_set_page, queue_page, tune_page
from .answers import told_error
from .desk import Desk
from .guard import Guard

STATIC = Path(__file__).parent / "static"
_REPORT_STYLE = Path(viewer.__file__).parent / "data" / "style.css"
PAGES = (make_page, queue_page, job_page, domain_page, picture_set_page, tune_page)
"""Modules of pages; each has ``routes(desk) -> list of starlette's routes``."""


class Problem(Protocol):
    """What tells that nothing can be made: ``Keeper``, or a stand-in."""

    problem: str | None


def studio_app(desk: Desk, keeper: Problem, hosts: Sequence[str]) -> Guard:
    """The application.

    Args:
        keeper: its ``problem`` is shown on every page.
        hosts: as which it may be asked, with the port.
    """
    routes: list[BaseRoute] = [
        Route("/static/report.css", _report_style),
        Route("/static/model-viewer.js", _viewer),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    for module in PAGES:
        routes += module.routes(desk)
    app = Starlette(
        routes=routes, exception_handlers=dict.fromkeys((HTTPException, SlipcastError, Exception), told_error)
    )
    app.state.keeper = keeper
    return Guard(app, frozenset(hosts))  # outside of all, so that no answer goes without its headers


async def _report_style(request: Request) -> Response:
    """Reports and studio look alike: one sheet for both, and the studio's own after it."""
    return FileResponse(_REPORT_STYLE, headers={"Cache-Control": "no-cache"})


async def _viewer(request: Request) -> Response:
    return FileResponse(viewer.FOLDER / viewer.FILE, headers={"Cache-Control": "max-age=86400"})
