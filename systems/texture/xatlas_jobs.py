"""xatlas in a process of its own: reads meshes from standard input, writes their atlases to standard output.

Run as a script by ``xatlas_process``, which says why; it imports nothing of this package, to start in a blink.
"""

from __future__ import annotations

import io
import os
import signal
import struct
import sys
from typing import IO, Any

import numpy as np

LET_GO = b"."
"""Written when an atlas was let go, after its answer."""
_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], arrays: dict[str, Any]) -> None:
    """Write arrays by name as one message: their length in bytes, then an .npz file."""
    held = io.BytesIO()
    np.savez(held, **arrays)
    stream.write(_LENGTH.pack(held.tell()))
    stream.write(held.getbuffer())
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, np.ndarray] | None:
    """The next message's arrays by name; None where the stream ends."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(_LENGTH.unpack(head)[0])
    with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
        return dict(arrays)


def atlas_of(job: dict[str, np.ndarray]) -> dict[str, Any]:
    """Cut and pack one mesh.

    job: vertices and normals [V, 3], faces [F, 3], perhaps uv [V, 2], and xatlas' options as ``chart.NAME`` and
        ``pack.NAME``.

    Returns: ``xatlas_process.Atlas``'s fields.
    """
    import xatlas

    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    for name, value in job.items():
        options, _, option = name.partition(".")
        if option:
            setattr(charts if options == "chart" else packing, option, value.item())
    atlas = xatlas.Atlas()
    corners = (job["vertices"], job["faces"].astype(np.uint32), job["normals"])
    atlas.add_mesh(*corners, *([job["uv"]] if "uv" in job else []))
    atlas.generate(charts, packing)
    source, faces, uv = atlas[0]
    answer = dict(
        source=source, faces=faces, uv=uv, size=[atlas.width, atlas.height], pages=atlas.atlas_count
    )
    return answer | {"atlas": atlas}


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    while (job := receive(sys.stdin.buffer)) is not None:
        answer = atlas_of(job)
        atlas = answer.pop("atlas")
        send(answers, answer)
        del atlas  # which may wait for ever
        answers.write(LET_GO)
        answers.flush()


if __name__ == "__main__":
    main()
