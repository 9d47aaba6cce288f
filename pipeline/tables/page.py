"""The page of results: every table with its intervals, pictures, and whether what the papers state came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...configs.atomic import explain_os_errors, write_text
from ...systems.baselines.table import BASELINES, OURS, WITH_WORDS
from .assets import VARIANTS, row_of
from .cells import Kept
from .first_paper import CUSTOM, FORGETTING, RECTIFIED, TABLE_1
from .guiding import PRIOR
from .illustrating import ASSETS, DIT_STEPS, DIT_STRENGTH, FORGOTTEN, GUIDANCES, SIX_METHODS, illustrations
from .rows import orderings, row
from .scales import Scale
from .second_paper import AXES, AXES_APART, CFG, COMPARISON, DOG, STEPS, STRENGTH, TOY, guides_of, swept
from .store import Store

Line = tuple[str, str]
"""(how a row is called, the beginning of its cells' names)"""


def write_page(
    path: Path, cells: Mapping[str, Kept], store: Store, scale: Scale, command: str, missing: int = 0
) -> None:
    """Write the page, and its pictures to ``pictures/`` beside it.

    Args:
        command: that rewrites it.
        missing: how many cells are not finished.

    Raises: SlipcastError in one sentence for a full disk.
    """
    with explain_os_errors(path, "writing the page of results"):
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = illustrations(path.parent / "pictures", cells, store, scale)
        write_text(path, "\n".join(_page(cells, scale, command, missing, pictures)) + "\n")


def _page(
    cells: Mapping[str, Kept], scale: Scale, command: str, missing: int, pictures: Mapping[str, Sequence[str]]
) -> list[str]:
    quick = "quick" in scale.name
    lines = ["# The papers' tables, rerun", ""]
    if quick:
        lines += [
            "**A quick look: trainings of a few steps, distances over a dozen pictures. It shows that everything "
            "runs; its figures are no results.**",
            "",
        ]
    if missing:
        lines += [f"**{missing} cells are not computed yet; their tables and rows are left out.**", ""]
    lines += [
        f"    {command}",
        "",
        *_origins(cells),
        "",
        f"Seeds {', '.join(map(str, scale.seeds))}. Trainings: {scale.steps} steps of {scale.batch} pictures. "
        f"Distances: {scale.samples} pictures against {scale.true_objects}, over {scale.directions or 'all'} "
        f"directions of {' and '.join(scale.extractors)}. In brackets 95 % over seeds (Student), with one seed over "
        "pictures (bootstrap). In curves a dot is a seed and a line the mean; rows of pictures are those of the table "
        f"above them, of seed {scale.seeds[0]}.",
        "",
    ]
    for title, table, note in _tables(cells, scale):
        lines += [f"## {title}", "", note, "", *table, ""]
        for name in pictures.get(title, ()):
            lines += [f"![{title}](pictures/{name})", ""]
    told = orderings(cells, scale)
    if told:
        lines += ["## What the papers state, and what came out", ""]
        lines += [
            "Rows are compared seed by seed. Seeds differ by more: the 95 % interval of the difference holds values "
            "that would say the opposite.",
            "",
        ]
        lines += ["| stated | came out | figures |", "|---|---|---|"]
        lines += [f"| {one.stated} | {one.outcome} | {one.by} |" for one in told]
    return lines


def _origins(cells: Mapping[str, Kept]) -> list[str]:
    """A line for every machine, with the commits that were run there: what was stopped may go on elsewhere."""
    made_on: dict[str, list[Kept]] = {}
    for kept in cells.values():
        machine = ", ".join(f"{name} {value}" for name, value in kept.made.items() if name != "commit")
        made_on.setdefault(machine, []).append(kept)
    lines = []
    for machine, each in made_on.items():
        hours = sum(kept.seconds for kept in each) / 3600
        commits = ", ".join(dict.fromkeys(str(kept.made.get("commit")) for kept in each))
        lines.append(f"- {len(each)} cells, {hours:.2f} hours: {machine}; commit {commits}")
    return lines


def _tables(cells: Mapping[str, Kept], scale: Scale) -> list[tuple[str, list[str], str]]:
    """(title, Markdown, a sentence) of every table that has cells."""
    nets = scale.networks
    distances = [(f"fd_{net}", f"FD {net}") for net in nets]
    covered = [(f"coverage_{nets[0]}", f"coverage {nets[0]}")]
    precise = [(f"precision_{nets[0]}", f"precision {nets[0]}")]
    align = [("align", "alignment"), ("align_known", "known"), ("align_held_out", "held out")]
    plain = [(f"unguided_fd_{net}", f"FD {net}, unguided") for net in nets]
    ours = {OURS: "null-text (ours)", PRIOR: "the prior itself"}
    found = [
        (
            SIX_METHODS,
            _table(
                cells,
                [(ours.get(name, name), f"{TABLE_1}/{name}") for name in (*BASELINES, PRIOR)],
                [*distances, *plain, *covered, *align, ("canny", "edges off")],
                {name: _parameters(cells, label) for label, name in _methods()},
            ),
            "Paper 1. The domain alone, then with a word; weights by the norm rule (`pipeline/tables/guiding.py`).",
        ),
        (
            FORGOTTEN,
            _table(
                cells,
                [
                    (f"{ours.get(name, name)}, {part:.0%} of its steps", f"{FORGETTING}/{name}-{part:g}")
                    for name in ("full", OURS)
                    for part in scale.marks
                ]
                + [(f"{ours.get(name, name)}, all", f"{TABLE_1}/{name}") for name in ("full", OURS)],
                [*distances, *align],
            ),
            "Paper 1, Figures 2 and 3: what a training learns of the domain, and forgets of words.",
        ),
        (
            "Drift and rectification",
            _table(
                cells,
                [(f"{name}, own null text", f"{TABLE_1}/{name}") for name in CUSTOM]
                + [(f"{name}, the prior's null text", f"{RECTIFIED}/{name}") for name in CUSTOM],
                [
                    *distances,
                    ("drift", "drift"),
                    *((f"silent_fd_{net}", f"FD {net}, told nothing") for net in nets),
                ],
            ),
            "Paper 1, 4.5. Drift: how far the null prediction moved, as a part of its length. Told nothing: pictures "
            "of the null branch alone, whose distance falls as it drifts to the domain.",
        ),
        (
            GUIDANCES,
            _table(
                cells,
                [
                    (f"{name}, {guide}, w = {w:g}", f"{COMPARISON}/{name}-{guide}-{w:g}")
                    for name in WITH_WORDS
                    for guide, w in guides_of(name, scale)
                ],
                [*distances, *covered, *precise, *align],
            ),
            "Paper 2 on the text base: one network, fine-tuned on each picture's own words, under three guidances.",
        ),
        (
            DIT_STRENGTH,
            _table(
                cells,
                [(f"{guide}, w = {w:g}", f"{STRENGTH}/{guide}-{w:g}") for guide, w in swept(scale.classes)],
                [*distances, *covered, *precise, ("align", "named by the judge")],
            ),
            "Paper 2's own setting: a small DiT of the starter's nouns, fine-tuned on the domain's classes.",
        ),
        (
            DIT_STEPS,
            _table(
                cells,
                [
                    (f"{g}, {n} steps", f"{STEPS}/{g}-{n}")
                    for n in scale.classes.step_counts
                    for g in (CFG, DOG)
                ],
                [*distances, *covered, *precise],
            ),
            f"At w = {scale.classes.strength:g}.",
        ),
        (
            "Both axes apart, on the DiT",
            _table(
                cells,
                [(f"class {a:g}, domain {b:g}", f"{AXES}/{a:g}-{b:g}") for a, b in AXES_APART],
                [*distances, *covered, *precise, ("align", "named by the judge")],
            ),
            "Domain guidance in its two axes; equal weights are the sweep's dog, domain 1 is its cfg.",
        ),
        (
            "The plane",
            _toy(cells),
            "Every score known exactly; samples out of the domain, and what is left of its modes.",
        ),
        (
            ASSETS,
            _table(
                cells,
                [(variant, row_of(variant)) for variant in VARIANTS],
                [
                    *distances,
                    *covered,
                    ("align", "named by the judge"),
                    ("behind", "edges behind / in front"),
                ],
            ),
            f"{len(scale.assets.nouns)} nouns, one seed, eight views each; what is left out. The picture shows "
            "every thing from the front and from behind.",
        ),
    ]
    return [one for one in found if one[1]]


def _methods() -> list[Line]:
    return [(name, f"{TABLE_1}/{name}") for name in BASELINES]


def _parameters(cells: Mapping[str, Kept], method: str) -> str:
    found = row(cells, f"train/{method}", "parameters")
    return "" if found is None else f"{int(found.mean):,}"


def _table(
    cells: Mapping[str, Kept],
    rows: Sequence[Line],
    columns: Sequence[Line],
    trained: Mapping[str, str] | None = None,
) -> list[str]:
    """Markdown; rows and columns without a figure are left out."""
    told = {name: [row(cells, name, column) for column, _ in columns] for _, name in rows}
    rows = [one for one in rows if any(told[one[1]])]
    kept = [place for place in range(len(columns)) if any(told[name][place] for _, name in rows)]
    if not rows:
        return []
    first = ["", *(["trained"] if trained else [])]
    lines = [f"| {' | '.join([*first, *(columns[place][1] for place in kept)])} |"]
    lines.append("|" + "---|" * (len(first) + len(kept)))
    for label, name in rows:
        figures = [str(told[name][place] or "") for place in kept]
        lines.append(f"| {' | '.join([label, *([trained.get(name, '')] if trained else []), *figures])} |")
    return lines


def _toy(cells: Mapping[str, Kept]) -> list[str]:
    kept = cells.get(f"{TOY}/plane")
    if kept is None:
        return []
    lines = ["| | outside | share of each mode | distance, in sd |", "|---|---|---|---|"]
    for name, found in kept.figures.items():
        modes = " ".join(f"{share:.2f}" for share in found["modes"])
        lines.append(f"| {name} | {found['outside']:.1%} | {modes} | {found['distance']:.2f} |")
    return lines
