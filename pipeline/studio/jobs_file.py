"""The studio's jobs as a job file, ``<runs>/studio.jsonl.batch/studio.jsonl``: a line for each, the oldest first.

It is a batch as any other: its ledger lies beside it, and ``slipcast batch`` works it off, lists, retries and cancels
where no browser is. Lines are only ever added.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors
from ..batch.ledger import ledger_folder

NAME = "studio.jsonl"


def jobs_file(runs: Path) -> Path:
    """The job file of the studio that works in a folder of runs."""
    return ledger_folder(Path(NAME), runs) / NAME


def read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """{a job's id: what its line says}; a line that was not written to its end, or is no job's, is passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in text.split("\n")[:-1]:  # the last piece is empty, or was not written to its end
        with contextlib.suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict) and isinstance(values.get("id"), str):
                found[values["id"]] = values
    return found


def add_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add a job, after what a writer that was killed left of a line is taken away.

    Raises:
        SlipcastError: the file cannot be written.
    """
    with explain_os_errors(path, "writing down the job", then=""), open(path, "a+b") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        if whole < end:
            file.truncate(whole)
        file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
