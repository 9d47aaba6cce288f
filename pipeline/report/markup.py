"""HTML that cannot be broken into: whatever is no ``Markup`` is text, and is escaped.

``element("p", "a < b")`` is ``<p>a &lt; b</p>``. Prompts, names, facts and errors come from people and from files that
others may have written, so no page is put together in any other way.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VOID = frozenset(("br", "img", "input", "link", "meta", "source"))


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | float | None | Iterable[Any]


def element(tag: str, /, *children: Child, **attributes: Any) -> Markup:
    """One element; its children are elements, text, numbers, lists of them, or None.

    Attributes: ``class_`` is class, ``data_x`` data-x; True stands alone, None and False are left out.
    """
    told = "".join(
        _attribute(name, value) for name, value in attributes.items() if value not in (None, False)
    )
    return Markup(f"<{tag}{told}>" if tag in _VOID else f"<{tag}{told}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    """Several children, one after the other."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int | float):
        return Markup(html.escape(_printable(str(children))))
    return Markup("".join(joined(child) for child in children))


def link(path: str) -> str:
    """A relative path as the value of href or src: ``a b#1.glb`` -> ``./a%20b%231.glb``."""
    return "./" + quote(_printable(path))


def json_script(identity: str, content: Any) -> Markup:
    """Data for a page's own script; no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return element("script", Markup(_printable(text)), type="application/json", id=identity)


def _attribute(name: str, value: Any) -> str:
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(_printable(str(value)))}"'


def _printable(text: str) -> str:
    """Without halves of characters, which no file takes, and control characters, which no page may hold."""
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")
