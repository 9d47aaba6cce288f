"""What a worker of a cluster asks for, and how the stages of a job are divided among workers of different kinds.

    --needs image:cpus=1,gpus=0.25 --needs refine:cpus=4,gpus=1,memory=8G --needs mesh:cpus=2

makes three legs: image and lift, refine, mesh and all after it. Several workers of the first leg pack onto a GPU, those
of the second have one each, and those of the third leave the GPUs alone. A worker does one leg of one job after the
other, and keeps the models of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ..run.stage import selected
from ..stages.table import all_stages
from .resources import as_mb


@dataclass(frozen=True)
class Share:
    """What a worker asks of the cluster; ``memory_mb`` None for none in particular."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: float | None = None


@dataclass(frozen=True)
class Leg:
    """Consecutive stages that one kind of worker makes: up to ``until``, None for all that are left."""

    share: Share
    until: str | None = None


def legs_of(share: Share, needs: Sequence[str] = ()) -> tuple[Leg, ...]:
    """The legs of every job.

    Args:
        share: what a worker asks for where ``needs`` says nothing else.
        needs: ``STAGE:cpus=N,gpus=N,memory=SIZE``, each of them for this stage and those after it.
    Raises:
        BadInput: an unknown stage or name, a number that is none, a stage twice.
    """
    names = [stage.name for stage in all_stages()]
    starts = {names[0]: share}
    told: set[str] = set()
    for text in needs:
        stage, colon, said = text.partition(":")
        if not colon:
            raise BadInput(f"--needs expects STAGE:cpus=N,gpus=N,memory=SIZE, not {text!r}")
        selected(all_stages(), stage, None)
        if stage in told:
            raise BadInput(f"--needs tells twice what stage {stage} needs")
        told.add(stage)
        starts[stage] = _share(share, said, text)
    order = sorted(starts, key=names.index)
    ends = [names[names.index(later) - 1] for later in order[1:]]
    return tuple(Leg(starts[stage], until) for stage, until in zip(order, [*ends, None], strict=True))


def _share(share: Share, said: str, text: str) -> Share:
    for part in said.split(","):
        name, _, value = part.strip().partition("=")
        try:
            if name == "memory":
                share = replace(share, memory_mb=as_mb(value))
                continue
            if name not in ("cpus", "gpus"):
                raise unknown_name("resource", name, ("cpus", "gpus", "memory"))
            number = float(value)
            if not 0 <= number < 1e6:
                raise ValueError(f"expected a number from 0 on, not {value!r}")
        except ValueError as error:
            raise BadInput(f"--needs {text}: {error}") from error
        share = replace(share, **{name: number})
    return share


def is_last(leg: int, legs: Sequence[Leg], until: str | None) -> bool:
    """Whether a job that goes on until a stage (None: all of them) is done with this leg."""
    end = legs[leg].until
    if end is None or until is None:
        return end is None
    names = [stage.name for stage in all_stages()]
    return names.index(until) <= names.index(end)


def stop_at(leg: int, legs: Sequence[Leg], until: str | None) -> str | None:
    """The last stage of a job in a leg."""
    return until if is_last(leg, legs, until) else legs[leg].until
