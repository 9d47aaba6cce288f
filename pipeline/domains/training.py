"""``slipcast domain train``, ``resume`` and ``extend``: the main path from a folder of pictures to a domain.

A training is a folder ``NAME.training`` beside the domain: what it was asked for, one folder of checkpoints for each
stretch (``extend`` begins another), what every evaluation found, grids of samples, the best weights so far, and the
report. It runs in slices, from one evaluation to the next; the trainer (``systems.training``) knows nothing of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...configs.errors import BadInput
from ...configs.schema import MakeConfig
from ...configs.stopping import Stopped, check_stop
from ...systems.domain.places import TRAINING, checked_name, domains_folder
from ...systems.models.known import NO_DOMAIN
from ...systems.models.precision import resolve_device
from ...systems.training.checkpoints import begin_from, newest
from ...systems.training.loop import Budget, train
from ...systems.training.memory import Choice
from ...systems.training.peers import Peers, launched_peers, own_device
from ..run.lock import FolderLock
from ..run.models import open_models
from ..run.progress import Progress, Quiet
from .finishing import REPORT, best_verdict, finish
from .history import BEST, History, with_best
from .looking import Judges, judges
from .preparing import Prepared, begin, budget_for, choose, parked, prepare, refuse_changes
from .settings import SETTINGS, Settings, read_settings, write_settings

CACHE = ".latents"


@dataclass(frozen=True)
class Means:
    """What may differ between a training's stretches of work without changing what it learns."""

    device: str = "auto"
    minutes: float | None = None
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int | None = None
    cache: Path | None = None
    allow_pickle: bool = False


@dataclass(frozen=True)
class Learned:
    """What a command tells at its end."""

    domain: Path
    report: Path
    steps: int
    gain: float
    learning: bool
    finished: bool


def train_domain(settings: Settings, means: Means, console: Progress, *, out: Path | None = None) -> Learned:
    """Begin a training and bring it to its end.

    Raises: BadInput for a name that is taken, pictures or settings that do not fit; SlipcastError when it fails.
    """
    domain = (out or domains_folder()) / checked_name(settings.name)
    work = domain.with_name(domain.name + TRAINING)
    if (work / SETTINGS).exists() or domain.exists():
        what = work if (work / SETTINGS).exists() else domain
        raise BadInput(
            f"{what} is there already, and is never overwritten: `slipcast domain resume {settings.name}` goes on, "
            f"`slipcast domain extend {settings.name}` adds steps, or take another --name"
        )
    return _work(domain, work, settings, None, means, console)


def resume_domain(
    domain: Path, means: Means, console: Progress, *, pictures: str | None = None, **given: str | None
) -> Learned:
    """Go on with a training as if it had never stopped.

    Args:
        domain: its folder, beside which its training lies.
        pictures: where the same pictures lie now.
        given: ``prompt`` or ``base``, if somebody says them again; they must be the same.
    Raises: BadInput when pictures, base or prompt are not those that it began with.
    """
    work = domain.with_name(domain.name + TRAINING)
    settings, told = read_settings(work)
    for name, value in given.items():
        if value is not None and value != getattr(settings, name):
            raise BadInput(
                f"the {name} is not what {work} began with ({getattr(settings, name)!r}), so it cannot go on; "
                "leave it out, or begin a training of another --name"
            )
    if pictures is not None:
        settings = replace(settings, pictures=pictures)
    return _work(domain, work, settings, told, means, console)


def extend_domain(
    domain: Path, means: Means, console: Progress, *, steps: int, learning_rate: float | None = None
) -> Learned:
    """Train the best weights of a finished training for more steps, with a schedule and optimisers of their own."""
    work = domain.with_name(domain.name + TRAINING)
    settings, told = read_settings(work)
    stretches = list(told.get("stretches", []))
    if not domain.is_dir() or not (work / BEST).is_file():
        raise BadInput(f"{work} is not finished; `slipcast domain resume {domain.name}` goes on")
    if steps < 1:
        raise BadInput(f"--steps expects a whole number from 1 up, not {steps}")
    stretches.append({"steps": steps, "learning_rate": learning_rate or settings.learning_rate})
    write_settings(work, settings, **told | {"stretches": stretches})
    return _work(domain, work, settings, told | {"stretches": stretches}, means, console)


def _work(
    domain: Path,
    work: Path,
    settings: Settings,
    told: dict[str, Any] | None,
    means: Means,
    console: Progress,
) -> Learned:
    """Prepare, train in slices, write the domain: the same for a training that begins and one that goes on."""
    device = own_device(resolve_device(means.device))
    peers = launched_peers(torch.device(device).type)
    if not peers.first:
        console = Quiet()
        peers.wait()  # until the first has read the pictures and written what to start from
        settings, told = read_settings(work)
    store = open_models(
        MakeConfig(base=settings.base, domain=NO_DOMAIN, device=device, dtype=settings.precision),
        allow_pickle=means.allow_pickle,
    )
    store.folder("base")  # better missed before the pictures are read
    work.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(work)
    if peers.first:
        lock.acquire()
    try:
        prepared = prepare(settings, work, store, means.cache or domain.parent / CACHE, console)
        settings = prepared.settings
        if told is None:
            told = {**prepared.identities, "stretches": [_stretch(settings)]}
            write_settings(work, settings, **told)
        refuse_changes(prepared, told)
        budget = replace(
            budget_for(prepared, device, peers),
            checkpoint_minutes=means.checkpoint_minutes,
            checkpoint_steps=means.checkpoint_steps,
        )
        choice = choose(prepared, budget, peers)
        if peers.first:
            console.notice(f"training: {choice.sentence()}")
            begin(prepared, max(1, prepared.recipe.feature_batch // choice.budget.batch), console)
            peers.wait()
        return _stretches(domain, prepared, told, choice, means, peers, console)
    finally:
        lock.release()
        if peers.first and not (work / SETTINGS).exists():  # it ended before it had begun
            with contextlib.suppress(OSError):
                (work / FolderLock.NAME).unlink()
                work.rmdir()


def _stretch(settings: Settings) -> dict[str, Any]:
    return {"steps": settings.steps, "learning_rate": settings.learning_rate}


def _stretches(
    domain: Path,
    prepared: Prepared,
    told: Mapping[str, Any],
    choice: Choice,
    means: Means,
    peers: Peers,
    console: Progress,
) -> Learned:
    held, work = prepared.held_out.open(str(prepared.base.device)), prepared.work
    seen_by = judges(prepared, console) if peers.first else Judges(None, None, None, None)
    history = History(prepared, held, seen_by, console)
    if peers.first and not history.evaluations:
        history.add(1, 0, prepared.method.load(work / "start"))
    done, began = 0, time.monotonic()
    for number, stretch in enumerate(told["stretches"], start=1):
        budget = replace(choice.budget, steps=int(stretch["steps"]), learning_rate=stretch["learning_rate"])
        folder = work / str(number)
        if number > 1 and not newest(folder) and peers.first:
            part = prepared.base.family.network
            begin_from({part: with_best(prepared)}, folder)
        peers.wait()
        steps = int(stretch["steps"])
        every = prepared.settings.evaluate_every or steps
        total = sum(one["steps"] for one in told["stretches"])
        for until in [*range(every, steps, every), steps]:
            if history.holds(number, until):
                continue
            left = (
                None if means.minutes is None else max(0.0, means.minutes - (time.monotonic() - began) / 60)
            )
            modules = _slice(prepared, folder, budget, until, left, choice, console, done, total)
            if _step_of(folder) < until:
                return _told(domain, prepared, history.evaluations, done + _step_of(folder), finished=False)
            if peers.first:
                history.add(number, until, modules[prepared.base.family.network])
            peers.wait()
            check_stop()
        done += stretch["steps"]
    if peers.first:
        finish(domain, prepared, with_best(prepared), history.evaluations, told, choice, console)
    peers.wait()
    return _told(domain, prepared, history.evaluations, done, finished=True)


def _slice(
    prepared: Prepared,
    folder: Path,
    budget: Budget,
    until: int,
    minutes: float | None,
    choice: Choice,
    console: Progress,
    before: int,
    total: int,
) -> dict[str, Any]:
    """Train up to a step of the stretch; the averaged networks."""
    began = _step_of(folder)
    advance = console.task(f"training up to step {before + until} of {total}", until - began)
    seen = began

    def watch(step: int, seconds: float, loss: float) -> None:
        nonlocal seen
        if step > seen:
            with contextlib.suppress(Stopped):  # the trainer itself stops after this step, when all is saved
                advance(step - seen)
            seen = step

    # ``minutes`` ends this call; the trainer counts a training's own seconds from its beginning.
    spent = float(_progress(folder)[1]) / 60
    limited = replace(budget, pause=until, most_minutes=None if minutes is None else spent + minutes)
    guided, half = prepared.settings.distil_guidance, (budget.steps or 0) // 2
    # Late, as DogFit does: a network that does not know its classes yet has nothing to be guided by.
    task = prepared.task(
        prepared.learned,
        checkpointing=choice.checkpointing,
        distil=guided if guided is not None and until > half else 1.0,
    )
    with parked(prepared.base):
        return train(task, folder, limited, label=prepared.settings.name, watch=watch)


def _progress(folder: Path) -> Any:
    from safetensors import safe_open

    for path in newest(folder):
        with safe_open(path, framework="pt") as file:
            if "progress" in file.keys():  # noqa: SIM118
                return file.get_tensor("progress").tolist()
    return (0, 0.0)


def _step_of(folder: Path) -> int:
    return int(_progress(folder)[0])


def _told(
    domain: Path, prepared: Prepared, evaluations: list[dict[str, Any]], step: int, *, finished: bool
) -> Learned:
    found = best_verdict(evaluations)
    return Learned(domain, prepared.work / REPORT, step, found.gain, found.learning, finished)
