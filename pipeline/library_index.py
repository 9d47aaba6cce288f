"""Which run each .blend or .glb of an asset library was made of, in a JSON file beside them.

Names of runs repeat: two folders of runs may both hold ``a-blue-vase-0``. The index gives each run a file of its own,
and leaves alone what it does not name, which is somebody else's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ..configs.atomic import explain_os_errors, sha256_of_file, write_json
from ..configs.errors import SlipcastError, in_one_line
from .finished import FinishedRun

FILE = "slipcast-library.json"  # extension/runs.py reads it too
_ENDINGS = (".blend", ".glb")


@dataclass
class Index:
    """``entries``: {stem of a file: {"run": its folder, absolute, "mesh": hash of the mesh that it shows}}."""

    folder: Path
    entries: dict[str, dict[str, str]]

    def claim(self, run: FinishedRun) -> str:
        """The stem of the run's file: the one that it has, or else one that nobody uses, remembered at once.

        A run that was moved or renamed keeps its file.
        """
        where, mesh = str(run.path.resolve()), sha256_of_file(run.mesh_file)
        for stem, entry in self.entries.items():
            if entry["run"] == where:
                return stem
        for stem, entry in self.entries.items():
            if entry.get("mesh") == mesh and not Path(entry["run"]).exists():
                entry["run"] = where
                self._save()
                return stem
        name = run.path.resolve().name
        stems = (name if number == 1 else f"{name}-{number}" for number in count(1))
        stem = next(stem for stem in stems if self._is_free(stem))
        self.entries[stem] = {"run": where}
        self._save()
        return stem

    def is_current(self, stem: str, run: FinishedRun) -> bool:
        """Whether the file shows the mesh that the run has now, as far as is known: a stopped build may not tell."""
        return self.entries[stem].get("mesh") in (None, sha256_of_file(run.mesh_file))

    def made(self, stem: str, run: FinishedRun) -> None:
        """Remember which mesh the file shows."""
        self.entries[stem]["mesh"] = sha256_of_file(run.mesh_file)
        self._save()

    def _is_free(self, stem: str) -> bool:
        return stem not in self.entries and not any(
            (self.folder / f"{stem}{end}").exists() for end in _ENDINGS
        )

    def _save(self) -> None:
        file = self.folder / FILE
        with explain_os_errors(file, "writing the library's index"):
            write_json(file, {"format": 1, "files": self.entries})


def read_index(folder: Path) -> Index:
    """The index of a library's folder; an empty one where there is none yet.

    Raises:
        SlipcastError: it cannot be read, or is something else.
    """
    file = folder / FILE
    try:
        entries: Any = json.loads(file.read_text(encoding="utf-8"))["files"]
        if not all(isinstance(entry["run"], str) for entry in entries.values()):
            raise TypeError("a run is no text")
    except FileNotFoundError:
        entries = {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SlipcastError(
            f"{file} is not the index of a library ({type(error).__name__}: {in_one_line(error)}); move it away, "
            "or use another DIR"
        ) from error
    return Index(folder, entries)
