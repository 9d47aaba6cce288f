"""The queue: every job, the newest first, some at a time."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..batch.rows import Row
from ..report.pictures import THUMBNAIL
from ..stages.table import STAGES
from .answers import apart, changes, not_found
from .desk import Desk
from .looking import TITLES, WORDS
from .now import read_now
from .templating import page, part_of

PER_PAGE = 24
_SIDE = 256
_SHOWN = (
    THUMBNAIL,
    *(f"{stage.folder}/{name}" for stage in STAGES for name in ("image.png", "candidates.png")),
)
"""Pictures that may stand for a run, the best first."""


@dataclass(frozen=True)
class Line:
    """A job as the list shows it. ``at``: what it is at, ``share`` how far that is, 0 to 1."""

    row: Row
    state: str
    picture: str | None
    at: str | None
    share: float | None

    @property
    def picking(self) -> bool:
        """Whether it draws candidates alone."""
        return self.row.until == "image"


def routes(desk: Desk) -> list[BaseRoute]:
    """``/jobs``: the list; ``/jobs/state``: the same for its script; ``/jobs/ID/thumbnail``."""

    async def show(request: Request) -> Response:
        told = await apart(_told, desk, _page_of(request))
        return page(request, "queue.html", part=_part(told), **told)

    async def state(request: Request) -> Response:
        told = await apart(_told, desk, _page_of(request))
        return changes(request, {"list": _part(told)}, spoken=told["spoken"], rests=False)

    async def picture(request: Request) -> Response:
        row = await apart(desk.row, request.path_params["id"])
        path = None if row is None else _picture(desk, row)
        if path is None:
            raise not_found("there is no picture of this job yet")
        kept = {"Cache-Control": "private, max-age=86400, immutable"}
        data = await apart(_small, path)
        if data is None:
            raise not_found("the picture of this job cannot be read")
        return Response(data, media_type="image/jpeg", headers=kept)

    return [
        Route("/jobs", show),
        Route("/jobs/state", state),
        Route("/jobs/{id}/thumbnail", picture),
    ]


def _page_of(request: Request) -> int:
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isdecimal() and len(text) < 6 else 1


def _told(desk: Desk, number: int) -> dict[str, Any]:
    """What the list says: a page of it, and how many jobs there are in each state."""
    rows = desk.rows()
    counts = {word: sum(WORDS[row.state] == word for row in rows) for word in dict.fromkeys(WORDS.values())}
    pages = max(1, -(-len(rows) // PER_PAGE))
    number = min(number, pages)
    now = read_now(desk.folder)
    shown = [_line(desk, row, now) for row in rows[(number - 1) * PER_PAGE : number * PER_PAGE]]
    spoken = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return {
        "lines": shown,
        "counts": counts,
        "number": number,
        "pages": pages,
        "spoken": spoken or "nothing is queued",
    }


def _line(desk: Desk, row: Row, now: Mapping[str, Any]) -> Line:
    told = now.get(row.id) if row.state == "running" else None
    path = _picture(desk, row)
    picture = None if path is None else f"{path.stat().st_mtime_ns:x}"
    at = share = None
    if told is not None:
        at = TITLES.get(told["stage"], told["stage"]) or "getting ready"
        share = min(1.0, told["done"] / told["total"]) if told["total"] else None
    return Line(row, WORDS[row.state], picture, at, share)


def _picture(desk: Desk, row: Row) -> Path | None:
    run = desk.runs / row.folder if row.folder else None
    return next((run / name for name in _SHOWN if (run / name).is_file()), None) if run else None


def _part(told: Mapping[str, Any]) -> dict[str, str]:
    return part_of("queue_list.html", **told)


def _small(path: Path) -> bytes | None:
    """A picture for the list, on the ground that pictures have there; None of a damaged one."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width > 2 * picture.height:  # a row of candidates: the first two
                picture = picture.crop((0, 0, 2 * picture.height, picture.height))
            picture = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError):
        return None
    picture.thumbnail((2 * _SIDE, _SIDE))
    ground = Image.new("RGBA", picture.size, (237, 237, 235, 255))
    held = io.BytesIO()
    Image.alpha_composite(ground, picture).convert("RGB").save(held, "JPEG", quality=85)
    return held.getvalue()
