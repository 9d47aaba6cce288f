"""Pictures and files of a job's run, for its page: only what the run itself names, and what lies inside of it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ..report.outcome import MAPS
from ..report.reading import RunTold
from ..report.writing import REPORT, is_fresh, write_report
from .answers import apart, not_found
from .desk import Desk
from .guard import policy
from .looking import JobSeen, ratio
from .offers import offer_of, packed

if TYPE_CHECKING:
    from PIL import Image

PICTURES = {
    "picture": ("image", "image.png"),
    "progress": ("refine", "progress.png"),
    "preview": ("refine", "preview.png"),
    "sheet": ("export", "preview.png"),
    "turntable": ("export", "turntable.gif"),
    **{Path(name).stem: ("mesh", name) for name, _ in MAPS},
}
"""{name in an address: (stage, file)}."""
_LARGEST_SHOWN = 1024  # pixels of a side; maps may be larger
_REPORT_POLICY = {
    "sandbox": "allow-scripts allow-downloads",
    "default-src": "'none'",
    # The page's own policy names the hash of its script.
    "script-src": "'unsafe-inline' blob: 'wasm-unsafe-eval'",
    "style-src": "'unsafe-inline'",
    "img-src": "data: blob: 'self'",
    "connect-src": "data: blob:",
    "worker-src": "blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
Found = Callable[[Request], Awaitable[JobSeen]]


def file_routes(found: Found, desk: Desk) -> list[BaseRoute]:
    """``/jobs/ID/candidates/N``, ``pictures/NAME``, ``run/PATH`` and ``zip/FORMAT``.

    Args:
        found: the job that a request names.
    """

    async def run_of(request: Request) -> RunTold:
        job = await found(request)
        if job.run is None:
            raise not_found("this job has made nothing yet")
        return job.run

    async def candidate(request: Request) -> Response:
        job = await found(request)
        number = request.path_params["number"]
        if job.run is None or number >= job.ready:
            raise not_found("there is no such candidate yet")
        return _picture(await apart(_tile, job.run, number), request)

    async def picture(request: Request) -> Response:
        run = await run_of(request)
        stage, name = PICTURES.get(request.path_params["name"], ("", ""))
        path = run.file("paint", name) if stage == "mesh" else None  # the painted one, where there is one
        path = path or run.file(stage, name)
        if path is None:
            raise not_found("there is no such picture yet")
        if path.suffix == ".gif":
            return FileResponse(path)
        return _picture(await apart(_small, path), request)

    async def file(request: Request) -> Response:
        run = await run_of(request)
        wanted = request.path_params["path"]
        if wanted == REPORT:
            boxed = {"Content-Security-Policy": policy(_REPORT_POLICY)}
            return FileResponse(await apart(_report, run.path), headers=boxed)
        path = next((path for path, _ in run.files if path.relative_to(run.path).as_posix() == wanted), None)
        if path is None or not path.resolve().is_relative_to(run.path.resolve()):
            raise not_found("there is no such file in this run")
        shown = request.query_params.get("show") == "1"
        return FileResponse(
            path, filename=path.name, content_disposition_type="inline" if shown else "attachment"
        )

    async def zipped(request: Request) -> Response:
        run = await run_of(request)
        offer = await apart(offer_of, desk, run, request.path_params["format"])
        if offer is None:
            raise not_found("there is no file of this format yet; ask for it on the job's page")
        with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as target:
            await apart(packed, offer.files, target)
        path = Path(target.name)
        name = f"{offer.files[0].stem}-{offer.name}.zip"
        return FileResponse(path, filename=name, background=BackgroundTask(path.unlink, missing_ok=True))

    return [
        Route("/jobs/{id}/candidates/{number:int}", candidate),
        Route("/jobs/{id}/pictures/{name}", picture),
        Route("/jobs/{id}/run/{path:path}", file),
        Route("/jobs/{id}/zip/{format}", zipped),
    ]


def _picture(data: bytes, request: Request) -> Response:
    """A PNG; an address with a version in it is never another picture."""
    kept = "private, max-age=86400, immutable" if "v" in request.query_params else "no-store"
    return Response(data, media_type="image/png", headers={"Cache-Control": kept})


def _tile(run: RunTold, number: int) -> bytes:
    """One picture of the row of candidates."""
    path = run.file("image", "candidates.png")
    if path is None:
        raise not_found("there is no such candidate yet")
    with _opened(path) as row:
        width = round(row.height * ratio(run))
        return _png(row.crop((number * width, 0, (number + 1) * width, row.height)))


def _small(path: Path) -> bytes:
    with _opened(path) as picture:
        if max(picture.size) <= _LARGEST_SHOWN and picture.format == "PNG":
            return path.read_bytes()
        picture.thumbnail((_LARGEST_SHOWN, _LARGEST_SHOWN))
        return _png(picture)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture, unpacked; 404 for one that is damaged or goes at this moment."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            yield picture
    except (OSError, ValueError, SyntaxError) as error:
        raise not_found("this picture cannot be read") from error


def _png(picture: Image.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG", compress_level=1)
    return held.getvalue()


def _report(run: Path) -> Path:
    return run / REPORT if is_fresh(run) else write_report(run)
