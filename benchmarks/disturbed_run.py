"""``slipcast make`` in a forked process that faults can be put into: with the starter's models, or with quick stages.

A fork has torch and the compiled loops already, so that a trial costs what it works and no start.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from slipcast.configs.atomic import fingerprint, read_json_object, write_json
from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.pipeline import make as make_module
from slipcast.pipeline.cli.app import main as slipcast
from slipcast.pipeline.run.folder import run_path
from slipcast.pipeline.run.record import changed_outputs, read_record
from slipcast.pipeline.run.signals import stop_on_signals
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.table import STAGES
from tests.fakes.pipeline_stages import PROMPT, Workshop

SETTINGS = [
    "image.steps=2",
    "image.candidates=1",
    "refine.steps=4",
    "refine.size=32",
    "refine.resolution=32",
    "refine.checkpoint_every=1",
    "mesh.resolution=32",
    "mesh.texture_size=64",
    "mesh.target_faces=1000",
    "mesh.paint_views=0",
    "export.turntable_frames=0",
]
_STEPS, _SECONDS_A_STEP = 10, 0.004
_LONGEST = 300.0  # seconds until a command counts as hanging
Disturbance = Callable[[], AbstractContextManager[None]]


class Command:
    """``slipcast make PROMPT --out OUT --json``, running; ``disturbance`` surrounds it in its own process."""

    def __init__(self, out: Path, *, real: bool, disturbance: Disturbance = contextlib.nullcontext) -> None:
        self._log, log = os.pipe()
        ready, told = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            _run(out, real, disturbance, log, told)
        os.close(log)
        os.close(told)
        os.read(ready, 1)
        os.close(ready)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)

    def end(self) -> tuple[int | None, str]:
        """(exit code, negative for a signal that killed it, None if it hung; everything that it printed)."""
        said, deadline, code = b"", time.monotonic() + _LONGEST, 0
        while True:
            if not select.select([self._log], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.send(signal.SIGKILL)
                code = None
                break
            piece = os.read(self._log, 1 << 16)
            if not piece:
                break
            said += piece
        os.close(self._log)
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return status if code == 0 else None, said.decode()


def _run(out: Path, real: bool, disturbance: Disturbance, log: int, told: int) -> None:
    """The child's life."""
    code: Any = 70
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
        if not real:
            make_module.make = functools.partial(make_module.make, **_quick_stages())
        sys.argv = ["slipcast", "make", PROMPT, *(SETTINGS if real else ()), "--out", str(out), "--json"]
        with stop_on_signals():
            os.write(told, b"!")
            with disturbance():
                slipcast()
    except SystemExit as leaving:
        code = leaving.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def make_here(out: Path, *, real: bool) -> None:
    """The run in this process, which then has loaded and compiled all that its forks need."""
    config = load_config("starter", SETTINGS if real else ())
    make_module.make(PROMPT, config, out=out, **({} if real else _quick_stages()))


def _quick_stages() -> dict[str, Any]:
    """Options of ``make``: the table of stages with functions that work in small steps."""
    shop = Workshop(Path())
    shop.hooks = dict.fromkeys((stage.name for stage in STAGES), _steps)
    return {"stages": shop.stages, "open_models": lambda config: shop.models}


def _steps(ctx: StageContext) -> None:
    """Steps of which each builds on the one before, with a checkpoint, as the refine stage has."""
    checkpoint, state, done = ctx.folder / "checkpoint.json", "", 0
    with contextlib.suppress(BadInput):
        told = read_json_object(checkpoint, "a checkpoint")
        if told.pop("checksum", None) == fingerprint(told):
            state, done = told["state"], told["done"]
    advance = ctx.progress.task("steps", _STEPS)
    for step in range(done, _STEPS):
        time.sleep(_SECONDS_A_STEP)
        state = fingerprint([state, step])
        entries = {"state": state, "done": step + 1}
        write_json(checkpoint, entries | {"checksum": fingerprint(entries)})
        advance()
    checkpoint.unlink()
    (ctx.folder / "steps.txt").write_text(state)


def found_in(out: Path) -> Path:
    """The run's folder in ``out``, whether it is there yet or not."""
    return run_path(out, PROMPT, 0)


def finished_stages(run: Path) -> set[str]:
    """Names of the stages whose record is whole and whose files are as recorded."""
    found = set()
    for stage in STAGES:
        with contextlib.suppress(BadInput):
            if not changed_outputs(run / stage.folder, read_record(run / stage.folder)):
                found.add(stage.name)
    return found


def results(run: Path) -> dict[str, str]:
    """{file: SHA-256} of all that the finished stages made, and the key of each; records hold times besides."""
    found = {}
    for stage in STAGES:
        record = read_record(run / stage.folder)
        found[stage.name] = record.key
        for name in record.outputs:
            content = (run / stage.folder / name).read_bytes()
            found[f"{stage.name}/{name}"] = hashlib.sha256(content).hexdigest()
    return found


@contextlib.contextmanager
def disk_full(under: Path, first: int, *, lasting: bool, reached: int) -> Iterator[None]:
    """The ``first``-th attempt below a folder to make, rename or sync a file fails, and later ones if ``lasting``.

    ``reached`` is a file descriptor that gets a byte when that happens.
    """
    count = 0

    def failing(function: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def attempt(path: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal count
            inside = isinstance(path, int) or str(under) in os.fspath(path)
            if inside and writes(*arguments, **options):
                count += 1
                if count == first or (lasting and count > first):
                    os.write(reached, b"!")
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            return function(path, *arguments, **options)

        return attempt

    def for_writing(mode: Any = "r", *others: Any, **options: Any) -> bool:
        return any(letter in str(mode) for letter in "wax+")

    def always(*arguments: Any, **options: Any) -> bool:
        return True

    builtins.open = io.open = failing(io.open, for_writing)  # type: ignore[assignment]
    for name in ("fsync", "mkdir", "rename", "replace"):
        setattr(os, name, failing(getattr(os, name), always))
    yield  # nothing is put back: the process ends with its command


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Every write beyond ``size`` bytes fails in the middle of its file, as on a disk that runs full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    yield


def statuses(run: Path) -> list[str]:
    """What the manifest says of the stages; empty where there is none."""
    path = run / "manifest.json"
    return (
        [line["status"] for line in json.loads(path.read_text())["stages"].values()] if path.exists() else []
    )
