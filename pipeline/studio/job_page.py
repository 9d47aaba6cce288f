"""A job: how it stands, its candidates, its refinement as it goes, and what came of it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .answers import apart, not_found
from .desk import Desk
from .templating import page


def routes(desk: Desk) -> list[BaseRoute]:
    """``/jobs/ID``: the page."""

    async def show(request: Request) -> Response:
        row = await apart(desk.row, request.path_params["id"])
        if row is None:
            raise not_found("there is no such job")
        return page(request, "job.html", row=row)

    return [Route("/jobs/{id}", show)]
