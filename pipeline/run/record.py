"""``stage.json``, the commit record of a finished stage: what it made, with hashes, and a checksum of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...configs.atomic import fingerprint, read_json, sha256_of_file, sha256_of_folder, write_json
from ...configs.errors import BadInput, in_one_line

RECORD = "stage.json"
_CHECKSUM = "checksum"


@dataclass(frozen=True)
class StageRecord:
    """What is known of a finished stage; ``outputs`` is {relative path: SHA-256}, ``edited`` whether by hand."""

    key: str
    outputs: dict[str, str]
    facts: dict[str, Any]
    seconds: float
    peak_memory_mb: float
    resumed: bool = False
    edited: bool = False
    models: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """{what the stage could not write although it finished: why}: of the export stage, some of the formats."""
        return self.facts.get("failed") or {}

    @property
    def glb(self) -> str | None:
        """Name of the GLB among its files, None if there is none."""
        named = self.facts.get("glb")
        return named or next((name for name in self.outputs if name.endswith(".glb")), None)


def write_record(folder: Path, record: StageRecord) -> None:
    """Write a folder's record, atomically."""
    content = json.loads(json.dumps(asdict(record)))  # as it will be read, when the checksum is taken again
    write_json(folder / RECORD, content | {_CHECKSUM: fingerprint(content)})


def read_record(folder: Path) -> StageRecord:
    """The record of a folder.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    path = folder / RECORD
    content = read_json(path, "the record of a finished stage")
    try:
        checksum = content.pop(_CHECKSUM, None)  # versions up to 0.1 wrote none
        if checksum is not None and checksum != fingerprint(content):
            raise ValueError("its checksum does not fit")
        record = StageRecord(**content)
        texts = (record.key, *record.outputs.values())
        tables = (record.facts, record.models, *record.models.values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a key or hash is no text")
        if not all(isinstance(table, dict) for table in tables):
            raise TypeError("facts or models are no objects")
        if not all(isinstance(number, int | float) for number in (record.seconds, record.peak_memory_mb)):
            raise TypeError("time or memory is no number")
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not the record of a finished stage ({in_one_line(error)})") from error
    return record


def outputs_of(folder: Path) -> dict[str, str]:
    """{relative path: SHA-256} of what a stage made in its folder: all but hidden files, which are no stage's.

    Temporary files of ``configs.atomic`` are hidden, and so is what file managers leave.
    """
    found = sha256_of_folder(folder, leave_out=frozenset((RECORD,)))
    return {name: value for name, value in found.items() if not any(p[0] == "." for p in name.split("/"))}


def changed_outputs(folder: Path, record: StageRecord) -> list[str]:
    """Names of a record's files that are gone or no longer as they were made. What else lies there is nobody's care."""
    return [name for name, value in record.outputs.items() if not is_as_made(folder / name, value)]


def is_as_made(path: Path, sha256: str | None) -> bool:
    """Whether a file is there, byte for byte as recorded."""
    return sha256 is not None and path.is_file() and sha256_of_file(path) == sha256
