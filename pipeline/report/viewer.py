"""The 3-D viewer in a page: @google/model-viewer, unchanged (viewer/NOTICE), packed into the page's one file.

The classic (UMD) build is taken, for a page that is opened as a file may not import modules. It is 1.07 MB, and 0.39 MB
as the page carries it; report.js unpacks it.
"""

from __future__ import annotations

import base64
import functools
import gzip
from pathlib import Path

from .markup import Markup, element

FOLDER = Path(__file__).parent / "viewer"
FILE = "model-viewer-umd.min.js"
VERSION = "4.4.0"
SHA256 = "d785423b1d046ea84a9f59ef6cf15f3077603e1bf938b01ced9b0240691884a2"
LARGEST_GLB = 64_000_000
"""Bytes; a larger one is linked to, and not put into the page."""


def held(identity: str, data: bytes) -> Markup:
    """Bytes inside the page, for its script."""
    return element("script", Markup(base64.b64encode(data).decode()), type="text/plain", id=identity)


@functools.cache
def packed() -> bytes:
    """The viewer's script, compressed; the same bytes every time."""
    return gzip.compress((FOLDER / FILE).read_bytes(), 9, mtime=0)


@functools.cache
def licences() -> str:
    """What has to be told wherever the viewer is."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("NOTICE", "LICENSE"))
