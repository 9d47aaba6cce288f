"""Sets of pictures: uploaded, read, looked at, and learned from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from .answers import apart, changes, not_found, see
from .desk import Desk
from .domain_form import ASPECTS, FIELDS, LICENCES, METHODS, training_words
from .domain_page import address_of, list_page
from .make_page import BASES
from .picture_sets import MOST_BYTES, MOST_FILES, PictureSet, add_pictures, find_set, new_set, small_picture
from .templating import page, part_of
from .trainings import start_training
from .uploads import read_form, shown_name, text_of

_MOST_SMALL = 48  # pictures of a set that its page shows


def routes(desk: Desk) -> list[BaseRoute]:
    """``/domains/pictures`` and ``/domains/pictures/SET``, with what belongs to them."""

    async def upload(request: Request) -> Response:
        form = await read_form(request, most_bytes=MOST_BYTES, most_files=MOST_FILES)
        sent = [
            (shown_name(one.filename), await one.read())
            for one in form.getlist("pictures")
            if isinstance(one, UploadFile) and (one.filename or one.size)
        ]
        name = text_of(form, "set")
        if not sent:
            errors = {"pictures": "choose the pictures first; 4 are the least, hundreds are better"}
            if name:
                return await _set_page(request, desk, name, errors=errors)
            return await list_page(request, desk, errors=errors, status=422)
        name = name or new_set(desk)
        await apart(add_pictures, desk, name, sent)
        return see(f"/domains/pictures/{name}")

    async def show_set(request: Request) -> Response:
        return await _set_page(request, desk, request.path_params["set"])

    async def set_state(request: Request) -> Response:
        found = await _set(desk, request.path_params["set"])
        return changes(
            request, _set_parts(found), spoken=_read_sentence(found), rests=found.reading is not None
        )

    async def small(request: Request) -> Response:
        path = await apart(small_picture, desk, request.path_params["set"], request.path_params["file"])
        if path is None:
            raise not_found("there is no such picture")
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400, immutable"})

    async def train(request: Request) -> Response:
        form = await read_form(request)
        typed = {name: text_of(form, name) for name in FIELDS}
        found = await _set(desk, request.path_params["set"])
        words, errors = training_words(typed, found.pictures.absolute())
        if not errors:
            try:
                await apart(start_training, desk, typed["name"], words)
                return see(address_of(typed["name"]))
            except BadInput as error:
                errors[""] = str(error)
        return await _set_page(request, desk, found.id, typed=typed, errors=errors)

    return [
        Route("/domains/pictures", upload, methods=["POST"]),
        Route("/domains/pictures/{set}", show_set),
        Route("/domains/pictures/{set}/state", set_state),
        Route("/domains/pictures/{set}/small/{file}", small),
        Route("/domains/pictures/{set}/train", train, methods=["POST"]),
    ]


async def _set(desk: Desk, name: str) -> PictureSet:
    found = await apart(find_set, desk, name)
    if found is None:
        raise not_found("there is no such set of pictures")
    return found


async def _set_page(
    request: Request,
    desk: Desk,
    name: str,
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    found = await _set(desk, name)
    return page(
        request,
        "picture_set.html",
        status=422 if errors else 200,
        found=found,
        parts=_set_parts(found),
        spoken=_read_sentence(found),
        typed=typed or dict.fromkeys(FIELDS, ""),
        errors=errors or {},
        bases=BASES,
        methods=METHODS,
        aspects=ASPECTS,
        licences=LICENCES,
        most_files=MOST_FILES,
        most_bytes=MOST_BYTES,
    )


def _set_parts(found: PictureSet) -> dict[str, dict[str, str]]:
    reading = dict(found.reading or {})
    for kind in ("left_out", "noted"):
        reading[kind] = {
            why: [found.names.get(file, file) for file in files]
            for why, files in reading.get(kind, {}).items()
        }
    shown = [(Path(file).stem, called) for file, called in list(found.names.items())[:_MOST_SMALL]]
    return {"reading": part_of("picture_set_reading.html", found=found, reading=reading, shown=shown)}


def _read_sentence(found: PictureSet) -> str:
    if found.reading is None:
        return "The pictures are being read."
    if "error" in found.reading:
        return "These pictures cannot be learned from yet."
    return f"{found.reading['count']} different pictures to learn from."
