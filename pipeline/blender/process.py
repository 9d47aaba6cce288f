"""Blender as a program: found, asked for its version, given a script and a job, watched, and ended if need be.

Two kinds of program will do: a Blender, and a Python that can import ``bpy`` (Blender as a module). Either runs as a
process of its own: a crash in there is a sentence here, and Blender's GPL code is never part of this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_path
from ...configs.programs import signal_name, watch

VARIABLE = "SLIPCAST_BLENDER"
SCRIPTS = Path(__file__).with_name("scripts")
PROGRESS_MARK = (
    "slipcast-progress "  # scripts/job.py writes it; nothing of this package can be imported in there
)
TIMEOUT_S = 1800.0
OLDEST, TOO_NEW = (4, 2), (6, 0)
STILL = "the other formats are written all the same, and any Blender since 2.83 imports the GLB"

_ASK_TIMEOUT_S = 180.0  # a first start from a network drive is slow
_KEPT_LINES = 60
_NOISE = ("Blender quit", "Error: script failed", "Saved session recovery")

OnProgress = Callable[[float, str], None]
"""Called with the part done, 0 to 1, and what is done now."""


@dataclass(frozen=True)
class Blender:
    """A program that runs scripts with ``bpy``; ``is_python`` if it is a Python and not a Blender."""

    program: Path
    is_python: bool
    version: tuple[int, int, int]

    def __str__(self) -> str:
        kind = "bpy" if self.is_python else "Blender"
        return f"{kind} {'.'.join(map(str, self.version))} ({self.program})"

    def command(self, script: Path, *arguments: Path) -> list[str]:
        """The command line that runs a script without windows, settings or add-ons of the user."""
        tail = [str(argument) for argument in arguments]
        if self.is_python:
            return [str(self.program), str(script), *tail]
        switches = ["--background", "--factory-startup", "--python-exit-code", "1", "--python", str(script)]
        return [str(self.program), *switches, "--", *tail]


def find_blender(explicit: Path | None = None, environment: Mapping[str, str] = os.environ) -> Blender:
    """The Blender to use: the one named, or else the one of SLIPCAST_BLENDER, this Python's bpy, ``blender`` on PATH.

    Raises:
        BadInput: none is there, the named one does not run, or its version is not supported.
    """
    if explicit is not None:
        return _supported(_ask(_resolve(explicit, "--blender")))
    if environment.get(VARIABLE):
        return _supported(_ask(_resolve(Path(environment[VARIABLE]), f"--blender or {VARIABLE}")))
    broken = ""
    if util.find_spec("bpy") is not None:
        try:
            return _supported(_ask_python(Path(sys.executable)))
        except BadInput as error:
            broken = f" ({str(error).removesuffix(f'; {STILL}')})"
    on_path = shutil.which("blender", path=environment.get("PATH"))
    if on_path is None:
        raise BadInput(
            f'no Blender was found{broken}; pip install "slipcast[blender]" (Python 3.11), or name yours with '
            f"--blender PATH or {VARIABLE}=PATH; {STILL}"
        )
    return _supported(_ask(Path(on_path)))


@contextlib.contextmanager
def naming_blender(path: Path | None) -> Iterator[None]:
    """Within this block ``find_blender`` finds this Blender, if it is not None; BadInput at once when it is none."""
    if path is None:
        yield
        return
    find_blender(path)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _resolve(path: Path, origin: str) -> Path:
    """The program meant: a file, a command on PATH, or the Blender inside an application's folder."""
    path = given_path(path, origin)
    if path.is_dir():
        for inside in ("blender", "blender.exe", "Contents/MacOS/Blender", "bin/python"):
            if (path / inside).is_file():
                return path / inside
    elif path.is_file():
        return path
    elif len(path.parts) == 1 and (found := shutil.which(str(path))):
        return Path(found)
    raise BadInput(f"{origin} expects a Blender, or a Python that can import bpy; {path} is neither; {STILL}")


def _ask(program: Path) -> Blender:
    said = _output([str(program), "--version"], program)
    if said.lstrip().startswith("Python "):
        return _ask_python(program)
    return Blender(program, False, _version(said, r"^Blender (\d+)\.(\d+)(?:\.(\d+))?", program))


def _ask_python(program: Path) -> Blender:
    code = "import bpy; print('bpy', bpy.app.version_string)"
    said = _output([str(program), "-c", code], program)
    return Blender(program, True, _version(said, r"^bpy (\d+)\.(\d+)(?:\.(\d+))?", program))


def _output(command: list[str], program: Path) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ASK_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"{program} did not tell its version within {_ASK_TIMEOUT_S:.0f} s; {STILL}") from None
    except OSError as error:
        raise BadInput(f"{program} cannot be run ({error.strerror or error}); {STILL}") from error
    if done.returncode != 0:
        raise BadInput(
            f"{program} did not tell its version: {_last(done.stderr.splitlines(), 'no reason given')}; {STILL}"
        )
    return done.stdout


def _version(said: str, pattern: str, program: Path) -> tuple[int, int, int]:
    found = re.search(pattern, said, re.MULTILINE)
    if found is None:
        line = _last(said.splitlines(), "nothing")
        raise BadInput(f"{program} is no Blender: asked for its version, it said {line!r}; {STILL}")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def _supported(blender: Blender) -> Blender:
    if not OLDEST <= blender.version[:2] < TOO_NEW:
        raise BadInput(
            f"{blender} is not supported: .blend and FBX files need Blender 4.2 LTS to 5.x; {STILL}"
        )
    return blender


def run_script(
    blender: Blender,
    script: str,
    job: Mapping[str, Any],
    folder: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Run one of ``scripts/`` on a job and return what it found out. Ctrl-C ends Blender too.

    Args:
        job: JSON values; the script knows their meaning.
        folder: an empty folder for the job, the result and whatever Blender keeps beside them.

    Raises:
        SlipcastError: Blender crashed, failed or took too long; a note on the error holds the end of its log.
    """
    request, reply = folder / "job.json", folder / "result.json"
    request.write_text(json.dumps(dict(job), allow_nan=False), encoding="utf-8")
    command = blender.command(SCRIPTS / script, request, reply)
    own_folder = folder / "blender"
    own_folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "BLENDER_USER_RESOURCES": str(own_folder),  # nothing of the user's set-up is read, or written to
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(own_folder)),  # goes with the folder, crash or not
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
    code, log, doing = _watch(command, environment, timeout_s, on_progress)
    if code is None:
        how = f"took longer than {timeout_s:.0f} s and was ended"
    elif code < 0:
        how = f"was ended by {signal_name(-code)}"
    else:
        how = f"failed (exit code {code})" if code else "ended without a result"
    if code == 0 and reply.is_file():
        return read_json(reply, "what Blender answers")
    error = SlipcastError(
        f"{blender} {how} while {doing}; the last line of its log: {_last(log, 'nothing')!r}; "
        "the other formats are not affected"
    )
    error.add_note("The end of Blender's log:\n" + "\n".join(log))
    raise error


def _watch(
    command: list[str], environment: dict[str, str], timeout_s: float, on_progress: OnProgress | None
) -> tuple[int | None, list[str], str]:
    """(exit code, or None after a time-out; the end of the log; what was done last)."""
    log: deque[str] = deque(maxlen=_KEPT_LINES)
    doing = "starting"

    def heard(line: str) -> None:
        nonlocal doing
        if line.startswith(PROGRESS_MARK):
            part, doing = json.loads(line.removeprefix(PROGRESS_MARK))
            if on_progress is not None:
                on_progress(part, doing)
        elif line.strip():
            log.append(line.rstrip())

    code = watch(command, heard, timeout_s=timeout_s, environment=environment)
    return code, list(log), doing


def _last(lines: list[str], otherwise: str) -> str:
    told = [line.strip() for line in lines if line.strip() and not line.strip().startswith(_NOISE)]
    return told[-1][:300] if told else otherwise
