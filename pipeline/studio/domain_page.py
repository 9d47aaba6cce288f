"""Domains: those that there are, and each of them with its training as it goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from ...systems.domain.places import TRAINING, checked_name, domains_folder
from ...systems.models.known import SHIPPED
from ..domains.listing import card_of_any, find_learned, list_domains
from .answers import apart, changes, not_found, see
from .desk import Desk
from .picture_sets import MOST_BYTES, MOST_FILES
from .plots import plot
from .templating import page, part_of
from .trainings import (
    REPORT,
    Training,
    at_work,
    resume_training,
    stop_training,
    training_seen,
)
from .uploads import read_form

_SHEET = re.compile(r"\d{1,4}-\d{6,9}\.png")
PARTS = ("head", "samples", "course", "card")


def routes(desk: Desk) -> list[BaseRoute]:
    """``/domains`` and ``/domains/of/NAME``, with what belongs to them."""

    async def show_all(request: Request) -> Response:
        return await list_page(request, desk)

    async def show_one(request: Request) -> Response:
        name = _name(request)
        training = await apart(training_seen, desk, name)
        parts = await apart(_parts, name, training)
        told = {"name": name, "address": address_of(name), "parts": parts, "spoken": _spoken(training)}
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
        return see(address_of(name))

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
        Route("/domains/of/{name}", show_one),
        Route("/domains/of/{name}/state", state),
        Route("/domains/of/{name}/stop", stop, methods=["POST"]),
        Route("/domains/of/{name}/resume", resume, methods=["POST"]),
        Route("/domains/of/{name}/samples/{sheet}", samples),
        Route("/domains/of/{name}/report", report),
    ]


def address_of(name: str) -> str:
    """Of a domain's page."""
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
        one["address"] = address_of(one["name"])
        one["working"] = one["name"] == working
        sheets = sorted((_work(one["name"]) / "samples").glob("*.png"))
        one["sheet"] = f"{one['address']}/samples/{sheets[-1].name}" if sheets else None
    return found


async def list_page(
    request: Request, desk: Desk, *, errors: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """All domains, and where pictures for another one are uploaded."""
    domains = await apart(_domains, desk)
    told = {"domains": domains, "errors": errors or {}, "most_files": MOST_FILES, "most_bytes": MOST_BYTES}
    return page(request, "domains.html", status=status, folder=str(domains_folder().absolute()), **told)


# A domain


def _parts(name: str, training: Training | None) -> dict[str, dict[str, str]]:
    card = _card(name)
    if training is None and card is None:
        raise not_found(f"there is no domain {name!r}; the list shows which there are")
    told = {"name": name, "address": address_of(name), "training": training, "card": card}
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
