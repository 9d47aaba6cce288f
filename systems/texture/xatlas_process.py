"""xatlas, so that it cannot block: it runs in a helper process, which is replaced where it hangs.

xatlas ends its threads by waking them once, and waits for ever for one that has not yet gone to sleep after its last
task (seen once in some thousand atlases). That happens when an atlas is let go, long after its result is there, and
with Python's global lock held, so that not even another thread could go on. So the helper answers first and lets go
then; one that does not come back from it is killed, and its successor takes the next mesh. No result is ever lost.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from ...configs.errors import SlipcastError
from .xatlas_jobs import LET_GO, receive, send

SCRIPT = Path(__file__).with_name("xatlas_jobs.py")
LETTING_GO_S = 20.0
"""Letting an atlas go takes a millisecond; on a machine that is busy with everything else, some more."""


@dataclass(frozen=True)
class Atlas:
    """What xatlas made of a mesh with vertices [V, 3] and faces [F, 3].

    source: [W] the vertex of the mesh that each vertex of the atlas is; faces: [F, 3] in these; uv: [W, 2];
    size: width and height of a page in cells; pages: how many the charts took.
    """

    source: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    size: np.ndarray
    pages: int


class XAtlas:
    """A helper process that makes atlases one after another; starts when made, ends with its ``with`` block."""

    _stdin: IO[bytes]
    _stdout: IO[bytes]
    _stderr: IO[bytes]

    def __init__(self) -> None:
        self._start()

    def generate(
        self,
        vertices: np.ndarray,
        faces: np.ndarray,
        normals: np.ndarray,
        uv: np.ndarray | None = None,
        *,
        chart: dict[str, Any],
        pack: dict[str, Any],
    ) -> Atlas:
        """Cut a mesh into charts and pack them.

        vertices, normals: [V, 3] float32; faces: [F, 3]; uv: [V, 2] float32; chart, pack: options by xatlas' names.

        Raises:
            SlipcastError: the helper ended without an answer.
        """
        if self._holds_an_atlas and not self._has_let_go():
            self._end()
            self._start()
        arrays: dict[str, Any] = {"vertices": vertices, "faces": faces, "normals": normals}
        arrays |= {} if uv is None else {"uv": uv}
        arrays |= {f"chart.{name}": value for name, value in chart.items()}
        arrays |= {f"pack.{name}": value for name, value in pack.items()}
        try:
            send(self._stdin, arrays)
            answer = receive(self._stdout)
        except BrokenPipeError:
            answer = None
        if answer is None:
            code, said = self._process.wait(), self._stderr.read().decode(errors="replace").strip()
            raise SlipcastError(
                f"xatlas ended with {code} on {len(faces)} faces: {(said.splitlines() or ['it said nothing'])[-1]}"
            )
        self._holds_an_atlas = True
        return Atlas(answer["source"], answer["faces"], answer["uv"], answer["size"], int(answer["pages"]))

    def __enter__(self) -> XAtlas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        # -P: the folder of the script is no place to import from.
        command = [sys.executable, "-P", str(SCRIPT)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._process = process
        self._holds_an_atlas = False

    def _has_let_go(self) -> bool:
        """Whether the helper came back from its last atlas in time; it is dead otherwise."""
        watch = threading.Timer(LETTING_GO_S, self._process.kill)
        watch.start()
        told = self._stdout.read(len(LET_GO))
        watch.cancel()
        return told == LET_GO

    def _end(self) -> None:
        """At once, whatever the helper does: its answers are here, and it holds nothing else."""
        self._process.kill()
        self._process.communicate()
