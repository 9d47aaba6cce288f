"""The frame of every page: styles and script inside it, and a policy that lets nothing out and nothing foreign in.

The Content-Security-Policy names the hash of our own script: whatever else should get into a page does not run. It
allows no address of any network, so a page that is opened makes no request but for the files beside it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import metadata
from pathlib import Path

from .markup import Child, Markup, element

_DATA = Path(__file__).parent / "data"
MAKE = 2
"""Raised when pages look different: what an older slipcast wrote is then written anew."""


def document(title: str, *body: Child, script: str | None, frames: bool = False, framed: bool = False) -> str:
    """A whole page.

    Args:
        title: of the window.
        script: name of the page's script in ``data/``, which runs when the page has been read; None for none.
        frames: whether the page shows other pages that lie beside it.
        framed: whether it is the view alone, for a frame.
    """
    code = _data(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    beside = "'self' file:"
    policy = "; ".join(
        (
            "default-src 'none'",
            # blob: is the viewer, unpacked; WebAssembly is its mesh decoder.
            f"script-src 'sha256-{digest}' blob: 'wasm-unsafe-eval'",
            "style-src 'unsafe-inline'",
            f"img-src data: blob: {beside}",
            "connect-src data: blob:",
            "worker-src blob:",
            "frame-src " + (beside if frames else "'none'"),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=generator()),
        element("title", title),
        element("link", rel="icon", href=_ICON),
        element("style", Markup(_data("style.css"))),
    )
    page = element(
        "html",
        head,
        element("body", *body, element("script", Markup(code)) if script else None),
        lang="en",
        data_framed=framed,
    )
    return f"<!doctype html>\n{page}\n"


def generator() -> str:
    """What wrote a page: slipcast, its version and the make of its pages."""
    return f"slipcast {metadata.version('slipcast')} pages {MAKE}"


def section(title: str, *children: Child, identity: str, note: Child = None) -> Markup:
    """A part of a page under a heading of its own."""
    heading = element("h2", title, id=f"{identity}-title")
    head = element("div", heading, element("p", note, class_="note") if note else None, class_="section-head")
    return element("section", head, *children, id=identity, aria_labelledby=f"{identity}-title")


def chip(state: str) -> Markup:
    """The state of a run or stage, as a coloured word."""
    return element("span", state, class_=f"chip {state if state.isalpha() else ''}")


@functools.cache
def _data(name: str) -> str:
    return (_DATA / name).read_text(encoding="utf-8")


# A small vase, so that tabs can be told apart and no browser asks for favicon.ico.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%232450a4' "
    "d='M5 1h6l-1 3c3 2 4 4 4 6 0 3-2 5-4 5H6c-2 0-4-2-4-5 0-2 1-4 4-6z'/%3E%3C/svg%3E"
)
