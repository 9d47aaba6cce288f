"""What other packages add to the tables of this one: entry points, read here and nowhere else.

A package says in its pyproject.toml, for example,

    [project.entry-points."slipcast.lifts"]
    triplane = "their_package.lift:LIFT"

and ``lift_model=triplane`` is known once it is installed (packaging.python.org/specifications/entry-points). Nothing of
it is imported before its name is asked for. docs/extending.md says what each kind of entry has to be.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from .errors import BadInput
from .names import unknown_name

T = TypeVar("T")

KINDS = {
    "families": "family",
    "lifts": "lift",
    "fields": "field",
    "exporters": "format",
    "recipes": "recipe",
    "stages": "stage",
}
"""Groups of entry points, after ``slipcast.``, and what one entry of each is called."""


def entries(kind: str, ours: Iterable[str] = ()) -> dict[str, EntryPoint]:
    """{name: entry point} of what other packages offer of this kind, by name.

    Args:
        kind: one of ``KINDS``.
        ours: names that are taken.
    Raises:
        BadInput: two packages offer the same name, or one offers a name of ours: nobody could say which is meant.
    """
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry in _offered(kind, tuple(map(_place, sys.path))):
        if entry not in found[entry.name]:  # a package found twice on the path is still one
            found[entry.name].append(entry)
    taken = set(ours)
    for name, offers in found.items():
        givers = " and ".join(sorted({_package(entry) for entry in offers}))
        if name in taken:
            raise BadInput(
                f"the {KINDS[kind]} {name!r} of {givers} has the name of one of slipcast's own; "
                f"rename it there or uninstall {givers}"
            )
        if len(offers) > 1:
            raise BadInput(f"there are several {kind} named {name!r}, from {givers}; uninstall all but one")
    return {name: offers[0] for name, offers in sorted(found.items())}


def _place(folder: str) -> tuple[str, int]:
    """A folder of packages, and when one was last put there or taken out."""
    try:
        return folder, Path(folder).stat().st_mtime_ns
    except OSError:  # not there, or an archive
        return folder, 0


@lru_cache(maxsize=64)
def _offered(kind: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Entry points of the packages in some folders, which is what ``sys.path`` holds; every one is opened for it."""
    return tuple(entry_points(group=f"slipcast.{kind}"))


def look_up(kind: str, name: str, ours: Mapping[str, T]) -> T:
    """The entry of that name, out of our table or from another package.

    Raises:
        BadInput: there is none (with the nearest name), its name is not its own, or it cannot be loaded.
    """
    theirs = entries(kind, ours)
    if name in ours:
        return ours[name]
    if name not in theirs:
        raise unknown_name(KINDS[kind], name, [*ours, *theirs])
    return loaded(kind, theirs[name], like=next(iter(ours.values()), None))


def loaded(kind: str, entry: EntryPoint, *, like: Any = None) -> Any:
    """What an entry point names, imported; callable if ``like`` is a function, or else of its class.

    Raises:
        BadInput: it cannot be imported, whatever the reason, or is something else.
    """
    told = f"the {KINDS[kind]} {entry.name!r} of {_package(entry)}"
    try:
        value = entry.load()
    except Exception as error:  # anything can go wrong in other people's modules
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise BadInput(
            f"{told} cannot be loaded from {entry.value} ({type(error).__name__}: {reason}); "
            f"repair or uninstall {_package(entry)}"
        ) from error
    fits = isinstance(value, type(like)) or (callable(value) and callable(like))
    if like is not None and not fits:
        wanted = "a function" if callable(like) else f"a {type(like).__name__}"
        raise BadInput(f"{told} ({entry.value}) should be {wanted}, not a {type(value).__name__}")
    return value


def version_of(kind: str, name: str) -> str:
    """``package version`` of the package that offers a name; empty for a name of ours."""
    entry = entries(kind).get(name)
    return "" if entry is None else _package(entry)


def _package(entry: EntryPoint) -> str:
    return "another package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
