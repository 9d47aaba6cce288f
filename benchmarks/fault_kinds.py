"""The kinds of faults, and a trial: a run that one of them befalls."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipcast.pipeline.stages.table import STAGES

from .disturbed_run import Command, Disturbance, disk_full, files_no_larger_than, found_in, statuses

_WRITES = 30  # attempts to write that a stage makes, about


@dataclass(frozen=True)
class Undisturbed:
    """A run as it should be: its folder, results and seconds."""

    run: Path
    results: dict[str, str]
    seconds: float


@dataclass
class Trial:
    """A run in the making, what is drawn for it, and what went wrong."""

    number: int
    real: bool
    out: Path
    as_it_should_be: Undisturbed
    draw: random.Random
    problems: list[str] = field(default_factory=list)
    unfinished: int = 0  # stages that the run starts without
    damaged: set[str] = field(default_factory=set)

    @property
    def run(self) -> Path:
        """The run's folder."""
        return found_in(self.out)

    def start_with(self, stages: int) -> None:
        """Take over the first stages of the undisturbed run, and put people's own files beside them."""
        self.unfinished = len(STAGES) - stages
        shutil.rmtree(self.out, ignore_errors=True)
        if stages:
            shutil.copytree(self.as_it_should_be.run, self.run)
            for stage in STAGES[stages:]:
                shutil.rmtree(self.run / stage.folder)
            for place in (self.run, *(self.run / stage.folder for stage in STAGES[:stages])):
                (place / "mine.blend").write_text(f"by hand, in {place.name}")

    def expect(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)

    def command(self, disturbance: Disturbance = contextlib.nullcontext) -> Command:
        """The command, started."""
        return Command(self.out, real=self.real, disturbance=disturbance)

    def wait(self) -> None:
        """Let the command work for a random part of the time that it needs."""
        time.sleep(self.draw.uniform(0, self.as_it_should_be.seconds * (self.unfinished + 0.2) / len(STAGES)))


def kill(trial: Trial) -> None:
    """kill -9 at a random moment."""
    command = trial.command()
    trial.wait()
    command.send(signal.SIGKILL)
    code, said = command.end()
    trial.expect(code in (0, -signal.SIGKILL), f"killed, it ended with {code}: {said[-300:]}")


def stop(trial: Trial, number: signal.Signals, *, twice: bool = False) -> None:
    """Ctrl-C or SIGTERM at a random moment, and perhaps once more."""
    command = trial.command()
    trial.wait()
    command.send(number)
    if twice:
        time.sleep(trial.draw.uniform(0, 0.05))
        command.send(number)
    code, said = command.end()
    # A second one that comes when the command is over already finds the usual manners of a process.
    codes = (0, 128 + number, -number) if twice else (0, 128 + number)
    trial.expect(code in codes, f"stopped by {number.name}, it ended with {code}: {said[-300:]}")
    trial.expect("Traceback" not in said, f"stopped, it printed a traceback: {said[-1000:]}")
    trial.expect(
        twice or "running" not in statuses(trial.run),
        f"the manifest says {statuses(trial.run)} after {number.name}",
    )


def fill_disk(trial: Trial) -> None:
    """An attempt to write that fails, once or from then on."""
    first, lasting = trial.draw.randint(1, _WRITES * trial.unfinished), trial.draw.random() < 0.5
    stages = len(STAGES) - trial.unfinished
    while not (ended := _without_room(trial, first, lasting)):  # it made fewer attempts
        first = max(1, first // 2)
        trial.start_with(stages)
    code, said = ended
    _failed_in_a_sentence(trial, code, said, f"write {first} {'and on' if lasting else 'alone'} failed")


def _without_room(trial: Trial, first: int, lasting: bool) -> tuple[int | None, str] | None:
    """How the command ended; None if it never came to its ``first`` attempt to write."""
    reached, told = os.pipe()
    ended = trial.command(lambda: disk_full(trial.out, first, lasting=lasting, reached=told)).end()
    os.close(told)
    happened = bool(os.read(reached, 1))
    os.close(reached)
    return ended if happened else None


def limit_files(trial: Trial) -> None:
    """Writes that break off in the middle of a file."""
    size = int(10 ** trial.draw.uniform(2, 5.5 if trial.real else 3))
    code, said = trial.command(lambda: files_no_larger_than(size)).end()
    if code:
        _failed_in_a_sentence(trial, code, said, f"files were cut at {size} bytes")


def _failed_in_a_sentence(trial: Trial, code: int | None, said: str, what: str) -> None:
    clean = code == 1 and not any(sign in said for sign in ("Traceback", "failed unexpectedly", "--debug"))
    trial.expect(clean and '"error": ' in said, f"{what}: it ended with {code}: {said[-600:]}")


def damage(trial: Trial) -> None:
    """A file of the run is flipped, cut, emptied, overwritten, lengthened or gone."""
    own = {"mine.blend", ".lock"}
    files = sorted(path for path in trial.run.rglob("*") if path.is_file() and path.name not in own)
    if not files:
        return
    path = trial.draw.choice(files)
    trial.damaged = {stage.name for stage in STAGES if path.parent.name.startswith(stage.folder)}
    content = path.read_bytes()
    place = trial.draw.randrange(max(1, len(content)))
    changes: list[Callable[[], Any]] = [
        lambda: path.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << trial.draw.randrange(8)]) + content[place + 1 :]
        ),
        lambda: path.write_bytes(content[:place]),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(trial.draw.randbytes(len(content))),
        lambda: path.write_bytes(content + trial.draw.randbytes(50)),
        path.unlink,
    ]
    trial.draw.choice(changes if content else changes[3:])()


def damage_stopped(trial: Trial) -> None:
    """A file of a run that was stopped on its way."""
    stop(trial, signal.SIGTERM)
    damage(trial)


KINDS: dict[str, Callable[[Trial], None]] = {
    "kill": kill,
    "interrupt": lambda trial: stop(trial, signal.SIGINT),
    "terminate": lambda trial: stop(trial, signal.SIGTERM),
    "signal twice": lambda trial: stop(trial, trial.draw.choice([signal.SIGINT, signal.SIGTERM]), twice=True),
    "full disk": fill_disk,
    "cut files": limit_files,
    "damage, finished": damage,
    "damage, stopped": damage_stopped,
}
