"""``KIND:PICTURE[:NETWORK][:SCALE]``, as spatial controls are written, and back again."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .errors import BadInput
from .paths import given_path

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class ControlText:
    """One control as it is written.

    Attributes:
        kind: what the picture shows, or is made into: canny, depth, ..., or ``file`` for any map and any network.
        picture: path of the picture or map.
        network: alias, hub id or folder of the ControlNet; empty for the one that goes with the kind.
        scale: factor on its residuals, beside the one for all.
    """

    kind: str
    picture: str
    network: str = ""
    scale: float = 1.0

    def __str__(self) -> str:
        parts = [self.kind, self.picture, self.network, "" if self.scale == 1 else f"{self.scale!r}"]
        return ":".join(part for part in parts if part)


def control_text(text: str) -> ControlText:
    """``canny:edges.png:0.8`` -> ControlText("canny", "edges.png", "", 0.8).

    ``C:\\edges.png`` keeps its drive; so does a picture of that whole name its colons. A network whose name is a number
    is written as a path, ``./0.5``.

    Raises: BadInput for a text without a picture, with too many parts, or with a scale that is not finite.
    """
    kind, _, rest = text.partition(":")
    whole = bool(rest) and given_path(rest, "--control").is_file()
    picture, *more = [rest] if whole else _parts(rest)
    scale = float(more.pop()) if more and _NUMBER.fullmatch(more[-1].strip()) else 1.0
    if not kind or not picture or len(more) > 1 or not math.isfinite(scale):
        raise BadInput(
            "--control expects kind:picture, such as canny:edges.png, and perhaps a network and a scale behind it, "
            f"such as depth:map.png:my/network:0.8, not {text!r}"
        )
    return ControlText(kind, picture, more[0] if more else "", scale)


def _parts(text: str) -> list[str]:
    """The text between colons, but for those behind the letter of a drive."""
    found = list[str]()
    for part in text.split(":"):
        if found and len(found[-1]) == 1 and found[-1].isalpha() and part.startswith(("\\", "/")):
            found[-1] += f":{part}"
        else:
            found.append(part)
    return found
