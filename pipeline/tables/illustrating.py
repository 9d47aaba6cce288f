"""What the page of results shows beside its tables: strips of each row's pictures, and curves of what is swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...configs.atomic import write_bytes
from ...systems.baselines.table import BASELINES, OURS
from ..drawing.files import png
from .assets import VARIANTS, cell_of
from .cells import Kept
from .first_paper import FORGETTING, TABLE_1
from .guiding import PRIOR
from .plots import Panel, Points, draw
from .rows import by_seed
from .scales import Scale
from .second_paper import CFG, COMPARISON, DOG, NONE, STEPS, STRENGTH, guides_of, swept
from .store import Store

SIX_METHODS, FORGOTTEN, GUIDANCES = "Table 1: six methods", "Forgetting", "Domain guidance"
DIT_STRENGTH, DIT_STEPS, ASSETS = "Strength, on the DiT", "Sampling steps, on the DiT", "Assets"

_Row = tuple[float, str]
"""(x, the row of the table)"""


def illustrations(
    folder: Path, cells: Mapping[str, Kept], store: Store, scale: Scale
) -> dict[str, list[str]]:
    """{table: files, written to the folder}; a picture stays where its strips were deleted."""
    found: dict[str, list[str]] = {}
    for title, picture in _curves(cells, scale).items():
        name = f"results-{_slug(title)}-curves.png"
        _write(folder / name, picture)
        found[title] = [name]
    for title, names in _rows_of_strips(scale).items():
        strips = [store.place(name) / "pictures.png" for name in names if name in cells]
        opened = [np.asarray(Image.open(one)) for one in strips if one.is_file()]
        name = f"results-{_slug(title)}.png"
        if opened and len(opened) == len(strips):
            _write(folder / name, np.concatenate(opened))
        if strips and (folder / name).is_file():
            found.setdefault(title, []).append(name)
    return found


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, png(picture))


def _slug(title: str) -> str:
    return title.split(":")[0].split(",")[0].lower().replace(" ", "-")


def _rows_of_strips(scale: Scale) -> dict[str, list[str]]:
    """{table: the cells of its strips, from above}; of the first seed."""
    seed = scale.seeds[0]
    return {
        SIX_METHODS: [f"{TABLE_1}/{name}-{seed}" for name in (*BASELINES, PRIOR)],
        GUIDANCES: [f"{COMPARISON}/words-{guide}-{w:g}-{seed}" for guide, w in guides_of("words", scale)],
        DIT_STRENGTH: [f"{STRENGTH}/{guide}-{w:g}-{seed}" for guide, w in swept(scale.classes)],
        ASSETS: [cell_of(variant) for variant in VARIANTS],
    }


def _curves(cells: Mapping[str, Kept], scale: Scale) -> dict[str, np.ndarray]:
    """{table: a row of panels}, of the tables whose cells are there."""
    nets = scale.networks
    distances = [(f"fd_{net}", f"Frechet distance, {net}") for net in nets]
    learned = {
        label: [
            *((part, f"{FORGETTING}/{method}-{part:g}") for part in scale.marks),
            (1.0, f"{TABLE_1}/{method}"),
        ]
        for label, method in (("full", "full"), ("null-text (ours)", OURS))
    }
    strengths = {
        label: [
            (w, f"{STRENGTH}/{guide}-{w:g}") for guide, w in swept(scale.classes) if guide in (NONE, followed)
        ]
        for label, followed in (("CFG", CFG), ("DoG", DOG))
    }
    steps = {
        label: [(float(n), f"{STEPS}/{guide}-{n}") for n in scale.classes.step_counts]
        for label, guide in (("CFG", CFG), ("DoG", DOG))
    }
    parts = {part: f"{part:.0%}" for part in (*scale.marks, 1.0)}
    weights = {w: f"{w:g}" for w in scale.classes.strengths}
    counts = {float(n): str(n) for n in scale.classes.step_counts}
    covered = [(f"{kind}_{nets[0]}", f"{kind}, {nets[0]}") for kind in ("coverage", "precision")]
    drawn = {
        FORGOTTEN: (
            [*distances, ("align", "alignment")], learned, "of the training's steps", parts, False,
        ),
        DIT_STRENGTH: (
            [*distances, ("align", "named by the judge"), *covered], strengths, "w", weights, False,
        ),
        DIT_STEPS: ([*distances, *covered], steps, "sampling steps", counts, True),
    }  # fmt: skip
    found = {}
    for title, (columns, lines, along, marks, doubling) in drawn.items():
        panels = [_panel(cells, name, column, lines) for column, name in columns]
        kept = [panel for panel in panels if panel.lines]
        if kept:
            found[title] = draw(kept, along, marks, doubling=doubling)
    return found


def _panel(cells: Mapping[str, Kept], title: str, column: str, lines: Mapping[str, Sequence[_Row]]) -> Panel:
    told = dict[str, Points]()
    for label, rows in lines.items():
        points = {x: list(values) for x, name in rows if (values := by_seed(cells, name, column).values())}
        if len(points) > 1:
            told[label] = points
    return Panel(title, told)
