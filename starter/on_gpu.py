"""The starter's trainings in a few minutes of a GPU: data is rendered on all cores while the networks train on it.

    python -m slipcast.starter.on_gpu --out OUT [--earlier PARTS] [--minutes 8.6] [--leave-out control]
    python -m slipcast.starter.on_gpu --out OUT --rehearse          on a CPU, every step for a moment, in two minutes
    python -m slipcast.starter.on_gpu --unpack PARTS --out FOLDER   weights, to be laid over starter/weights

Needs torch and what the trainings import (numba, scipy, opencv, diffusers, transformers, peft, safetensors, rich, and
EfficientNet-Lite0), no network and none of the shipped weights.

The steps of ``build`` follow each other, each with a share of the time that is left; codec and prior come in slices, so
that a later one sees the objects that were rendered meanwhile. What comes back are averages in half precision:
``base-N.part`` (codec, prior, image-to-3D), all that a later run needs (``--earlier``), ``grown-N.part`` (domain,
control, LoRA, which grow from the prior anew each time), report.json (steps, pictures per second, losses) and
rendering.log. A later run keeps the codec's encoder, goes on with its decoder, the prior and image-to-3D, and renders
objects that no earlier one saw.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..configs.atomic import write_json
from ..configs.errors import BadInput, SlipcastError
from ..systems.training.loop import Budget
from .beginning import begin_from
from .build import STEPS, Preset, forget_paths
from .gpu_plan import PARTS, Plan, plan_for, rehearsal
from .parcel import pack, unpack

VIEWS = 8
BASE, GROWN = ("prior", "lift"), ("domain", "control-canny", "porcelain-lora")
RUN = "run.json"
_LEAST = 0.05  # minutes, for a step that others left no time


def run(plan: Plan, out: Path, work: Path, earlier: Path | None = None) -> dict[str, Any]:
    """Carry a plan out; whatever was trained by then is packed, also when a step fails.

    Args: out: for the files that go back; work: a folder for data and checkpoints, which stay; earlier: parcels.
    Returns: the report.
    Raises: BadInput when the parcels cannot be read; SlipcastError when rendering fails.
    """
    started = time.monotonic()
    runs = begin(earlier, work) if earlier else 0
    report: dict[str, Any] = {"run": runs + 1, "steps": {}}
    renderers = [render(plan, split, runs, work, out) for split in plan.objects]
    try:
        await_objects(plan, work, renderers)
        report["first_objects_after_s"] = round(time.monotonic() - started, 1)
        for step in plan.parts:
            left = plan.minutes - plan.reserve - (time.monotonic() - started) / 60
            for told in sliced(plan, step, left, work):
                report["steps"][step] = told | {"objects": objects_of(work)}
                print(f"{step}: {json.dumps(report['steps'][step])}", flush=True)
    finally:
        for renderer in renderers:
            stop(renderer)
        report["files"] = bring_back(report, work, out)
        report["minutes"] = round((time.monotonic() - started) / 60, 2)
        write_json(out / "report.json", report)
    return report


def begin(earlier: Path, work: Path) -> int:
    """Lay out what an earlier run brought back; how many runs there were."""
    weights = work / "weights"  # what this run does not train goes back as it came
    unpack(earlier, weights)
    begin_from(weights, work, STEPS)
    return int(json.loads((weights / RUN).read_text(encoding="utf-8"))["runs"])


def render(plan: Plan, split: str, runs: int, work: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start rendering objects that no earlier run saw; in a session of its own, so that its workers end with it."""
    count = plan.objects[split]
    options = {
        "split": split, "count": count, "views": VIEWS, "skip": runs * count, "workers": plan.renderers[split],
        "shard-objects": plan.shard_objects, "out": work / "data" / split,
    }  # fmt: skip
    command = [sys.executable, "-m", "slipcast.starter.dataset"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "rendering.log").open("ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def await_objects(plan: Plan, work: Path, renderers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for the first shard of every set. Raises: SlipcastError when a renderer fails."""
    while not all(objects_of(work).get(split, 0) for split in plan.objects):
        if any(renderer.poll() not in (None, 0) for renderer in renderers):
            raise SlipcastError("rendering failed; rendering.log in the output folder says why")
        time.sleep(0.2)


def objects_of(work: Path) -> dict[str, int]:
    """How many shards there are of each set by now."""
    return {
        folder.name: len(list(folder.glob("shard_*.safetensors")))
        for folder in sorted((work / "data").glob("*"))
    }


def sliced(plan: Plan, step: str, left: float, work: Path) -> Iterator[dict[str, Any]]:
    """One step in its slices, each on the data that is there by then; yields how each ended. ``left``: minutes."""
    part, names = plan.parts[step], list(plan.parts)
    later = [plan.parts[name].share for name in names[names.index(step) :]]
    minutes = max(_LEAST, left) * part.share / sum(later)
    budget = Budget(
        minutes=minutes,
        batch=part.batch,
        workers=1,
        learning_rate=1e-3,
        device=plan.device,
        checkpoint_minutes=60.0,
    )
    preset = Preset(minutes, {}, plan.widths, budget, plan.feature_steps)
    for index in range(part.slices):
        clock = time.monotonic()
        STEPS[step](work, preset, replace(budget, pause=minutes * (index + 1) / part.slices))
        yield _pace(work / "train" / step, time.monotonic() - clock, part.batch)


def _pace(folder: Path, wall: float, batch: int) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = lines[-1]
    return {
        "steps": last["step"],
        "seconds": last["seconds"],
        "seconds_per_step": round(last["seconds"] / last["step"], 4),
        "pictures_per_second": round(sum(line["per_second"] for line in lines) / len(lines), 1),
        "loss": last["loss"],
        "wall_s": round(wall, 1),
    }


def bring_back(report: dict[str, Any], work: Path, out: Path) -> dict[str, int]:
    """Pack what was trained into ``out``: {file: bytes}."""
    weights = work / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    forget_paths(weights)
    write_json(weights / RUN, {"runs": report["run"], "steps": report["steps"]})
    files = pack(weights, (*BASE, RUN), out, "base") + pack(weights, GROWN, out, "grown")
    return {path.name: path.stat().st_size for path in files}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on a GPU within minutes, or unpack what came back."""
    parser = argparse.ArgumentParser(prog="python -m slipcast.starter.on_gpu", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="wall time, all together (8.6; of a rehearsal: 2)")
    parser.add_argument("--earlier", type=Path, help="a folder with the base-N.part files of an earlier run")
    parser.add_argument("--work", type=Path, help="for data and checkpoints, which stay (a temporary folder)")
    parser.add_argument(
        "--leave-out", nargs="+", choices=list(PARTS), default=[], help="steps, e.g. without opencv: control"
    )
    parser.add_argument("--rehearse", action="store_true", help="on this CPU, every step for a moment")
    parser.add_argument(
        "--unpack", type=Path, metavar="PARTS", help="lay the parcels of this folder into --out"
    )
    given = parser.parse_args(arguments)
    if given.unpack:
        unpack(given.unpack, given.out)
        return
    if given.rehearse:
        plan = rehearsal(given.minutes or 2.0)
    else:
        plan = plan_for(len(os.sched_getaffinity(0)), given.minutes or 8.6)
    plan = replace(
        plan, parts={name: part for name, part in plan.parts.items() if name not in given.leave_out}
    )
    check(plan)
    with tempfile.TemporaryDirectory(prefix="slipcast-on-gpu-") as scratch:
        report = run(plan, given.out, given.work or Path(scratch), given.earlier)
    print(json.dumps(report, indent=1))


def check(plan: Plan) -> None:
    """Raises: BadInput when the plan's device is not there, or the network for the codec is not installed."""
    import torch

    from ..systems.evaluation.imagenet import load_network

    if plan.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("torch finds no CUDA GPU here; try --rehearse on a CPU")
    if "codec" in plan.parts:
        load_network("lite0")


if __name__ == "__main__":
    main()
