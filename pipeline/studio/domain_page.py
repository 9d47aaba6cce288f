"""Domains: those that there are, pictures to learn another one from, and a training as it goes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from ...systems.domain.places import TRAINING, checked_name, domains_folder
from ...systems.models.known import SHIPPED
from ..domains.listing import card_of_any, find_learned, list_domains
from .answers import apart, changes, not_found, see
from .desk import Desk
from .domain_form import ASPECTS, FIELDS, LICENCES, METHODS, training_words
from .make_page import BASES
from .picture_sets import MOST_BYTES, MOST_FILES, PictureSet, add_pictures, find_set, new_set, small_picture
from .plots import plot
from .templating import page, part_of
from .trainings import (
    REPORT,
    Training,
    at_work,
    resume_training,
    start_training,
    stop_training,
    training_seen,
)
from .uploads import read_form, shown_name, text_of

_SHEET = re.compile(r"\d{1,4}-\d{6,9}\.png")
_MOST_SMALL = 48  # pictures of a set that its page shows
PARTS = ("head", "samples", "course", "card")


def routes(desk: Desk) -> list[BaseRoute]:
    """``/domains``, ``/domains/pictures/SET`` and ``/domains/of/NAME``, with what belongs to them."""

    async def show_all(request: Request) -> Response:
        return _list(request, await apart(_domains, desk))

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
            return _list(request, await apart(_domains, desk), errors=errors, status=422)
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
                return see(_path(typed["name"]))
            except BadInput as error:
                errors[""] = str(error)
        return await _set_page(request, desk, found.id, typed=typed, errors=errors)

    async def show_one(request: Request) -> Response:
        name = _name(request)
        training = await apart(training_seen, desk, name)
        parts = await apart(_parts, name, training)
        told = {"name": name, "address": _path(name), "parts": parts, "spoken": _spoken(training)}
        return page(request, "domain.html", rests=training is None or training.is_over, **told)

    async def state(request: Request) -> Response:
        name = _name(request)
        training = await apart(training_seen, desk, name)
        parts = await apart(_parts, name, training)
        return changes(request, parts, spoken=_spoken(training), rests=training is None or training.is_over)

    async def stop(request: Request) -> Response:
        return await _steered(request, stop_training)

    async def resume(request: Request) -> Response:
        return await _steered(request, resume_training)

    async def _steered(request: Request, change: Any) -> Response:
        name = _name(request)
        await read_form(request)
        await apart(change, desk, name)
        return see(_path(name))

    async def samples(request: Request) -> Response:
        sheet = request.path_params["sheet"]
        path = _work(_name(request)) / "samples" / sheet
        if _SHEET.fullmatch(sheet) is None or not path.is_file():
            raise not_found("there is no such picture")
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})

    async def report(request: Request) -> Response:
        path = _work(_name(request)) / REPORT
        if not path.is_file():
            raise not_found("this domain has no report of a training here")
        return FileResponse(path)

    return [
        Route("/domains", show_all),
        Route("/domains/pictures", upload, methods=["POST"]),
        Route("/domains/pictures/{set}", show_set),
        Route("/domains/pictures/{set}/state", set_state),
        Route("/domains/pictures/{set}/small/{file}", small),
        Route("/domains/pictures/{set}/train", train, methods=["POST"]),
        Route("/domains/of/{name}", show_one),
        Route("/domains/of/{name}/state", state),
        Route("/domains/of/{name}/stop", stop, methods=["POST"]),
        Route("/domains/of/{name}/resume", resume, methods=["POST"]),
        Route("/domains/of/{name}/samples/{sheet}", samples),
        Route("/domains/of/{name}/report", report),
    ]


def _path(name: str) -> str:
    return f"/domains/of/{quote(name)}"


def _name(request: Request) -> str:
    """The domain that an address names: never a path."""
    name = request.path_params["name"]
    try:
        return name if name in SHIPPED["domain"] else checked_name(name)
    except BadInput:
        raise not_found("there is no such domain") from None


def _work(name: str) -> Path:
    return domains_folder() / f"{name}{TRAINING}"


# The list


def _domains(desk: Desk) -> list[dict[str, Any]]:
    working, found = at_work(desk), list_domains()
    known = {one["name"] for one in found}
    if working is not None and working not in known:  # it reads its pictures still
        found.append({"name": working, "kind": "unfinished"})
    for one in found:
        one["address"] = _path(one["name"])
        one["working"] = one["name"] == working
        sheets = sorted((_work(one["name"]) / "samples").glob("*.png"))
        one["sheet"] = f"{one['address']}/samples/{sheets[-1].name}" if sheets else None
    return found


def _list(
    request: Request,
    domains: Sequence[Mapping[str, Any]],
    *,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    told = {"domains": domains, "errors": errors or {}, "most_files": MOST_FILES, "most_bytes": MOST_BYTES}
    return page(request, "domains.html", status=status, folder=str(domains_folder().absolute()), **told)


# A set of pictures


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


# A domain


def _parts(name: str, training: Training | None) -> dict[str, dict[str, str]]:
    card = _card(name)
    if training is None and card is None:
        raise not_found(f"there is no domain {name!r}; the list shows which there are")
    told = {"name": name, "address": _path(name), "training": training, "card": card}
    made = {}
    for part in PARTS:
        more = _courses(training) if part == "course" else {}
        if part == "card":
            more = {"facts": _facts(card), "has_report": (_work(name) / REPORT).is_file()}
        made[part] = part_of(f"domain_{part}.html", **told, **more)
    return made


def _card(name: str) -> dict[str, Any] | None:
    try:
        return card_of_any(find_learned(name))
    except BadInput:
        return None


def _facts(card: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """What a card says, in the words of people."""
    if card is None:
        return []
    training, weights = card.get("training") or {}, (card.get("weights") or {}).get("picture") or {}
    told = [
        ("kind", card["kind"]),
        ("base", card.get("base")),
        ("licence", card.get("licence")),
        (
            "pictures",
            (card.get("pictures") or {}).get("count") if isinstance(card.get("pictures"), dict) else None,
        ),
        ("steps", training.get("steps") if isinstance(training, dict) else None),
        ("Frechet distance", training.get("frechet") if isinstance(training, dict) else None),
        ("words recognised", training.get("recognised") if isinstance(training, dict) else None),
        *((f"weight of {one}", value) for one, value in weights.items()),
    ]
    return [(name, value) for name, value in told if value is not None]


def _courses(training: Training | None) -> dict[str, Any]:
    if training is None:
        return {"losses": "", "judged": ""}
    held = [(one["at"], one["loss"]) for one in training.evaluations]
    losses = {"held-out pictures": held, "pictures learned from": training.losses}
    frechet = [(one["at"], one["frechet"]) for one in training.evaluations if one.get("frechet") is not None]
    title = "Frechet distance to held-out pictures"
    return {
        "losses": plot(losses, "Denoising loss") if len(held) > 1 else "",
        "judged": plot({"Frechet distance": frechet}, title) if len(frechet) > 1 else "",
    }


def _spoken(training: Training | None) -> str:
    return "" if training is None else f"The training is {training.state}."
