"""Pictures for the tuning page: kept by their settings, and drawn one after the other by a process that stays warm.

What is drawn lies in files beside the ledger, ``sketches/<key>.png`` and ``.json``; the process (``sketching``) begins
with the first picture that is not there, ends with the server, and is started again when it died.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors, fingerprint, read_json_object, sha256_of_file
from ...configs.errors import BadInput
from ...systems.domain.places import card_path, domains_folder

PROGRAM = (sys.executable, "-m", f"{__package__}.sketching")
_FORM = 1  # of what is kept; another number draws everything anew
_LOG = "sketching.log"


@dataclass(frozen=True)
class Sketch:
    """A picture that was asked for.

    Attributes:
        state: waiting, drawing, done, or failed.
        told: what ``sketching`` wrote of it, once it is done.
    """

    key: str
    state: str
    ahead: int = 0
    error: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


class Sketches:
    """The pictures in a folder, and the one process that draws them.

    Args:
        program: what draws; something else in tests.
    """

    def __init__(self, folder: Path, program: Sequence[str] | None = None) -> None:
        self.folder = folder
        self._program = [*(program or PROGRAM), str(folder)]
        self._asked: queue.Queue[tuple[str, Mapping[str, Any]] | None] = queue.Queue()
        self._waiting: list[str] = []
        self._errors: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    def ask(self, values: Mapping[str, Any]) -> str:
        """The key of a picture, which is drawn unless it is there or waits already.

        Args:
            values: prompt, seed, config and overrides of a job.
        Raises:
            SlipcastError: the folder cannot be written.
        """
        key = key_of(values)
        with explain_os_errors(self.folder, "making the folder of pictures", then=""):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._errors.pop(key, None)
            if key not in self._waiting and self._told(key) is None:
                self._waiting.append(key)
                self._asked.put((key, values))
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, daemon=True, name="slipcast-studio-sketches"
                    )
                    self._thread.start()
        return key

    def look(self, key: str) -> Sketch | None:
        """How a picture stands; None for one that nobody asked this server for."""
        with self._lock:
            waiting, error = list(self._waiting), self._errors.get(key)
        if key in waiting:
            ahead = waiting.index(key)
            return Sketch(key, "drawing" if ahead == 0 else "waiting", ahead)
        if error is not None:
            return Sketch(key, "failed", error=error)
        told = self._told(key)
        return None if told is None else Sketch(key, "done", told=told)

    def close(self) -> None:
        """Draw what waits, and end the process; nobody asks any more."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()

    def _told(self, key: str) -> dict[str, Any] | None:
        try:
            return read_json_object(self.folder / f"{key}.json", "how a picture was drawn")
        except BadInput:
            return None

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            key, values = asked
            try:
                error = self._drawn(key, values)
            except (OSError, ValueError) as failure:  # it died, before or while it was asked
                code = self._end()
                why = failure if code is None else f"exit code {code}"
                error = f"the process that draws ended ({why}); {self.folder / _LOG} may say why"
            with self._lock:
                self._waiting.remove(key)
                if error is not None:
                    self._errors[key] = error
        self._end()

    def _drawn(self, key: str, values: Mapping[str, Any]) -> str | None:
        """Have a picture drawn; what is wrong, or None.

        Raises: OSError, ValueError if the process died, or cannot be started.
        """
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            with open(self.folder / _LOG, "wb") as log:
                self._process = subprocess.Popen(
                    self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
                )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"key": key, "values": values}) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline()).get("error")  # an empty line is the end, and no JSON

    def _end(self) -> int | None:
        """Close the process's input, at which it ends, and wait for it; its exit code, None where there is none."""
        process, self._process = self._process, None
        if process is None:
            return None
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was not written any more
                assert pipe is not None
                pipe.close()
        return process.wait()


def key_of(values: Mapping[str, Any]) -> str:
    """The name of a picture in files and addresses; another one when its domain was trained further."""
    domain = values.get("overrides", {}).get("domain")
    card = card_path(domains_folder() / str(domain)) if isinstance(domain, str) else None
    identity = sha256_of_file(card) if card is not None and card.is_file() else ""
    asked = {name: values.get(name) for name in ("prompt", "seed", "config", "overrides")}
    return fingerprint([_FORM, asked, identity])[:32]
