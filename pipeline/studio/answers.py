"""What pages answer when something is wrong, and how the small JSON for their scripts is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def changes(
    request: Request, parts: Mapping[str, Mapping[str, str]], *, spoken: str, rests: bool
) -> Response:
    """For a page's script (live.js): those of its parts (``templating.part_of``) that it does not show as they are now.

    Args:
        spoken: a sentence for those who do not see the page.
        rests: whether nothing will change until somebody asks for something.
    """
    known = request.query_params
    new = {name: part for name, part in parts.items() if part["version"] != known.get(name, "")}
    return JSONResponse({"spoken": spoken, "rests": rests, "parts": new})


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
