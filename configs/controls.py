"""``KIND:PICTURE[:NETWORK][:SCALE][:option=...]``, as spatial controls are written, and back again."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .errors import BadInput
from .names import unknown_name
from .paths import given_path

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_OPTION = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)
_DRIVE = re.compile(r"([a-z_]+=)?[a-zA-Z]")
_OPTIONS = ("start", "end", "branches", "find")


@dataclass(frozen=True)
class ControlText:
    """One control as it is written; None and empty texts are what is said for all controls.

    Attributes:
        kind: what the picture shows, or is made into: canny, depth, ..., or ``file`` for any map and any network.
        picture: path of the picture or map.
        network: alias, hub id or folder of the ControlNet; empty for the one that goes with the kind.
        scale: factor on its residuals, beside the one for all.
        start, end: shares of the sampler's steps before and after which it is not heard.
        branches: ``text`` or ``all``, which branches hear it.
        find: ``yes`` for a map that is found in the picture, a network's file for one that finds it, ``no`` for a map
            that is ready; empty for what the kind usually is.
    """

    kind: str
    picture: str
    network: str = ""
    scale: float = 1.0
    start: float | None = None
    end: float | None = None
    branches: str = ""
    find: str = ""

    def __str__(self) -> str:
        parts = [self.kind, self.picture, self.network, "" if self.scale == 1 else f"{self.scale!r}"]
        options = [f"{name}={value}" for name in _OPTIONS if (value := getattr(self, name)) not in (None, "")]
        return ":".join(part for part in (*parts, *options) if part)

    @property
    def finder(self) -> str:
        """Path of the network that finds the map; empty where there is none."""
        return "" if self.find in ("yes", "no") else self.find


def control_text(text: str) -> ControlText:
    """``canny:edges.png:0.8:end=0.6`` -> ControlText("canny", "edges.png", "", 0.8, end=0.6).

    ``C:\\edges.png`` keeps its drive; so does a picture of that whole name its colons. A network whose name is a number
    is written as a path, ``./0.5``.

    Raises: BadInput for a text without a picture, with too many parts, with a scale that is not finite, or with an
        option that there is not or that cannot be.
    """
    kind, _, rest = text.partition(":")
    parts, options = [rest], dict[str, str]()
    if not (rest and given_path(rest, "--control").is_file()):
        parts = colon_parts(rest)
        while len(parts) > 1 and (found := _OPTION.fullmatch(parts[-1])):
            options[found[1]] = found[2]
            parts.pop()
    (picture, *more), scale = with_scale(parts)
    if not kind or not picture or len(more) > 1 or not math.isfinite(scale):
        raise BadInput(
            "--control expects kind:picture, such as canny:edges.png, and perhaps network, scale and options, "
            f"such as depth:map.png:my/network:0.8:end=0.6, not {text!r}"
        )
    for name in options:
        if name not in _OPTIONS:
            raise unknown_name("option of --control", name, _OPTIONS)
    branches = options.get("branches", "")
    if branches not in ("", "text", "all"):
        raise BadInput(f"branches of --control {kind} are text or all, not {branches!r}")
    start, end = (_share(kind, name, options.get(name)) for name in ("start", "end"))
    return ControlText(
        kind, picture, more[0] if more else "", scale, start, end, branches, options.get("find", "")
    )


def _share(kind: str, name: str, text: str | None) -> float | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text.strip()) or not 0 <= float(text) <= 1:
        raise BadInput(f"{name} of --control {kind} is a share of the steps, from 0 to 1, not {text!r}")
    return float(text)


def with_scale(parts: list[str]) -> tuple[list[str], float]:
    """(all parts but the number at the end of several, that number); 1 where there is none."""
    if len(parts) > 1 and _NUMBER.fullmatch(parts[-1].strip()):
        return parts[:-1], float(parts[-1])
    return parts, 1.0


def colon_parts(text: str) -> list[str]:
    """The text between colons, but for those behind the letter of a drive."""
    found = list[str]()
    for part in text.split(":"):
        if found and _DRIVE.fullmatch(found[-1]) and part.startswith(("\\", "/")):
            found[-1] += f":{part}"
        else:
            found.append(part)
    return found
