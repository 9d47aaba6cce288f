"""A job: how it stands, its candidates, its refinement as it goes, and what came of it.

The page is made of parts, each a template of its own. Its script asks every second or so for the parts that look
otherwise than those it shows, so that the page and its changes are written in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from ..report.curves import curves
from ..report.outcome import MAPS, mesh_tiles
from .answers import apart, changes, not_found, see
from .desk import Desk
from .job_files import file_routes
from .looking import JobSeen, course, failed_stage, job_seen
from .offers import offers, sent, start_export, start_send
from .templating import page, part_of
from .uploads import read_form, text_of

PARTS = ("head", "progress", "result", "downloads", "candidates", "refinement")
"""From the top of the page to its end: what came of it first."""


def routes(desk: Desk) -> list[BaseRoute]:
    """``/jobs/ID`` and what belongs to it."""

    async def found(request: Request) -> JobSeen:
        job = await apart(job_seen, desk, request.path_params["id"])
        if job is None:
            raise not_found("there is no such job; perhaps another folder of runs is open")
        return job

    async def show(request: Request) -> Response:
        job = await found(request)
        shown = await apart(parts, desk, job)
        return page(request, "job.html", job=job, parts=shown, rests=await apart(rests, desk, job))

    async def state(request: Request) -> Response:
        job = await found(request)
        shown = await apart(parts, desk, job)
        return changes(request, shown, spoken=job.spoken, rests=await apart(rests, desk, job))

    async def cancel(request: Request) -> Response:
        return await _changed(request, desk.cancel)

    async def retry(request: Request) -> Response:
        return await _changed(request, desk.retry)

    async def pick(request: Request) -> Response:
        job, form = await found(request), await read_form(request)
        number = text_of(form, "number")
        if not (number.isdecimal() and int(number) < job.ready):
            raise BadInput("pick one of the candidates that are drawn")
        return see(f"/jobs/{await apart(desk.submit, picked(job.entry, int(number)))}")

    async def export(request: Request) -> Response:
        job, form = await found(request), await read_form(request)
        if job.run is None:
            raise not_found("this job has made nothing yet")
        await apart(start_export, desk, job.run, text_of(form, "format"))
        return see(f"/jobs/{job.row.id}#downloads")

    async def send(request: Request) -> Response:
        job = await found(request)
        await read_form(request)
        if job.run is None:
            raise not_found("this job has made nothing yet")
        await apart(start_send, desk, job.run)
        return see(f"/jobs/{job.row.id}#downloads")

    return [
        Route("/jobs/{id}", show),
        Route("/jobs/{id}/state", state),
        Route("/jobs/{id}/cancel", cancel, methods=["POST"]),
        Route("/jobs/{id}/retry", retry, methods=["POST"]),
        Route("/jobs/{id}/pick", pick, methods=["POST"]),
        Route("/jobs/{id}/export", export, methods=["POST"]),
        Route("/jobs/{id}/send", send, methods=["POST"]),
        *file_routes(found, desk),
    ]


async def _changed(request: Request, change: Any) -> Response:
    """Cancel or try again; and back to the page where that was asked."""
    form = await read_form(request)
    name = request.path_params["id"]
    await apart(change, name)
    return see("/jobs" if text_of(form, "back") == "queue" else f"/jobs/{name}")


def picked(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The job that makes an asset of a candidate: the same settings, drawn by the same run, and that one picked."""
    values = {name: value for name, value in entry.items() if name not in ("id", "until")}
    return values | {"overrides": {**entry.get("overrides", {}), "image.pick": number}}


def parts(desk: Desk, job: JobSeen) -> dict[str, dict[str, str]]:
    """{part: {"html", "version"}}; a part that there is nothing of is empty."""
    told: dict[str, Any] = {"job": job, "row": job.row, "run": job.run}
    refining = course(job)
    has_mesh = job.run is not None and job.run.glb is not None and not job.picking
    more = {
        "head": {},
        "progress": {"failed": failed_stage(job)},
        "candidates": {"tiles": list(range(job.ready)), "missing": max(0, job.count - job.ready)},
        "refinement": {
            "course": refining,
            "plots": _plots(job) if refining else None,
            "preview": _preview(job),
        },
        "result": {"has_mesh": has_mesh, "tiles": _tiles(job) if has_mesh else None, "maps": _maps(job)},
        "downloads": {
            "offers": offers(desk, job.run) if has_mesh and job.run else [],
            "sent": sent(desk, job.run) if has_mesh and job.run else None,
        },
    }
    return {name: part_of(f"job_{name}.html", **told, **more[name]) for name in PARTS}


def rests(desk: Desk, job: JobSeen) -> bool:
    """Whether the page will not change until somebody asks for something."""
    exporting = job.run is not None and (
        sent(desk, job.run).working or any(offer.working for offer in offers(desk, job.run))
    )
    return job.is_over and not exporting


def _plots(job: JobSeen) -> Markup | None:
    drawn = curves(job.run.file("refine", "curve.csv")) if job.run else None
    return None if drawn is None else Markup(drawn)


def _tiles(job: JobSeen) -> Markup:
    stage = job.run.stage("mesh") if job.run else None
    return Markup("".join(mesh_tiles(stage.facts))) if stage else Markup("")


def _maps(job: JobSeen) -> list[tuple[str, str]]:
    """(name in addresses, title) of the maps that are there."""
    found = [(Path(name).stem, title) for name, title in MAPS if job.run and job.run.file("mesh", name)]
    return found


def _preview(job: JobSeen) -> str | None:
    """A word that is another one for every picture of the refinement as it goes; None without a picture."""
    path = job.run.file("refine", "preview.png") if job.run else None
    return None if path is None else f"{path.stat().st_mtime_ns:x}"
