"""The training loop that all models share: float32 master weights, EMA, a budget of minutes, resume, pauses.

Convolutions in bf16 run several times faster than in float32 on CPUs with AMX or AVX512-BF16 and on GPUs, and several
times slower on CPUs without, so the hardware decides (``compute_dtype``). Adam's small updates vanish in bf16: the
modules hold weights of that dtype and the optimisers move float32 masters. Matrices and convolution kernels are moved
by Muon (orthogonalised momentum), everything else by AdamW.

On a CPU, one process per core beats one process with many threads (nothing waits inside an operator). The workers share
the modules' weights in shared memory; each adds up all gradients of its own part of the parameters and moves that part.
A single worker shares nothing, and everything lies on the budget's device.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.multiprocessing as mp
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from ...configs.errors import SlipcastError
from ..models.precision import resolve_dtype
from .shard import Budget, Shard, Shared, load_checkpoint, masters_of, parameters_of, shared_memory

__all__ = ["Budget", "Task", "began_elsewhere", "compute_dtype", "outcome", "train"]


class Task(Protocol):
    """What is trained: picklable, opens its data in ``open`` (once in every worker)."""

    def modules(self) -> Mapping[str, nn.Module]:
        """The networks, freshly and deterministically initialised."""
        ...

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready to compute losses on a device in this process; the parameters must stay where they are.

        The modules come in ``compute_dtype(device)``; inputs have to be given in it.
        """
        ...

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """A scalar loss of one fresh batch, all randomness from the generator."""
        ...


def compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, otherwise float32: in float16 small gradients vanish."""
    return torch.bfloat16 if resolve_dtype("auto", device) == "bfloat16" else torch.float32


def train(task: Task, folder: Path, budget: Budget, *, label: str) -> dict[str, nn.Module]:
    """Train until the minutes are spent, going on from an earlier checkpoint; the averaged modules, float32."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = dict(task.modules())
    earlier = load_checkpoint(folder)
    masters = masters_of(modules)
    if earlier and set(masters) != {name[7:] for name in earlier if name.startswith("master/")}:
        raise SlipcastError(f"{folder} holds a checkpoint of another network; delete it to start anew")
    for name, parameter in parameters_of(modules).items():
        if f"master/{name}" in earlier:
            parameter.data.copy_(earlier[f"master/{name}"].reshape(parameter.shape))
    workers = max(1, budget.workers)
    if workers > 1 and budget.device != "cpu":
        raise ValueError(
            f"several workers share memory on the CPU only, not on {budget.device}; use workers=1"
        )
    for module in modules.values():
        # Before sharing: a later change of layout would silently give every worker weights of its own.
        module.to(budget.device, compute_dtype(budget.device))
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in torch's stub
        if workers > 1:
            module.share_memory()
    size = sum(p.numel() for p in parameters_of(modules).values())
    shared = shared_memory(size, budget, mp.get_context("spawn").Barrier(workers))
    if "progress" in earlier:
        shared.clock[:2] = earlier["progress"]
    arguments = (task, modules, shared, folder, budget, label)
    if workers == 1:
        _work(0, *arguments)
    else:
        mp.start_processes(_work, arguments, nprocs=workers, start_method="spawn")
    final = load_checkpoint(folder)
    for module in modules.values():
        module.to("cpu", torch.float32)
    with torch.no_grad():
        for name, parameter in parameters_of(modules).items():
            parameter.copy_(final[f"average/{name}"].reshape(parameter.shape))
    return modules


def began_elsewhere(folder: Path, identity: str) -> bool:
    """Whether a training must start: it never ran, or it grew from another base, and is then forgotten."""
    note = folder / "base.txt"
    if note.exists() and note.read_text() == identity:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    note.write_text(identity)
    return True


def outcome(folder: Path, budget: Budget) -> dict[str, Any]:
    """Where a training ended, for the model's card."""
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    return {
        "steps": last["step"],
        "seconds": last["seconds"],
        "loss": last["loss"],
        "batch": budget.batch * budget.workers,
    }


def _work(
    rank: int,
    task: Task,
    modules: dict[str, nn.Module],
    shared: Shared,
    folder: Path,
    budget: Budget,
    label: str,
) -> None:
    """One worker: losses of its own batches, updates of its own part of the parameters."""
    torch.set_num_threads(1 if budget.workers > 1 else torch.get_num_threads())
    places = {name: parameter.data_ptr() for name, parameter in parameters_of(modules).items()}
    task.open(modules, budget.device)
    if places != {name: parameter.data_ptr() for name, parameter in parameters_of(modules).items()}:
        raise ValueError(
            f"{type(task).__name__}.open moved parameters, which workers share; leave their layout alone"
        )
    shard = Shard(rank, modules, shared, folder, budget)
    per_unit = 60 if budget.steps is None else 1
    total = per_unit * (budget.minutes if budget.steps is None else budget.steps)
    until = total if budget.pause is None else min(total, per_unit * budget.pause)
    parent, workers = os.getppid(), max(1, budget.workers)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    smooth, last_saved, unit = None, float(shared.clock[1]), 1 if budget.steps is None else 0
    with Progress(*columns, disable=rank > 0) as bar, (folder / "log.jsonl").open("a") as log:
        line = bar.add_task(label, total=total, note="")
        while float(shared.clock[unit]) < until:
            started, step = time.perf_counter(), int(shared.clock[0])
            value = shard.move(task.loss, step, float(shared.clock[unit]) / total)
            smooth = value if smooth is None else smooth + 0.02 * (value - smooth)
            shared.barrier.wait()
            if rank == 0:
                shared.clock[0] += 1
                shared.clock[1] += time.perf_counter() - started
            shared.barrier.wait()
            seconds = float(shared.clock[1])
            done = float(shared.clock[unit])
            if rank == 0 and (step % 20 == 0 or done >= until):
                speed = budget.batch * workers / (time.perf_counter() - started)
                bar.update(line, completed=done, note=f"step {step} loss {smooth:.4f} {speed:.0f}/s")
                told = {"step": step + 1, "seconds": round(seconds, 1), "loss": round(smooth, 5)}
                log.write(json.dumps(told | {"per_second": round(speed, 1)}) + "\n")
                log.flush()
            if budget.workers > 1 and os.getppid() != parent:
                return  # the main process was killed; a training without a head would go on for hours
            if seconds - last_saved > budget.checkpoint_minutes * 60:
                shard.save()
                last_saved = seconds
    shard.save()
