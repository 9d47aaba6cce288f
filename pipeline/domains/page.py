"""report.html of a training: what was learned from, whether it learned, what it draws; one file, works offline."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...systems.domain.held_out import best_of
from ..report.document import document, section
from ..report.markup import Markup, element

if TYPE_CHECKING:
    from .preparing import Prepared

_WIDTH, _HEIGHT = 640, 200


def training_page(prepared: Prepared, card: dict[str, Any], evaluations: list[dict[str, Any]]) -> str:
    """The whole page."""
    losses = [one["losses"] for one in evaluations]
    best, training = best_of(losses), card["training"]
    learned = "It learned" if training["learning"] else "It did not learn"
    verdict = (
        f"{learned}: held-out pictures are denoised {100 * training['held_out_gain']:.1f} % better than at the start "
        f"(± {100 * training['held_out_error']:.1f}), at best after {training['best_step']} steps of its stretch."
    )
    title = f"domain {card['name']}"
    return document(
        title,
        element("header", element("h1", title), element("p", verdict)),
        section("Samples", _grid(prepared.work, evaluations[best]), identity="samples", note=_rows(prepared)),
        section(
            "Held-out pictures",
            _curve([float(np.mean(one)) for one in losses], best),
            _table(evaluations, best),
            identity="held-out",
            note="They are never trained on; the best weights are those that denoise them best."
            + _judged(card),
        ),
        section("Pictures", _collection(prepared), identity="pictures"),
        section(
            "Settings",
            _pairs({**card["recipe"], "licence": card["licence"], "base": card["base"], **_weights(card)}),
            identity="settings",
        ),
        section("As it went", [_figure(prepared.work, one) for one in evaluations], identity="all-samples"),
        script=None,
    )


def _weights(card: dict[str, Any]) -> dict[str, Any]:
    """The weights of guidance that the card keeps."""
    return {
        f"weight of {name}, {role}": value
        for role, kept in card.get("weights", {}).items()
        for name, value in kept.items()
    }


def _judged(card: dict[str, Any]) -> str:
    """What the figures are of, and that they are like no published ones."""
    training = card["training"]
    if training["frechet"] is None:
        return ""
    return (
        f" Frechet distances are of {training['samples']} pictures each to the held-out ones, "
        f"by {training['extractor']}: to be compared within this table only."
    )


def _rows(prepared: Prepared) -> str:
    words = ", then ".join(f"“a {word}”" for word in prepared.settings.words)
    first = "the domain by itself" if prepared.settings.method == "null-text" else "what it was trained on"
    return f"The first row: {first}{'; then ' + words if words else ''}."


def _grid(work: Path, evaluation: dict[str, Any]) -> Markup:
    path = work / evaluation["samples_file"]
    data = base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
    return element(
        "img", src=f"data:image/png;base64,{data}", alt=f"samples after {evaluation['step']} steps"
    )


def _figure(work: Path, evaluation: dict[str, Any]) -> Markup:
    caption = element("figcaption", f"stretch {evaluation['stretch']}, step {evaluation['step']}")
    return element("figure", _grid(work, evaluation), caption)


def _curve(losses: list[float], best: int) -> Markup:
    low, high = min(losses), max(losses)
    spread = (high - low) or 1.0

    def place(index: int) -> tuple[float, float]:
        x = 10 + (_WIDTH - 20) * index / max(1, len(losses) - 1)
        return x, 10 + (_HEIGHT - 20) * (high - losses[index]) / spread

    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, range(len(losses))))
    x, y = place(best)
    line = element("polyline", points=points, fill="none", stroke="currentColor", stroke_width="2")
    dot = element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="5", fill="currentColor")
    return element(
        "svg",
        line,
        dot,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label="held-out loss, the best marked",
    )


def _table(evaluations: list[dict[str, Any]], best: int) -> Markup:
    heads = ("stretch", "step", "held-out loss", "Frechet distance", "words recognised")
    rows = [element("tr", [element("th", one) for one in heads])]
    for index, one in enumerate(evaluations):
        cells = (
            one["stretch"],
            f"{one['step']}{' (best)' if index == best else ''}",
            f"{np.mean(one['losses']):.5f}",
            "-" if one["frechet"] is None else f"{one['frechet']:.1f}",
            "-" if one["recognised"] is None else f"{one['recognised']:.2f}",
        )
        rows.append(element("tr", [element("td", cell) for cell in cells]))
    return element("table", rows)


def _collection(prepared: Prepared) -> Markup:
    told, settings = prepared.collection.told(), prepared.settings
    lines = [
        f"{told['pictures']} different pictures, {told['transparent']} of them transparent; "
        f"{len(prepared.held_out.pictures)} are held out; aspect: {settings.aspect}.",
        *prepared.collection.sentences(),
    ]
    return element("ul", [element("li", line) for line in lines])


def _pairs(values: dict[str, Any]) -> Markup:
    told = {
        name: ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
        for name, value in values.items()
        if value is not None
    }
    rows = [element("tr", element("th", name), element("td", str(value))) for name, value in told.items()]
    return element("table", rows)
