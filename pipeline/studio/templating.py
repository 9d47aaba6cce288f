"""From templates to pages: everything that is filled in is escaped, and what every page needs is there."""

from __future__ import annotations

import hashlib
import time
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ..report import words

TEMPLATES = Path(__file__).parent / "templates"
NAVIGATION = (("/", "Make"), ("/jobs", "Queue"), ("/domains", "Domains"), ("/tune", "Tune"))
"""(path, name) of the pages that every page links to."""


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=words.duration,
        size=words.size,
        value=words.value,
        ago=ago,
        roughly=roughly,
        sentence=sentence,
    )
    made.globals["navigation"] = NAVIGATION
    return made


def render(name: str, /, **told: Any) -> str:
    """A template's text with what it is told, escaped."""
    return _environment().get_template(name).render(told)


def part_of(name: str, /, **told: Any) -> dict[str, str]:
    """A part of a page that its script puts in place when it looks otherwise: {"html", "version"}."""
    html = render(name, **told).strip()
    return {"html": html, "version": hashlib.sha256(html.encode()).hexdigest()[:12]}


def page(request: Request, name: str, /, *, status: int = 200, **told: Any) -> Response:
    """A page.

    Args:
        name: its file in ``templates``, which extends ``layout.html``.
        status: of HTTP, such as 422 for a form that holds an error.
        told: what the template names; ``problem`` is a sentence on top of any page.
    """
    problem = request.app.state.keeper.problem
    return HTMLResponse(render(name, **({"path": request.url.path, "problem": problem} | told)), status)


def sentence(text: str) -> str:
    """An error, which begins small and ends without a stop, as a sentence by itself."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def roughly(seconds: float) -> str:
    """A time to come, no more exact than a guess is: 5 s, 40 s, 3 min, 2 h."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{max(5, 5 * round(seconds / 5))} s"


def ago(when: float | None, now: float | None = None) -> str:
    """``just now``, ``3 min ago``, ``2 h ago``, ``5 days ago``."""
    if when is None:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - when)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length * (2 if unit == "days" else 1):
            return f"{int(seconds // length)} {unit} ago"
    return "just now"
