"""The plan of the house: which room imports from which. A new pair is a decision, and belongs into the table below.

``python tests/test_rooms.py`` prints the matrix that docs/architecture.md shows.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("configs", "guidance", "systems", "starter", "pipeline")
NO_ROOMS = (  # the first two run inside Blender; the last is the package ``slipcast`` itself
    "pipeline/blender/scripts",
    "pipeline/blender/extension",
    "pipeline/public",
)
LEAVES = ("configs", "systems.types", "systems.compiled")  # which everybody may read


@cache
def modules() -> dict[tuple[str, ...], Path]:
    """Every module of the package by its dotted name, as a tuple."""
    paths = (path for house in HOUSES for path in sorted((ROOT / house).rglob("*.py")))
    names = {path.relative_to(ROOT).with_suffix("").parts: path for path in paths}
    return {
        name[:-1] if name[-1] == "__init__" else name: path
        for name, path in names.items()
        if not path.relative_to(ROOT).as_posix().startswith(NO_ROOMS)
    }


def room_of(module: tuple[str, ...]) -> str:
    """``systems.mesh`` for systems/mesh/report.py; the house itself where there are no rooms in it."""
    house, *rest = module
    if house not in ("systems", "pipeline") or not rest:
        return house
    # pipeline/make.py and its like are no rooms of their own; systems/types.py is.
    stands_alone = len(rest) == 1 and not (ROOT / house / rest[0]).is_dir()
    return house if stands_alone and house == "pipeline" else f"{house}.{rest[0]}"


@cache
def reached(name: tuple[str, ...], path: Path) -> set[str]:
    """The rooms that a module imports from, at its top or inside its functions, its own left out."""
    package = name if path.name == "__init__.py" else name[:-1]
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        start = package[: len(package) - node.level + 1]
        target = (*start, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            full = (*target, alias.name) if (*target, alias.name) in known else target
            found.add(room_of(full))
    return found - {room_of(name), ""}


def matrix() -> dict[str, set[str]]:
    """Room -> rooms that it imports from."""
    table: dict[str, set[str]] = defaultdict(set)
    for name, path in modules().items():
        table[room_of(name)] |= reached(name, path)
    return dict(table)


def as_text(table: dict[str, set[str]]) -> str:
    """A line per room."""
    return "\n".join(f"{room:<20} <- {' '.join(sorted(table[room]))}".rstrip(" <-") for room in sorted(table))


def documented() -> str:
    """The matrix as docs/architecture.md shows it."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    return text.split("<!-- matrix -->")[1].strip().strip("`").strip()


def test_the_matrix_is_the_documented_one() -> None:
    text = as_text(matrix())
    print(text)
    assert text == documented(), "a room imports from a new one: change the code, or docs/architecture.md"


def test_no_two_rooms_import_each_other_by_any_way_round() -> None:
    table = matrix()
    settled: set[str] = set()
    while rest := {room: others - settled - {room} for room, others in table.items() if room not in settled}:
        free = {room for room, others in rest.items() if not others}
        assert free, f"these rooms import in a circle: {rest}"
        settled |= free


def test_most_modules_know_three_rooms_at_most() -> None:
    counts = {".".join(name): len(reached(name, path) - set(LEAVES)) for name, path in modules().items()}
    few = sum(count <= 3 for count in counts.values()) / len(counts)
    assert few >= 0.9, (
        f"{1 - few:.0%} import from more than three rooms, such as {max(counts, key=counts.__getitem__)}"
    )


if __name__ == "__main__":
    print(as_text(matrix()))
