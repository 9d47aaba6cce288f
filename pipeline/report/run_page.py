"""report.html: a run on one page that needs no other file, no network and no program but a browser."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import words
from .details import losses, models, settings, stages
from .document import chip, document, section
from .markup import Child, Markup, element
from .outcome import commands, files, mesh
from .pictures import Picture, animation, as_picture, candidates, front_view, picture
from .reading import RunTold, StageTold
from .viewer import LARGEST_GLB, VERSION, held, licences, packed

_LONG = 120  # signs; a longer prompt is no headline any more


class _Pictures(NamedTuple):
    subject: Picture | None
    preview: Picture | None
    front: Picture | None
    turntable: Picture | None


def run_page(told: RunTold) -> str:
    """The page, as HTML. Pictures that are missing or damaged are left out, and said to be missing."""
    preview = told.file("export", "preview.png")
    pictures = _Pictures(
        picture(told.file("image", "image.png"), longest=640),
        picture(preview),
        as_picture(front_view(preview)),
        animation(told.file("export", "turntable.gif")),
    )
    glb = _held_glb(told)
    main = element(
        "main",
        _problem(told),
        _hero(told, pictures, glb),
        _preview(pictures.preview),
        files(told),
        _candidates(told),
        stages(told),
        mesh(told),
        losses(told),
        commands(told),
        settings(told),
        models(told),
    )
    return document(
        f"{told.prompt} – slipcast",
        element("a", "Skip to the content", href="#main", class_="skip"),
        _head(told),
        element("div", main, id="main", tabindex="-1"),
        _foot(told, viewer=glb is not None),
        None if glb is None else [held("glb", glb), held("viewer-code", packed())],
        script="report.js",
    )


def view_page(told: RunTold) -> str:
    """The 3-D view alone, as a page for a frame."""
    front = as_picture(front_view(told.file("export", "preview.png")))
    glb = _held_glb(told)
    view = _view(told, _Pictures(None, None, front, None), glb)
    return document(
        told.prompt,
        element("div", element("main", element("div", view, class_="hero")), id="main"),
        None if glb is None else [held("glb", glb), held("viewer-code", packed())],
        script="report.js",
        framed=True,
    )


def _head(told: RunTold) -> Markup:
    index = told.path / ".." / "index.html"
    figures = [f"seed {told.seed}"]
    if told.seconds:
        figures.append(words.duration(told.seconds))
    if told.memory_mb:
        figures.append(f"{words.memory(told.memory_mb)} at most")
    mesh_stage = told.stage("mesh")
    faces = mesh_stage.facts.get("faces") if mesh_stage else None
    if isinstance(faces, int):
        figures.append(f"{faces:,} faces")
    if told.glb:
        figures.append(f"GLB {words.size(told.glb.stat().st_size)}")
    return element(
        "header",
        element(
            "p",
            element("span", "slipcast", class_="mark"),
            element("a", "all runs", href="../index.html") if index.is_file() else None,
            class_="crumbs",
        ),
        element("h1", told.prompt, dir="auto", class_="long" if len(told.prompt) > _LONG else None),
        element(
            "p",
            chip(told.state),
            [element("span", figure, class_="figure") for figure in figures],
            class_="figures",
        ),
    )


def _problem(told: RunTold) -> Markup | None:
    """What went wrong, before anything else."""
    failed = [stage for stage in told.stages if stage.status in ("failed", "interrupted")]
    if not failed:
        return None
    return element(
        "div", [_told_problem(stage) for stage in failed], class_=f"problem {told.state}", role="note"
    )


def _told_problem(stage: StageTold) -> Markup:
    go_on = element("a", "The command to go on", href="#commands")
    if stage.status == "interrupted":
        return element(
            "p", element("strong", f"Stopped in stage {stage.name}."), " Nothing finished is lost. ", go_on
        )
    error = (stage.error or "no reason was noted").rstrip(".")
    return element("p", element("strong", f"Failed in stage {stage.name}:"), f" {error}. ", go_on)


def _held_glb(told: RunTold) -> bytes | None:
    if told.glb is None or told.glb.stat().st_size > LARGEST_GLB:
        return None
    return told.glb.read_bytes()


def _view(told: RunTold, pictures: _Pictures, glb: bytes | None) -> Markup:
    """The 3-D view, a picture in its place until it is there; picture and sentence where there is none."""
    poster = pictures.front or pictures.subject
    still = _image(poster, f"Front view of {told.prompt}", id="poster") if poster else None
    if glb is None:
        large = (
            "The GLB is too large to be shown in here; it is listed below." if told.glb else _no_mesh(told)
        )
        return element("div", still, element("p", large, class_="empty"), class_="view without")
    buttons = [
        element("button", label, type="button", id=identity, hidden=True)
        for identity, label in (("reset", "Reset view"), ("spin", "Spin"), ("full", "Full screen"))
    ]
    return element(
        "div",
        still,
        element("div", id="stage", data_alt=f"3D view of {told.prompt}"),
        element("p", "Loading the 3D view …", id="view-state", role="status"),
        element("div", buttons, class_="view-buttons"),
        class_="view",
        id="view",
    )


def _no_mesh(told: RunTold) -> str:
    if told.state == "finished":
        return "This run was exported without a GLB, so there is no 3D view."
    waiting = next((stage.name for stage in told.stages if stage.status != "finished"), "export")
    return f"No 3D view yet: the run has come as far as stage {waiting}."


def _hero(told: RunTold, pictures: _Pictures, glb: bytes | None) -> Markup:
    aside = _aside(told, pictures)
    view = _view(told, pictures, glb)
    return element("div", view, aside, class_="hero" if aside else "hero alone")


def _aside(told: RunTold, pictures: _Pictures) -> Markup | None:
    figures: list[Child] = []
    if pictures.subject and (pictures.front or told.glb):  # otherwise it is in the place of the view already
        image = _image(pictures.subject, f"The picture that the object was made from: {told.prompt}")
        figures.append(element("figure", image, element("figcaption", "Picture, cut out")))
    if pictures.turntable:
        turning = _image(pictures.turntable, f"Turntable of {told.prompt}")
        still = pictures.front
        # People who asked their system for less motion get a picture that does not move.
        calm = (
            element("source", media="(prefers-reduced-motion: reduce)", srcset=still.source)
            if still
            else None
        )
        figures.append(
            element("figure", element("picture", calm, turning), element("figcaption", "Turntable"))
        )
    return element("div", figures, class_="aside") if figures else None


def _preview(sheet: Picture | None) -> Markup | None:
    if sheet is None:
        return None
    image = _image(sheet, "The picture beside eight views round the object")
    return element("figure", image, element("figcaption", "Picture and eight views"), class_="sheet")


def _candidates(told: RunTold) -> Markup | None:
    stage, path = told.stage("image"), told.file("image", "candidates.png")
    if stage is None or path is None:
        return None
    ranking = stage.facts.get("ranking")
    order = ranking if isinstance(ranking, list) else []
    drawn = stage.facts.get("drawn")  # where one was picked, and none ranked
    found = candidates(path, drawn if isinstance(drawn, int) else len(order))
    if len(found) < 2:
        return None
    chosen = stage.facts.get("chosen")
    figures = [
        element(
            "figure",
            _image(one, f"Candidate {number}"),
            element(
                "figcaption",
                element("strong", "chosen") if number == chosen else _rank(order, number),
                _evidence(stage, number),
            ),
            class_="chosen" if number == chosen else None,
        )
        for number, one in enumerate(found)
    ]
    asked = stage.facts.get("prompt")
    note = f"Asked for: “{asked}”" if isinstance(asked, str) else None
    return section("Candidates", element("div", figures, class_="strip"), identity="candidates", note=note)


def _rank(order: list[Any], number: int) -> str:
    return f"rank {order.index(number) + 1}" if number in order else f"number {number}"


def _evidence(stage: StageTold, number: int) -> list[Child]:
    told: list[Child] = []
    for name, values in stage.facts.items():
        if name.endswith("_evidence") and isinstance(values, list) and number < len(values):
            told.append(element("span", f"{name.removesuffix('_evidence')} {words.value(values[number])}"))
    return told


def _image(told: Picture, alt: str, **more: str) -> Markup:
    return element(
        "img", src=told.source, alt=alt, width=told.width, height=told.height, decoding="async", **more
    )


def _foot(told: RunTold, *, viewer: bool) -> Markup:
    version = told.versions.get("slipcast")
    made = f"Made by slipcast {version}. " if isinstance(version, str) else ""
    about = element("p", made, "This page is one file: it needs no network and sends nothing anywhere.")
    if not viewer:
        return element("footer", about)
    shown = f"The 3D view is @google/model-viewer {VERSION} (Apache-2.0): its licences"
    return element(
        "footer",
        about,
        element("details", element("summary", shown), element("pre", licences(), tabindex="0")),
    )
