"""How long a stage will take, in how much memory: by earlier runs of this machine, the README's figures, or by count.

Nothing is modelled but what is proportional: a stage's time to the product of the settings in its ``work``, or to its
networks' operations. Whatever else changes the time is said in the basis, and where nothing is known, nothing is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any

from ...configs.errors import BadInput
from ...configs.loading import restore_config
from ...configs.schema import MakeConfig
from . import operations
from .manifest import Manifest, read_manifest
from .stage import Stage

README = {
    "image": (18.9, 583.0),
    "lift": (0.9, 667.0),
    "refine": (108.6, 906.0),
    "mesh": (14.9, 1000.0),
    "export": (4.3, 926.0),
}
"""(seconds, peak memory in MiB) of ``python -m benchmarks.make_time``: the starter's preset on an AMD EPYC with two
cores, on a slow day; 53 s in all were measured on a quiet one."""
_ASKING = ("image", "lift", "refine", "paint")
"""Stages that ask networks; export names all models, for their licences, and loads none."""
_README_WORK = {"image": 25 * 4, "refine": 300 * 2}


@dataclass(frozen=True)
class Estimate:
    """Seconds and MiB of a stage, None where nothing is known, and what says so."""

    seconds: float | None
    memory_mb: float | None
    basis: str


NOTHING_TO_DO = {"refine": "refine.steps", "paint": "paint.steps"}
"""Stages that pass on what they are given where this setting is 0."""
UNKNOWN = Estimate(None, None, "unknown: no earlier run of this machine is like it")


def earlier_runs(out: Path, machine: Mapping[str, Any]) -> list[tuple[Manifest, MakeConfig]]:
    """The runs in a folder that this machine made, with the settings that they were made with."""
    found = []
    for path in sorted(out.glob("*/manifest.json")):
        try:
            manifest = read_manifest(path.parent)
            if manifest.machine == dict(machine) and manifest.settled:
                found.append((manifest, restore_config(manifest.settled, source=str(path))))
        except BadInput:  # not a run, or of another version: it is no measure of this one
            continue
    return found


def estimate(
    stage: Stage, config: MakeConfig, threads: int, runs: Sequence[tuple[Manifest, MakeConfig]]
) -> Estimate:
    """What a stage will need with these settings, nothing left open in them.

    Args:
        threads: how many compute.
        runs: ``earlier_runs``; those with the same device, dtype, threads and models count.
    """
    setting = NOTHING_TO_DO.get(stage.name)
    if setting and not attrgetter(setting)(config):
        return Estimate(0.0, 0.0, f"{setting}=0 passes on what it is given")
    alike = [
        (line, before)
        for manifest, before in runs
        if (line := manifest.stages.get(stage.name)) and line.status == "finished"
        if line.seconds and not (line.resumed or line.edited) and manifest.threads == threads
        if all(getattr(before, name) == getattr(config, name) for name in _same_for(stage))
    ]
    if alike:
        same = [one for one in alike if stage.settings(one[1]) == stage.settings(config)]
        seconds = median(
            (line.seconds or 0) * work(stage, config) / work(stage, before) for line, before in same or alike
        )
        memory = max(line.peak_memory_mb or 0 for line, _ in same or alike)
        several = f"{len(same or alike)} earlier run{'s' if len(same or alike) > 1 else ''} of this machine"
        scaled = "" if same else f" with other settings{_scaled(stage)}"
        return Estimate(round(seconds, 1), round(memory), f"median of {several}{scaled}")
    named = [
        getattr(config, role)
        for role in ("base", "lift_model")
        if role in stage.roles and stage.name in _ASKING
    ]
    if stage.name not in README or config.device != "cpu" or any(name != "starter" for name in named):
        return _by_operations(stage, config)
    seconds, memory = README[stage.name]
    factor = work(stage, config) / _README_WORK.get(stage.name, 1)
    return Estimate(
        round(seconds * factor, 1),
        round(memory),
        f"the README's figures, another machine's (AMD EPYC, two cores, a slow day){_scaled(stage)}",
    )


def _by_operations(stage: Stage, config: MakeConfig) -> Estimate:
    found, held = operations.seconds(stage.name, config), operations.megabytes(stage.name, config)
    if found is None:
        return UNKNOWN
    memory = None if held is None else round(held)
    speed = operations.gigaflops(config.device, config.dtype)
    return Estimate(
        float(f"{found:.2g}"),
        memory,
        f"a count of its networks' operations, at half of the {speed:.0f} GFLOP/s that this machine multiplies with; "
        "the memory is that of the weights alone",
    )


def work(stage: Stage, config: MakeConfig) -> float:
    """The product of the settings to which a stage's time is proportional; never 0, since it does something anyhow."""
    return max(1e-3, math.prod(float(attrgetter(name)(config)) for name in stage.work))


def _scaled(stage: Stage) -> str:
    return f", scaled by {' x '.join(stage.work)}" if stage.work else ", not scaled"


def _same_for(stage: Stage) -> tuple[str, ...]:
    """Settings of all that change how long a stage takes."""
    shared = {"base": ("base", "dtype", "device"), "lift_model": ("lift_model", "device")}
    return tuple(dict.fromkeys(name for role in stage.roles for name in shared.get(role, ())))
