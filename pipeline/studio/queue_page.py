"""The queue: every job, the newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .answers import apart
from .desk import Desk
from .templating import page


def routes(desk: Desk) -> list[BaseRoute]:
    """``/jobs``: the list."""

    async def show(request: Request) -> Response:
        return page(request, "queue.html", rows=await apart(desk.rows))

    return [Route("/jobs", show)]
