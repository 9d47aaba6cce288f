"""What notebooks show of a run and of drawn pictures: HTML for ``_repr_html_``, escaped like every page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import words
from .markup import Child, Markup, element
from .pictures import THUMBNAIL, picture
from .reading import read_told
from .run_page import view_page

_LARGEST_VIEW = 8_000_000  # bytes of a GLB; a notebook keeps the output in its own file
_CSS = "font:14px/1.5 system-ui,sans-serif;max-width:900px"
_MOST_CARDS = 100  # jobs shown of a batch
_IMAGE = "max-width:100%;height:auto;border-radius:8px"


def run_html(run: Path, *, viewer: bool = True) -> str:
    """Prompt, state, preview and, with ``viewer``, the 3-D view of a run, in a frame that may reach nothing."""
    told = read_told(run)
    sheet = picture(told.file("export", "preview.png"), longest=1200) or picture(
        told.file("image", "image.png")
    )
    still = (
        element("img", src=sheet.source, alt=f"Preview of {told.prompt}", style=_IMAGE)
        if sheet is not None
        else None
    )
    frame: Markup | None = None
    if viewer and told.glb is not None and told.glb.stat().st_size <= _LARGEST_VIEW:
        frame = element(
            "iframe",
            srcdoc=view_page(told),
            sandbox="allow-scripts",
            title=f"3D view of {told.prompt}",
            style="width:100%;height:420px;border:0;border-radius:8px;margin-top:8px",
        )
    figures = f"{told.state} · seed {told.seed} · {words.duration(told.seconds)}"
    where = element("code", str(told.glb or told.path))
    return element(
        "div",
        element("p", element("strong", told.prompt), element("br"), figures, element("br"), where),
        still,
        frame,
        style=_CSS,
    )


def pictures_html(pictures: Sequence[Path], title: str) -> str:
    """Drawn pictures beside each other; those that are gone are left out."""
    found = [(path, picture(path, longest=512)) for path in pictures]
    images: list[Child] = [
        element(
            "img",
            src=one.source,
            alt=f"{title}: {path.name}",
            title=path.name,
            width=min(one.width, 192),
            style="border-radius:8px",
        )
        for path, one in found
        if one is not None
    ]
    row = element("div", images, style="display:flex;flex-wrap:wrap;gap:8px")
    return element("div", element("p", element("strong", title)), row, style=_CSS)


def batch_html(jobs: Sequence[tuple[str, str, Path | None]], counts: dict[str, int]) -> str:
    """A wall of (prompt, how it went, run) with a small picture of each run that has one."""
    cards: list[Child] = []
    for prompt, state, run in jobs[:_MOST_CARDS]:
        one = None if run is None else picture(run / THUMBNAIL, longest=256)
        image = None if one is None else element("img", src=one.source, alt=prompt, width=192, style=_IMAGE)
        text = element("div", prompt, element("br"), element("small", state))
        cards.append(element("div", image, text, style="width:192px"))
    more = element("p", f"and {len(jobs) - _MOST_CARDS} more") if len(jobs) > _MOST_CARDS else None
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "no jobs"
    row = element("div", cards, style="display:flex;flex-wrap:wrap;gap:12px")
    return element("div", element("p", element("strong", told)), row, more, style=_CSS)


def domain_html(name: str, facts: dict[str, str]) -> str:
    """A domain's name and what its card says."""
    rows = [
        element(
            "tr", element("th", key, style="text-align:left"), element("td", told, style="text-align:left")
        )
        for key, told in facts.items()
    ]
    return element("div", element("p", element("strong", name)), element("table", rows), style=_CSS)
