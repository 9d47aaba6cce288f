"""How a run was made: stages with time and memory, last losses, settings, models and licences."""

from __future__ import annotations

from . import words
from .curves import curves
from .document import chip, section
from .markup import Child, Markup, element
from .reading import RunTold, StageTold
from .settings import SettingTold, settings_told


def stages(told: RunTold) -> Markup:
    """A row per stage: state, seconds and memory with bars beside them, and its facts to unfold."""
    longest = max((stage.seconds or 0 for stage in told.stages), default=0) or 1
    most = max((stage.memory_mb or 0 for stage in told.stages), default=0) or 1
    rows = [_stage_row(stage, longest, most) for stage in told.stages]
    heads = [element("th", head, scope="col") for head in ("Stage", "State", "Time", "Peak memory")]
    table = element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="stages")
    facts = [
        [
            element("h3", stage.name),
            element(
                "dl", [_pair(name, words.value(fact)) for name, fact in stage.facts.items()], class_="facts"
            ),
        ]
        for stage in told.stages
        if stage.facts
    ]
    unfold = (
        element("details", element("summary", "What each stage noted"), facts, class_="told")
        if facts
        else None
    )
    note = f"{words.duration(told.seconds)} in all" + (
        f", with {told.threads} threads" if isinstance(told.threads, int) else ""
    )
    return section("Stages", _scroll(table), unfold, identity="stages", note=note)


def losses(told: RunTold) -> Markup | None:
    """The refinement's terms after its last step, and their course where it was recorded (slipcast 0.1 did not)."""
    stage = told.stage("refine")
    terms = stage.facts.get("losses") if stage else None
    if not isinstance(terms, dict) or not terms:
        return None
    numbers = {str(name): loss for name, loss in terms.items() if isinstance(loss, int | float)}
    most = max((abs(loss) for loss in numbers.values()), default=0) or 1
    rows = [
        element("tr", element("th", name, scope="row"), _bar_cell(abs(loss) / most, words.value(float(loss))))
        for name, loss in numbers.items()
    ]
    heads = [element("th", head, scope="col") for head in ("Term", "Weighted loss")]
    table = element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="losses")
    return section(
        "Refinement",
        curves(told.file("refine", "curve.csv")),
        _scroll(table),
        identity="losses",
        note="Terms of the loss after the last step",
    )


def settings(told: RunTold) -> Markup:
    """Those that differ from ``slipcast make`` without any first; all to unfold."""
    everything = settings_told(told.config, told.settled)
    if not everything:
        return section("Settings", element("p", "None were noted.", class_="empty"), identity="settings")
    changed = [one for one in everything if one.changed]
    first = (
        _settings_table(changed, defaults=True)
        if changed
        else element("p", "All as slipcast make has them when none are given.", class_="empty")
    )
    rest = element(
        "details",
        element("summary", f"All {len(everything)} settings"),
        _settings_table(everything, defaults=False),
    )
    note = f"{len(changed)} changed" if changed else None
    return section("Settings", first, rest, identity="settings", note=note)


def models(told: RunTold) -> Markup:
    """Every model with its revision and licence, what the licences are in all, and the versions of the packages."""
    found = told.models
    licences = sorted({_licence(line) for line in found.values()})
    heads = [element("th", head, scope="col") for head in ("Role", "Model", "Licence", "Revision")]
    rows = [
        element(
            "tr",
            element("th", role.replace("_", " "), scope="row"),
            element("td", str(line.get("id", "unknown"))),
            element("td", _licence(line)),
            element("td", element("code", str(line.get("revision", "unknown"))), class_="hash"),
        )
        for role, line in found.items()
    ]
    body: Child = (
        _scroll(
            element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="models")
        )
        if rows
        else element("p", "No models were used yet.", class_="empty")
    )
    packages = [_pair(str(name), words.value(version)) for name, version in told.versions.items()]
    note = f"Licences of the models: {', '.join(licences)}" if licences else None
    unfold = element("details", element("summary", "Versions"), element("dl", packages, class_="facts"))
    return section("Provenance", body, unfold if packages else None, identity="models", note=note)


def _licence(line: dict[str, object]) -> str:
    return str(line.get("licence") or "unknown")


def _stage_row(stage: StageTold, longest: float, most: float) -> Markup:
    return element(
        "tr",
        element("th", stage.name, scope="row"),
        element("td", chip(stage.status), [element("span", note, class_="soft") for note in stage.notes]),
        _bar_cell((stage.seconds or 0) / longest, words.duration(stage.seconds)),
        _bar_cell((stage.memory_mb or 0) / most, words.memory(stage.memory_mb)),
    )


def _bar_cell(share: float, label: str) -> Markup:
    """A number with a bar behind it; the bar says nothing that the number does not."""
    bar = element("span", class_="bar", style=f"width:{max(0.0, min(1.0, share)):.1%}")
    track = element("span", bar, class_="track", aria_hidden="true")
    return element("td", element("span", element("span", label, class_="number"), track, class_="measure"))


def _settings_table(told: list[SettingTold], *, defaults: bool) -> Markup:
    heads = [element("th", head, scope="col") for head in ("Setting", "Here", *(["By default"] * defaults))]
    rows = [
        element(
            "tr",
            element(
                "th", element("code", one.name), element("span", one.sentence, class_="soft"), scope="row"
            ),
            element("td", words.value(one.value)),
            element("td", words.value(one.default), class_="soft") if defaults else None,
        )
        for one in told
    ]
    return _scroll(
        element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="settings")
    )


def _scroll(table: Markup) -> Markup:
    """Wide tables scroll by themselves, the page does not."""
    return element("div", table, class_="scroll")


def _pair(name: str, told: str) -> Markup:
    return element("div", element("dt", name.replace("_", " ")), element("dd", told))
