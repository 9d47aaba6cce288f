"""Two runs beside each other on one page: their pictures, and the settings and figures in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .document import document, section
from .markup import Markup, element
from .pictures import animation, picture

COMPARES = "<main data-compares"
"""What such a page holds, and no other of ours."""
_TITLES = {
    "10-image/image.png": "picture",
    "10-image/candidates.png": "candidates",
    "50-export/preview.png": "preview",
    "50-export/turntable.gif": "turntable",
}
_NOTES = {
    "settings": "Those that differ, as they were made out; null stands for what a run does not have.",
    "figures": "Seconds, memory and what stages measured, as far as they differ.",
}


def compare_page(told: Mapping[str, Any]) -> str:
    """A whole page, which needs no other file.

    Args:
        told: of two runs, as ``batch.listing.difference`` tells it.
    """
    names = [Path(run).name for run in told["runs"]]
    title = " and ".join(names)
    pictures = {name: files for name, files in told["pictures"].items() if any(files)}
    return document(
        title,
        element("header", element("h1", title), element("p", f"{told['runs'][0]} beside {told['runs'][1]}")),
        element(
            "main",
            section(
                "Pictures",
                [_beside(name, files, names) for name, files in pictures.items()]
                or element("p", "There are none."),
                identity="pictures",
            ),
            *(_table(what, told[what], names) for what in ("settings", "figures")),
            data_compares=True,
        ),
        script=None,
    )


def _beside(name: str, files: Sequence[str | None], names: Sequence[str]) -> Markup:
    return element(
        "div",
        element("h3", _TITLES.get(name, name)),
        element("div", [_shown(*pair) for pair in zip(files, names, strict=True)], class_="pair"),
    )


def _shown(file: str | None, name: str) -> Markup:
    path = None if file is None else Path(file)
    found = (animation(path) if path is not None and path.suffix == ".gif" else None) or picture(path)
    if found is None:
        return element("figure", element("p", "none", class_="note"), element("figcaption", name))
    image = element(
        "img",
        src=found.source,
        width=found.width,
        height=found.height,
        alt=f"{Path(file or '').name} of {name}",
    )
    return element("figure", image, element("figcaption", name))


def _table(what: str, differing: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Markup:
    head = element("thead", element("tr", [element("th", text, scope="col") for text in (what[:-1], *names)]))
    rows = [
        element("tr", element("th", name, scope="row"), [element("td", _text(value)) for value in both])
        for name, both in differing.items()
    ]
    body = element("div", element("table", head, element("tbody", rows)), class_="scroll")
    return section(
        what.capitalize(),
        body if rows else element("p", "They do not differ."),
        identity=what,
        note=_NOTES[what],
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
