"""index.html: a folder of runs as a wall of pictures that sorts, filters, shows each in 3-D and compares two.

The cards are plain HTML, there without any script. The page holds neither pictures nor meshes: thumbnails are loaded
when they come into sight, and a 3-D view is the run's own report.html in a frame.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import words
from .document import chip, document
from .markup import Markup, element, json_script, link
from .pictures import THUMBNAIL, THUMBNAIL_SIZE
from .reading import STATES, RunTold
from .settings import settings_told, standard

_ORDERS = (
    ("new", "Newest first"),
    ("prompt", "Prompt"),
    ("seed", "Seed"),
    ("seconds", "Longest time"),
    ("memory", "Most memory"),
    ("faces", "Most faces"),
)


def index_page(folder: Path, runs: Sequence[RunTold]) -> str:
    """The page, as HTML, with addresses relative to ``folder``; newest runs first."""
    ordered = sorted(runs, key=lambda told: (-told.written, told.path.name))
    name = folder.resolve().name.removesuffix(".batch")
    title = f"{name} – slipcast"
    states = Counter(told.state for told in ordered)
    counts = [
        element("span", f"{states[state]} {state}", class_="figure") for state in STATES if states[state]
    ]
    return document(
        title,
        element("a", "Skip to the runs", href="#cards", class_="skip"),
        element(
            "header",
            element("p", element("span", "slipcast", class_="mark"), class_="crumbs"),
            element("h1", name, dir="auto"),
            element("p", element("span", _many(len(ordered)), class_="figure"), counts, class_="figures"),
        ),
        _tools(states),
        element("main", [_card(folder, told) for told in ordered], id="cards", tabindex="-1"),
        element("p", "No run is like that.", class_="empty", id="none", hidden=True),
        _dialog(),
        json_script(
            "runs",
            {"standard": standard(), "runs": {told.path.name: _told(folder, told) for told in ordered}},
        ),
        script="index.js",
        frames=True,
    )


def _tools(states: Counter[str]) -> Markup:
    """What needs the script is hidden until it runs."""
    search = element(
        "input",
        type="search",
        id="search",
        placeholder="Search prompts, models, settings …",
        aria_label="Search",
    )
    state = _select("state", "State", [("", "Any state"), *((name, name) for name in STATES if states[name])])
    order = _select("order", "Order", _ORDERS)
    compare = element("button", "Compare", type="button", id="compare", disabled=True)
    shown = element("span", "", id="shown", role="status", class_="soft")
    return element("div", search, state, order, compare, shown, class_="tools", id="tools", hidden=True)


def _select(identity: str, label: str, options: Sequence[tuple[str, str]]) -> Markup:
    return element(
        "select",
        [element("option", text, value=name) for name, text in options],
        id=identity,
        aria_label=label,
    )


def _card(folder: Path, told: RunTold) -> Markup:
    name = _relative(folder, told)
    page = link(f"{name}/report.html")
    width, height = THUMBNAIL_SIZE
    small: Markup = (
        element(
            "img",
            src=link(f"{name}/{THUMBNAIL}"),
            alt=f"Picture and object: {told.prompt}",
            width=width,
            height=height,
            loading="lazy",
            decoding="async",
        )
        if (told.path / THUMBNAIL).is_file()
        else element("span", "no picture yet", class_="blank")
    )
    view = element(
        "button", "3D", type="button", class_="see", hidden=True, aria_label=f"3D view of {told.prompt}"
    )
    box = element("input", type="checkbox", class_="pick")
    pick = element("label", box, "compare", class_="pick-label", hidden=True)
    figures = [f"seed {told.seed}"]
    if told.seconds:
        figures.append(words.duration(told.seconds))
    faces = _faces(told)
    if faces:
        figures.append(f"{faces:,} faces")
    return element(
        "article",
        element("a", small, href=page, class_="thumb", tabindex="-1", aria_hidden="true"),
        element("h2", element("a", told.prompt, href=page, dir="auto")),
        element("p", chip(told.state), [[" ", element("span", figure)] for figure in figures], class_="soft"),
        element("div", view if told.glb else None, pick, class_="card-tools"),
        data_run=told.path.name,
    )


def _dialog() -> Markup:
    """Where one run is shown, or two beside each other; the script fills it."""
    close = element("button", "Close", type="button", id="close")
    head = element("div", element("h2", "", id="dialog-title"), close, class_="dialog-head")
    views = element("div", id="views")
    table = element("div", id="differences")
    return element("dialog", head, views, table, id="dialog", aria_labelledby="dialog-title")


def _relative(folder: Path, told: RunTold) -> str:
    """From the page to a run, which need not lie below it."""
    return Path(os.path.relpath(told.path, folder)).as_posix()


def _told(folder: Path, told: RunTold) -> dict[str, Any]:
    """What the script sorts, searches and compares by."""
    changed = {one.name: one.value for one in settings_told(told.config, told.settled) if one.changed}
    mesh = told.stage("mesh")
    facts = mesh.facts if mesh else {}
    kept = ("faces", "watertight", "components", "bake_psnr_db")
    return {
        "prompt": told.prompt,
        "seed": told.seed,
        "state": told.state,
        "new": told.written,
        "seconds": told.seconds,
        "memory": told.memory_mb,
        "faces": _faces(told) or 0,
        "glb": told.glb is not None,
        "bytes": told.glb.stat().st_size if told.glb else 0,
        "page": link(f"{_relative(folder, told)}/report.html"),
        "settings": {name: words.value(value) for name, value in changed.items()},
        "models": {role: str(line.get("id")) for role, line in told.models.items()},
        "facts": {name: words.value(facts[name]) for name in kept if name in facts},
        "stages": {stage.name: words.duration(stage.seconds) for stage in told.stages},
    }


def _faces(told: RunTold) -> int | None:
    stage = told.stage("mesh")
    faces = stage.facts.get("faces") if stage else None
    return faces if isinstance(faces, int) else None


def _many(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
