"""Tuning: two settings of the weights side by side on one seed, a strip of one weight, and what each term pushes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import yaml
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ...configs.errors import BadInput
from ...configs.loading import preset_names
from ...configs.names import shown
from ...systems.domain.places import known_domains
from .answers import apart, not_found
from .desk import Desk
from .form import Filled, filled
from .make_page import BASES, DOMAINS
from .plots import plot
from .sketches import Sketch, Sketches
from .templating import page, render
from .uploads import read_form, text_of

SHARED = ("prompt", "seed", "preset", "base", "domain")
WEIGHTS = {
    "text_weight": "weight of the text",
    "domain_weight": "weight of the domain",
    "strength": "strength of the domain",
}
"""{field of the form of Make: what it is}; here each of them is there for A and for B."""
STEPS, MOST_STEPS, MOST_VALUES = 12, 100, 8
DEFAULTS = {
    "seed": "0", "preset": "starter", "steps": str(STEPS), "vary": "domain_weight", "values": "0 1 2 4",
    "b_domain_weight": "0",
}  # fmt: skip
FIELDS = (*SHARED, "steps", "vary", "values", *(f"{side}_{name}" for side in "ab" for name in WEIGHTS))
_KEY = re.compile(r"[0-9a-f]{32}")


def routes(desk: Desk) -> list[BaseRoute]:
    """``/tune``, its pictures, and the settings that were chosen as a file for ``slipcast run``."""
    sketches = Sketches(desk.folder / "sketches")

    async def show(request: Request) -> Response:
        typed = {name: request.query_params.get(name, DEFAULTS.get(name, "")).strip() for name in FIELDS}
        told = (
            await apart(_told, typed, desk) if typed["prompt"] else {"errors": {}, "cells": {}, "strip": []}
        )
        lists = {
            "presets": preset_names(),
            "bases": BASES,
            "domains": [*DOMAINS, *(place.name for place in await apart(known_domains))],
            "weights": WEIGHTS,
        }
        status = 422 if told["errors"] else 200
        return page(request, "tune.html", status=status, typed=typed, most_steps=MOST_STEPS, **lists, **told)

    async def draw(request: Request) -> Response:
        form = await read_form(request)
        typed = {name: text_of(form, name) for name in (*SHARED, *WEIGHTS, "steps")}
        found = await apart(_cell, typed, desk)
        if found.errors:
            raise BadInput(next(iter(found.errors.values())))
        return _json(await apart(sketches.look, await apart(sketches.ask, found.values)))

    async def drawn(request: Request) -> Response:
        key = request.path_params["key"]
        sketch = await apart(sketches.look, key) if _KEY.fullmatch(key) else None
        if sketch is None:
            raise not_found("nobody asked for this picture; load the page again")
        return _json(sketch)

    async def picture(request: Request) -> Response:
        key = request.path_params["key"]
        path = sketches.folder / f"{key}.png"
        if not _KEY.fullmatch(key) or not path.is_file():
            raise not_found("there is no such picture yet")
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400, immutable"})

    async def norms(request: Request) -> Response:
        """Both drawings on one scale, to be compared."""
        sides = {}
        for side in ("a", "b"):
            key = request.query_params.get(side, "")
            sketch = await apart(sketches.look, key) if _KEY.fullmatch(key) else None
            sides[side] = (
                dict(sketch.told.get("norms", {})) if sketch is not None and sketch.state == "done" else {}
            )
        top = max(
            (value for one in sides.values() for values in one.values() for value in values), default=None
        )
        names = sorted({name for one in sides.values() for name in one})
        drawn = {
            side: _plot({name: one.get(name, []) for name in names}, top, side) for side, one in sides.items()
        }
        return JSONResponse(drawn)

    async def settings(request: Request) -> Response:
        typed = {name: request.query_params.get(name, "").strip() for name in (*SHARED, *WEIGHTS)}
        found = await apart(_cell, typed, desk)
        if found.errors:
            raise BadInput(next(iter(found.errors.values())))
        return Response(
            run_file(found.values),
            media_type="application/yaml; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="tuned.yaml"'},
        )

    return [
        Route("/tune", show),
        Route("/tune/draw", draw, methods=["POST"]),
        Route("/tune/drawn/{key}", drawn),
        Route("/tune/pictures/{key}", picture),
        Route("/tune/norms", norms),
        Route("/tune/settings.yaml", settings),
    ]


def run_file(values: Mapping[str, Any]) -> str:
    """A job's values as the YAML that ``slipcast run`` takes; without the few steps of a sketch."""
    told = {name: values[name] for name in ("prompt", "seed", "config") if name in values}
    return yaml.safe_dump(told | dict(values.get("overrides", {})), sort_keys=False, allow_unicode=True)


def _cell(typed: Mapping[str, str], desk: Desk) -> Filled:
    """The job of one picture, by the form of Make; ``steps`` beside it, where there are any."""
    steps = typed.get("steps", "")
    usable = not steps or (steps.isdecimal() and 0 < int(steps) <= MOST_STEPS)
    given = {name: typed[name] for name in (*SHARED, *WEIGHTS)}
    given |= {"more": f"image.steps={steps}"} if steps and usable else {}
    found = filled(given, desk.uploads, candidates_first=True)
    if not usable:
        found.errors["steps"] = f"steps are a whole number from 1 to {MOST_STEPS}, not {shown(steps)}"
    return found


def _told(typed: Mapping[str, str], desk: Desk) -> dict[str, Any]:
    """What the page shows of a form: errors by field, the two sides, and the strip."""
    errors: dict[str, str] = {}
    cells = {side: _side(typed, side) for side in "ab"}
    for side, cell in cells.items():
        for name, sentence in _cell(cell, desk).errors.items():
            errors.setdefault(f"{side}_{name}" if name in WEIGHTS else name, sentence)
    vary = typed["vary"] if typed["vary"] in WEIGHTS else "domain_weight"
    strip = []
    try:
        for value in _values(typed["values"]):
            cell = cells["a"] | {vary: value}
            wrong = _cell(cell, desk).errors.get(vary)
            if wrong:
                raise BadInput(wrong)
            taken = {f"as_{side}": _address({**typed, f"{side}_{vary}": value}) for side in "ab"}
            strip.append({"value": value, "cell": cell, **taken})
    except BadInput as error:
        errors["values"] = str(error)
    used = {side: _used(cell) for side, cell in cells.items()}
    return {
        "errors": errors,
        "cells": cells,
        "strip": strip if not errors else [],
        "used": used,
        "vary": vary,
    }


def _side(typed: Mapping[str, str], side: str) -> dict[str, str]:
    """The fields of one picture."""
    own = {name: typed[f"{side}_{name}"] for name in WEIGHTS}
    return {name: typed[name] for name in (*SHARED, "steps")} | own


def _values(text: str) -> list[str]:
    values = text.replace(",", " ").split()
    if not 0 < len(values) <= MOST_VALUES:
        raise BadInput(f"a strip has 1 to {MOST_VALUES} values, such as 0 1 2 4, not {len(values)}")
    return values


def _address(typed: Mapping[str, str]) -> str:
    return f"/tune?{urlencode({name: value for name, value in typed.items() if value})}"


def _used(cell: Mapping[str, str]) -> dict[str, str]:
    """Where "use these settings" leads: the form of Make, filled in, and the file."""
    told = urlencode({name: cell[name] for name in (*SHARED, *WEIGHTS) if cell[name]})
    return {"make": f"/?{told}", "file": f"/tune/settings.yaml?{told}"}


def _json(sketch: Sketch | None) -> Response:
    """How a picture stands, for the page's script."""
    if sketch is None:
        raise not_found("nobody asked for this picture; load the page again")
    told: dict[str, Any] = {
        "key": sketch.key,
        "state": sketch.state,
        "ahead": sketch.ahead,
        "error": sketch.error,
    }
    if sketch.state == "done":
        told["caption"] = render("tune_caption.html", told=sketch.told)
        told["picture"] = f"/tune/pictures/{sketch.key}"
    return JSONResponse(told)


def _plot(norms: Mapping[str, list[float]], top: float | None, side: str) -> str:
    series = {name: list(enumerate(values, start=1)) for name, values in norms.items()}
    return str(plot(series, f"Length of what each term pushes, {side.upper()}", from_zero=True, top=top))
