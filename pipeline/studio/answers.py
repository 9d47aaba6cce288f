"""What pages answer when something is wrong, and how the small JSON for their scripts is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from ...configs.errors import BadInput, SlipcastError
from .templating import page

T = TypeVar("T")


async def apart(function: Callable[..., T], *given: Any, **named: Any) -> T:
    """Call what reads disks or a ledger in a thread, so that the server goes on answering others."""
    return await run_in_threadpool(function, *given, **named)


def see(path: str) -> Response:
    """After a POST: the browser is to get this page."""
    return RedirectResponse(path, 303)


def not_found(what: str) -> HTTPException:
    """To raise where there is no such thing; ``what`` is a sentence."""
    return HTTPException(404, what)


def wants_json(request: Request) -> bool:
    """Whether a script asks, and not a person."""
    return "application/json" in request.headers.get("accept", "")


async def told_error(request: Request, error: Exception) -> Response:
    """An error as the one who asked can read it: a page, or {"error": sentence} for a script."""
    if isinstance(error, HTTPException):
        status, sentence = error.status_code, str(error.detail)
        if status == 405:
            sentence = "this address is not asked in this way"
    elif isinstance(error, BadInput):
        status, sentence = 422, str(error)
    elif isinstance(error, SlipcastError):
        status, sentence = 500, str(error)
    else:
        status, sentence = 500, f"failed unexpectedly ({type(error).__name__}: {error})"
    if wants_json(request):
        return JSONResponse({"error": sentence}, status)
    if request.url.path.startswith("/static/"):
        return PlainTextResponse(sentence + "\n", status)
    title = "Not found" if status == 404 else "This did not work"
    return page(request, "error.html", status=status, title=title, sentence=sentence)
