"""One job, done: the only place of this room that calls ``make``."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput, SlipcastError
from ...configs.schema import MakeConfig
from ...systems.models.known import domain_for
from ..run.models import ModelStore, open_models
from ..run.progress import Reporter
from ..run.stage import Stage
from .placing import plain_path
from .remote import Remote, Storing
from .reuse import sharing


@dataclass(frozen=True)
class Task:
    """A job as a worker is given it.

    ``folder`` is that of its run, ``out`` that of all runs, ``remote`` the address that its stages are stored at.
    """

    key: str
    prompt: str
    seed: int
    config: MakeConfig
    folder: Path
    out: Path
    picture: Path | None = None
    until: str | None = None
    from_stage: str | None = None
    low_memory: bool = False
    remote: str | None = None


class ModelShelf:
    """Models kept from job to job, as long as the jobs ask for the same ones."""

    def __init__(self) -> None:
        self._stores: list[tuple[MakeConfig, bool, ModelStore]] = []
        self._told: list[weakref.ref[Any]] = []
        self.low_memory = False

    def open(self, config: MakeConfig) -> ModelStore:
        """The models of a config; those that other jobs used, and this one does not, are let go."""
        for there, low_memory, store in self._stores:
            if (there, low_memory) == (config, self.low_memory):
                return store
        store, kept = self._made(config), []
        for there, low_memory, old in self._stores:
            if low_memory != self.low_memory or _family(there) != _family(config):
                continue
            if _networks(there) == _networks(config):
                vars(store).update({name: vars(old)[name] for name in _LOADED if name in vars(old)})
            else:
                kept.append((there, low_memory, old))
        self._stores = [*kept, (config, self.low_memory, store)]
        return store

    def _made(self, config: MakeConfig) -> ModelStore:
        return open_models(config, low_memory=self.low_memory)

    def newly_loaded(self) -> list[str]:
        """Names of the models that were loaded since this was last asked."""
        there: list[tuple[str, Any]] = []
        for _, _, store in self._stores:
            there += [(name, vars(store)[name]) for name in ("base", "domain") if name in vars(store)]
            there += list(vars(store).get("_custom", {}).items())
        new = [name for name, model in there if not any(told() is model for told in self._told)]
        self._told = [weakref.ref(model) for _, model in there]
        return new


_LOADED = ("base", "domain", "_custom", "_adapted")  # where a ModelStore keeps what it has loaded
_NO_NETWORKS = (
    "lift_model", "domain_strength", "image_prompt", "image_encoder",
    "image", "lift", "refine", "mesh", "paint", "export",
)  # fmt: skip
"""Settings that leave the networks of base and domain as they are; a lift loads its own each time, as do pictures."""


def model_group(config: MakeConfig) -> str:
    """Text that is equal for configs whose networks are the same."""
    return " ".join(str(value) for value in _networks(config).values())


def _networks(config: MakeConfig) -> dict[str, Any]:
    """The settings that decide which networks are loaded, and how; a domain is the one that is meant."""
    told = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in _NO_NETWORKS}
    return told | {"domain": domain_for(config.base, config.domain)}


def _family(config: MakeConfig) -> dict[str, Any]:
    """Without device and precision, which a run makes out for itself: ``auto`` and what it comes to are one family."""
    return _networks(replace(config, device="auto", dtype="auto"))


def make_job(task: Task, console: Reporter, shelf: ModelShelf) -> dict[str, Any]:
    """Make what a task asks for.

    Returns:
        {"result": the GLB, or the last stage's folder, "seconds" and "peak_mb" of what was made now, "made": stages,
        "score": how well the picture fits the prompt, if it is known}.
    Raises:
        BadInput: it cannot be made of this input, however often it is tried.
        SlipcastError: a stage failed.
    """
    from ..make import make
    from ..stages.table import all_stages

    shelf.low_memory = task.low_memory
    stages: Sequence[Stage] = all_stages()
    if task.from_stage is None:  # which asks for stages anew, and not for those of other runs
        stages = sharing(stages, plain_path(task.out, task.prompt, task.seed, task.picture))
    remote = None if task.remote is None else Remote(task.remote)
    if remote is not None:
        remote.fetch(task.folder, console)
        console = Storing(console, remote, task.folder)
    result = make(
        task.prompt,
        task.config,
        seed=task.seed,
        resume=task.folder,
        from_stage=task.from_stage,
        until_stage=task.until,
        console=console,
        stages=stages,
        open_models=shelf.open,
    )
    if remote is not None:
        remote.store_run(task.folder)
    if result.failed:
        why = "; ".join(f"{what} could not be written: {reason}" for what, reason in result.failed.items())
        raise BadInput(why)
    records = [result.records[name] for name in result.made]
    image = result.records.get("image")
    return {
        "result": str(result.primary),
        "seconds": round(sum(record.seconds for record in records), 3),
        "peak_mb": max((record.peak_memory_mb for record in records), default=None),
        "made": list(result.made),
        "score": None if image is None else score(image.facts),
    }


def score(facts: Mapping[str, Any]) -> float | None:
    """How much better the chosen picture is explained with the prompt than without: comparable between seeds."""
    chosen, evidence = facts.get("chosen"), facts.get("text_evidence")
    if isinstance(chosen, int) and isinstance(evidence, list) and chosen < len(evidence):
        return float(evidence[chosen])
    return None


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that there was no memory left, on whatever device."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error may be raised from itself
        seen.add(id(error))
        # torch's own is a RuntimeError that must not be imported for this; its allocator for the CPU has none.
        name, text = type(error).__name__, str(error)
        if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def kind_of(error: BaseException) -> str:
    """Which way a job failed: "memory", "input" (another try will not help), "busy" (somebody is at it), "error"."""
    if ran_out_of_memory(error):
        return "memory"
    if isinstance(error, BadInput):
        return "input"
    busy = isinstance(error, SlipcastError) and str(error).startswith("another slipcast (process")
    return "busy" if busy else "error"
