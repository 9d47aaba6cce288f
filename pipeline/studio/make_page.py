"""The first page: what to make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from ...configs.loading import preset_names
from ...systems.domain.places import known_domains
from .answers import apart, not_found, see
from .desk import Desk
from .form import FIELDS, Filled, filled, typed_of
from .templating import page
from .uploads import PICTURE_BYTES, file_of, kept_upload, read_form, text_of

BASES = ("starter", "sd15", "sd21", "sdxl", "sd3", "sd35", "flux-dev", "flux-schnell", "dit-256")
"""Names that the field suggests; it takes folders, files and hub ids too."""
DOMAINS = ("starter", "none")
_UPLOADED = re.compile(r"[0-9a-f]{32}\.(png|jpg|webp)")


def routes(desk: Desk) -> list[BaseRoute]:
    """``/``: the form; ``/make``: a form that was sent; ``/uploads/NAME``: a picture that came with one."""

    async def show(request: Request) -> Response:
        typed = {name: request.query_params.get(name, "") for name in FIELDS}
        again = request.query_params.get("again")
        if again is not None:
            typed = typed_of(await apart(desk.entry, again)) | {
                name: text for name, text in typed.items() if text
            }
        typed["picture"] = typed["picture"] if _is_there(desk, typed["picture"]) else ""
        return _shown(request, Filled(typed))

    async def send(request: Request) -> Response:
        form = await read_form(request, most_bytes=PICTURE_BYTES + 1_000_000)
        typed = {name: text_of(form, name) for name in FIELDS}
        kept = text_of(form, "kept_picture")
        typed["picture"] = kept if _is_there(desk, kept) and not text_of(form, "without_picture") else ""
        refused = None
        sent = await file_of(form, "picture")
        if sent is not None:
            try:
                typed["picture"] = (await apart(kept_upload, *sent, desk.uploads)).name
            except BadInput as error:
                refused = str(error)
        first = text_of(form, "how") != "whole"
        found = await apart(filled, typed, desk.uploads, candidates_first=first)
        if refused is not None:
            found.errors["picture"] = refused
        if not found.errors:
            try:
                return see(f"/jobs/{await apart(desk.submit, found.values)}")
            except BadInput as error:
                found.errors[""] = str(error)
        return _shown(request, found, status=422)

    async def upload(request: Request) -> Response:
        name = request.path_params["name"]
        if not _is_there(desk, name):
            raise not_found("there is no such picture")
        return FileResponse(desk.uploads / name)

    return [
        Route("/", show),
        Route("/make", send, methods=["POST"]),
        Route("/uploads/{name}", upload),
    ]


def _is_there(desk: Desk, name: str) -> bool:
    """Whether a name is one that ``kept_upload`` gave, and its picture still there."""
    return _UPLOADED.fullmatch(name) is not None and (desk.uploads / name).is_file()


def _shown(request: Request, found: Filled, *, status: int = 200) -> Response:
    told: Mapping[str, Any] = {
        "typed": found.typed,
        "errors": found.errors,
        "presets": preset_names(),
        "bases": BASES,
        "domains": [*DOMAINS, *(place.name for place in known_domains())],
    }
    return page(request, "make.html", status=status, **told)
