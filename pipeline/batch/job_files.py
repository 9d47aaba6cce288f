"""Job files as they are written: TXT, CSV, JSONL and YAML, or a folder of pictures, read into entries.

An entry is a mapping of plain values and where it stands. What its names mean is for ``batch.jobs`` to say.

    TXT     a prompt a line; empty lines and lines that begin with # are passed over
    CSV     a header of names, then a job a line; empty cells say nothing
    JSONL   an object a line
    YAML    a list of prompts and mappings, or {jobs: that list, and what holds for all of them}
    folder  a job for each PNG, JPEG and WebP in it
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...configs.errors import BadInput
from ...configs.loading import parse_override
from ...configs.names import shown
from ...configs.paths import PICTURE_ENDINGS
from ...configs.yaml_files import first_line, parse_yaml

PLAIN = ("prompt", "id", "picture", "config", "until")
"""Names whose values in a CSV are text as it stands; other cells are read as ``key=value`` is."""


@dataclass(frozen=True)
class Entry:
    """A job as somebody wrote it down."""

    where: str
    values: dict[str, Any]


def read_entries(path: Path) -> tuple[list[Entry], list[str]]:
    """(entries of a job file or folder, a sentence for each line that cannot be read).

    Raises:
        BadInput: the file as a whole cannot be read, is of no kind that is known, or holds nothing.
    """
    if path.is_dir():
        entries = [
            Entry(str(file), {"picture": str(file.absolute()), "id": file.stem})
            for file in sorted(path.iterdir())
            if file.suffix.lower() in PICTURE_ENDINGS and not file.name.startswith(".")
        ]
        if not entries:
            raise BadInput(
                f"{path} holds no pictures; a folder of jobs holds {', '.join(PICTURE_ENDINGS)} files"
            )
        return entries, []
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(
            f"{path} is no job file: expected {', '.join(READERS)} or a folder of pictures, "
            f"not {path.suffix or 'a name without an ending'}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    entries, problems = [], []
    for one in reader(path, text):
        if isinstance(one, Entry):
            entries.append(one)
        else:
            problems.append(one)
    if not entries and not problems:
        raise BadInput(f"{path} holds no jobs; write a prompt into it")
    return entries, problems


def _txt(path: Path, text: str) -> Iterator[Entry | str]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Entry(f"{path} line {number}", {"prompt": line.strip()})


def _csv(path: Path, text: str) -> Iterator[Entry | str]:
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    header: list[str] = []
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield f"{path} line {lines.line_num} cannot be read as CSV ({error})"
            return
        where = f"{path} line {lines.line_num}"
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None or "" in header:
                raise BadInput(f"{where} names the column {shown(twice or '')} twice or not at all; mend it")
            if not {"prompt", "picture"} & set(header):
                raise BadInput(
                    f"{where} has no column prompt (or picture); name the columns in the first line"
                )
        elif len(cells) > len(header):
            yield f"{where} has {len(cells)} cells for {len(header)} columns (text with commas needs quotes)"
        else:
            given = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
            yield _with_values(where, given)


def _with_values(where: str, given: dict[str, str]) -> Entry | str:
    try:
        values: dict[str, Any] = {}
        for name, cell in given.items():
            values |= {name: cell.strip()} if name in PLAIN else parse_override(f"{name}={cell.strip()}")
    except BadInput as error:
        return f"{where}: {error}"
    return Entry(where, values)


def _jsonl(path: Path, text: str) -> Iterator[Entry | str]:
    # Not splitlines(): JSON text may hold U+2028, which is no end of a line here.
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path} line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            yield f"{where} is no JSON ({getattr(error, 'msg', None) or first_line(error)})"
            continue
        if isinstance(values, dict):
            yield Entry(where, values)
        else:
            yield f'{where} should be an object such as {{"prompt": "a blue vase"}}, not {shown(values)}'


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _yaml(path: Path, text: str) -> Iterator[Entry | str]:
    try:
        content = parse_yaml(text)
        node = yaml.compose(text, yaml.SafeLoader)  # once more, for the numbers of the lines
    except (ValueError, yaml.YAMLError) as error:
        raise BadInput(
            f"{path} is not a readable YAML file: {first_line(error)}; many jobs fit JSONL"
        ) from error
    shared: dict[str, Any] = {}
    if isinstance(content, dict) and isinstance(node, yaml.MappingNode):
        shared = {str(key): value for key, value in content.items() if key != "jobs"}
        node = next((value for key, value in node.value if key.value == "jobs"), None)
        content = content.get("jobs")
    if content is None and not shared:
        return
    if not isinstance(content, list) or not isinstance(node, yaml.SequenceNode):
        raise BadInput(f"{path} should hold a list of jobs, or jobs: with such a list below it")
    for value, item in zip(content, node.value, strict=True):
        where = f"{path} line {item.start_mark.line + 1}"
        if isinstance(value, str):
            yield Entry(where, shared | {"prompt": value})
        elif isinstance(value, dict):
            yield Entry(where, shared | {str(key): one for key, one in value.items()})
        else:
            yield f"{where} should be a prompt or a mapping with one, not {shown(value)}"


READERS = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl, ".yaml": _yaml, ".yml": _yaml}
