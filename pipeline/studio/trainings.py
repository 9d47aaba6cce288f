"""Trainings of domains as pages see and steer them: ``slipcast domain train`` as a process that outlives the server.

How a training stands is read from what it writes itself, beside the domain (``pipeline.domains``); of the studio are
``trainings/<name>.json``, a note on its process, and ``trainings/<name>.log``, what that said.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json, read_json_object, write_json
from ...configs.errors import BadInput
from ...systems.domain.places import CARDS, TRAINING, checked_name, domains_folder
from ..domains.settings import SETTINGS
from .desk import Desk
from .processes import COMMAND, living, start_noted

PROGRAM = COMMAND
EVALUATIONS, REPORT = "evaluations.json", "report.html"  # pipeline.domains, whose modules need torch
_STEPS = re.compile(r"training up to step (\d+) of (\d+) (\d+)/(\d+)")
_PART = re.compile(r"domain: (.+?) (\d+)/(\d+), about (\d+) s left")
_UP_TO = re.compile(r"^note: step \d+: ")
_NO_GOOD = "note: it is not learning"
_MOST_LOG = 200_000


@dataclass(frozen=True)
class Training:
    """A training, or what came of it.

    Attributes:
        state: running, stopping, stopped, failed, or finished.
        what: what it is at, with ``done`` of ``total``, and seconds left of that; None where nothing is known.
        step: how far it is, of ``steps``; None where it has not begun.
        notes: what it said that a person should know, the last of each kind.
        error: why it failed.
        learning: False once it is known not to learn.
    """

    name: str
    folder: Path
    state: str
    what: str | None
    done: int
    total: int
    left_s: int | None
    step: int | None
    steps: int | None
    notes: Sequence[str]
    error: str | None
    learning: bool
    settings: Mapping[str, Any]
    evaluations: Sequence[Mapping[str, Any]]
    losses: Sequence[tuple[int, float]]

    @property
    def work(self) -> Path:
        """Where it keeps what it needs to go on."""
        return self.folder.with_name(self.folder.name + TRAINING)

    @property
    def is_over(self) -> bool:
        """Whether no process is at it."""
        return self.state not in ("running", "stopping")


def start_training(desk: Desk, name: str, words: Sequence[str], program: Sequence[str] | None = None) -> None:
    """Begin a training.

    Args:
        words: of ``slipcast domain train``, but for the name.
    Raises:
        BadInput: the name is taken or none, or another training is at work.
        SlipcastError: the process cannot be started.
    """
    place = domains_folder() / checked_name(name)
    if place.exists() or place.with_name(place.name + TRAINING).exists():
        raise BadInput(
            f"there is a domain {name!r} already, and it is never overwritten; choose another name"
        )
    _begin(desk, name, [*(program or PROGRAM), "domain", "train", *words, f"--name={name}"])


def resume_training(desk: Desk, name: str, program: Sequence[str] | None = None) -> None:
    """Go on with a training that was stopped or died. BadInput while it, or another one, is at work."""
    _begin(desk, name, [*(program or PROGRAM), "domain", "resume", "--", name])


def stop_training(desk: Desk, name: str) -> None:
    """Ask a training to stop after the step at work; it keeps what it learned. BadInput if none is at work."""
    import psutil

    note = _note(desk, name)
    told = living(note)
    if told is None:
        raise BadInput(f"the training of {name!r} is not at work")
    write_json(note, told | {"stopping": True})
    with contextlib.suppress(psutil.Error):
        psutil.Process(told["pid"]).terminate()


def at_work(desk: Desk) -> str | None:
    """The name of the domain whose training is at work, or None."""
    notes = sorted((desk.folder / "trainings").glob("*.json"))
    return next((note.stem for note in notes if living(note) is not None), None)


def training_seen(desk: Desk, name: str) -> Training | None:
    """How a training stands; None where nobody trained a domain of this name from here, or its traces are gone."""
    folder = domains_folder() / name
    work = folder.with_name(folder.name + TRAINING)
    note, log = _note(desk, name), _log(desk, name)
    if not work.is_dir() and not log.is_file():
        return None
    told, said = living(note), _said(log)
    settings, stretches = _settings(work)
    evaluations = _evaluations(work, stretches)
    what, done, total, left_s, step = _at(said)
    losses = _losses(work, stretches)
    reached = [step or 0, *(one["at"] for one in evaluations), *(at for at, _ in losses[-1:])]
    state, error = _state(told, folder, said)
    at_an_end = max((n for n, line in enumerate(said) if _UP_TO.match(line)), default=0)
    return Training(
        name, folder, state, what, done, total, left_s,
        max(reached) if settings else None, sum(stretches) or None,
        [line.removeprefix("note: ") for line in said if line.startswith("note: ") and not line.startswith(_NO_GOOD)],
        error, not any(line.startswith(_NO_GOOD) for line in said[at_an_end:]), settings, evaluations, losses,
    )  # fmt: skip


def _begin(desk: Desk, name: str, words: Sequence[str]) -> None:
    other = at_work(desk)
    if other is not None:
        raise BadInput(f"the training of {other!r} is at work; stop it, or begin when it is done")
    start_noted(words, _note(desk, name), said=_log(desk, name))


def _note(desk: Desk, name: str) -> Path:
    return desk.folder / "trainings" / f"{name}.json"


def _log(desk: Desk, name: str) -> Path:
    return desk.folder / "trainings" / f"{name}.log"


def _said(log: Path) -> list[str]:
    """The lines that the process wrote, the last ones of many."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _MOST_LOG))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip()]


def _state(told: Mapping[str, Any] | None, folder: Path, said: Sequence[str]) -> tuple[str, str | None]:
    if told is not None:
        return ("stopping" if told.get("stopping") else "running"), None
    errors = [line.removeprefix("slipcast: ") for line in said[-3:] if line.startswith("slipcast: ")]
    stopped = any("goes on" in line and line.startswith("note: ") for line in said[-3:])
    if errors and not stopped:
        return "failed", errors[-1]
    if any((folder / card).is_file() for card in CARDS):
        return "finished", None
    # Without a last word it was killed; it goes on from its last checkpoint all the same.
    return "stopped", None


def _at(said: Sequence[str]) -> tuple[str | None, int, int, int | None, int | None]:
    """(what it is at, done, total, seconds left, step of the training) by the last line that tells."""
    step = None
    for line in said:
        found = _STEPS.search(line)
        if found:
            until, _, done, total = map(int, found.groups())
            step = until - total + done
    last = _PART.match(said[-1]) if said else None
    if last is None:
        return None, 0, 0, None, step
    return last[1], int(last[2]), int(last[3]), int(last[4]), step


def _settings(work: Path) -> tuple[dict[str, Any], list[int]]:
    """(the settings, the steps of each stretch) of a training; nothing before it began."""
    try:
        told = read_json_object(work / SETTINGS, "the settings of a training")
        return dict(told["settings"]), [int(one["steps"]) for one in told["stretches"]]
    except (BadInput, KeyError, TypeError, ValueError):
        return {}, []


def _evaluations(work: Path, stretches: Sequence[int]) -> list[dict[str, Any]]:
    """Each evaluation, with "at", its step since the very beginning, and "loss", the mean."""
    try:
        found = read_json(work / EVALUATIONS, "the evaluations of a training")
        before = [sum(stretches[:number]) for number in range(len(stretches) + 1)]
        return [
            {**one, "at": before[one["stretch"] - 1] + one["step"], "loss": _mean(one["losses"])}
            for one in found
        ]
    except (BadInput, LookupError, TypeError, ZeroDivisionError):
        return []


def _losses(work: Path, stretches: Sequence[int]) -> list[tuple[int, float]]:
    """(step, smoothed loss) of the training itself."""
    found = []
    for number in range(len(stretches)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for line in (work / str(number + 1) / "log.jsonl").read_text(encoding="utf-8").splitlines():
                told = json.loads(line)
                found.append((sum(stretches[:number]) + int(told["step"]), float(told["loss"])))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
