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

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.multiprocessing as mp
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from ...configs.errors import SlipcastError
from ...configs.stopping import asked_to_stop, check_stop
from ..models.precision import DTYPES, quiet_libraries, resolve_dtype
from .budget import Budget
from .checkpoints import from_matrix, load_checkpoint, masters_of, parameters_of, remove_older
from .peers import Peers, launched_peers
from .shard import LOSS, SECONDS, STEP, Shard, Shared, shared_memory

Watch = Callable[[int, float, float], None]
"""(steps done, seconds spent, smoothed loss), after each step or every second."""

__all__ = ["Budget", "Task", "Watch", "began_elsewhere", "compute_dtype", "outcome", "train"]


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


def compute_dtype(device: str, wanted: str = "auto") -> torch.dtype:
    """What networks compute in: as asked for, or bfloat16 where the hardware multiplies it natively, else float32.

    float16, in which small gradients vanish, is taken only where it is asked for; losses are scaled then.
    """
    if wanted != "auto":
        return DTYPES[resolve_dtype(wanted, device)]
    return torch.bfloat16 if resolve_dtype("auto", device) == "bfloat16" else torch.float32


def train(
    task: Task, folder: Path, budget: Budget, *, label: str, watch: Watch | None = None
) -> dict[str, nn.Module]:
    """Train until the budget is spent, going on from an earlier checkpoint; the averaged modules, float32.

    Args:
        watch: told of progress in this process instead of a bar on the terminal.
    Raises: Stopped after Ctrl-C, when everything up to then is saved; SlipcastError for a loss that is no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    peers = launched_peers(torch.device(budget.device).type)
    if peers.count > 1:
        budget = replace(budget, workers=1)
    modules = dict(task.modules())
    earlier = load_checkpoint(folder)
    masters = masters_of(modules)
    if earlier and set(masters) != {name[7:] for name in earlier if name.startswith("master/")}:
        raise SlipcastError(f"{folder} holds a checkpoint of another network; delete it to start anew")
    for name, parameter in parameters_of(modules).items():
        if f"master/{name}" in earlier:
            parameter.data.copy_(from_matrix(earlier[f"master/{name}"], parameter.shape))
    workers = budget.workers
    if workers > 1 and budget.device != "cpu":
        raise ValueError(
            f"several workers share memory on the CPU only, not on {budget.device}; use workers=1"
        )
    for module in modules.values():
        # Before sharing: a later change of layout would silently give every worker weights of its own.
        with _quiet():
            module.to(budget.device, compute_dtype(budget.device, budget.precision))
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in torch's stub
        if workers > 1:
            module.share_memory()
    size = sum(p.numel() for p in parameters_of(modules).values())
    shared = shared_memory(size, budget, mp.get_context("spawn").Barrier(workers))
    if "progress" in earlier:
        told = earlier["progress"]
        shared.clock[: len(told)] = told
    del earlier, masters  # several times the network
    arguments = (task, modules, shared, folder, budget, label)
    if workers == 1:
        _work(0, *arguments, watch=watch, peers=peers)
    else:
        _work_together(arguments, shared, workers, watch)
    peers.wait()
    final = load_checkpoint(folder)
    for module in modules.values():
        with _quiet():
            module.to("cpu", torch.float32)
    with torch.no_grad():
        for name, parameter in parameters_of(modules).items():
            kept = final.get(
                f"average/{name}", final[f"master/{name}"]
            )  # without averages, the weights themselves
            parameter.copy_(from_matrix(kept, parameter.shape))
    return modules


def _quiet() -> contextlib.AbstractContextManager[None]:
    """Without diffusers' note on dtypes, where it is there to make one."""
    return quiet_libraries() if "diffusers" in sys.modules else contextlib.nullcontext()


def _work_together(arguments: Any, shared: Shared, workers: int, watch: Watch | None) -> None:
    """Several workers in processes of their own, which cannot speak to a console of this one."""
    running: Any = mp.start_processes(
        _work, (*arguments, watch is None), nprocs=workers, join=False, start_method="spawn"
    )
    while not running.join(timeout=1.0):
        if watch is not None:
            watch(int(shared.clock[STEP]), float(shared.clock[SECONDS]), float(shared.clock[LOSS]))
    check_stop()


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
        "batch": budget.batch * budget.accumulate * budget.workers,
    }


def _work(
    rank: int,
    task: Task,
    modules: dict[str, nn.Module],
    shared: Shared,
    folder: Path,
    budget: Budget,
    label: str,
    bar: bool = True,
    *,
    watch: Watch | None = None,
    peers: Peers = Peers(),  # noqa: B008 - frozen
) -> None:
    """One worker: losses of its own batches, updates of its own part of the parameters."""
    torch.set_num_threads(1 if budget.workers > 1 else torch.get_num_threads())
    places = {name: parameter.data_ptr() for name, parameter in parameters_of(modules).items()}
    task.open(modules, budget.device)
    if places != {name: parameter.data_ptr() for name, parameter in parameters_of(modules).items()}:
        raise ValueError(
            f"{type(task).__name__}.open moved parameters, which workers share; leave their layout alone"
        )
    shard = Shard(rank, modules, shared, folder, budget, peers)
    per_unit = 60 if budget.steps is None else 1
    total = per_unit * (budget.minutes if budget.steps is None else budget.steps)
    until = total if budget.pause is None else min(total, per_unit * budget.pause)
    parent = os.getppid()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    clock, last_saved, unit = shared.clock, float(shared.clock[SECONDS]), STEP if budget.steps else SECONDS
    leads, ended = rank == 0 and peers.first, False
    with (
        Progress(*columns, disable=not (leads and bar and watch is None)) as shown,
        (folder / "log.jsonl").open("a") as log,
    ):
        line = shown.add_task(label, total=total, note="")
        while float(clock[unit]) < until and not ended:
            started, step = time.perf_counter(), int(clock[STEP])
            value = shard.move(task.loss, step, float(clock[unit]) / total)
            shared.barrier.wait()
            if rank == 0:
                smooth = float(clock[LOSS])
                clock[LOSS] = value if smooth != smooth else smooth + 0.02 * (value - smooth)
                clock[STEP] += 1
                clock[SECONDS] += time.perf_counter() - started
            shared.barrier.wait()
            seconds, done = float(clock[SECONDS]), float(clock[unit])
            ended = _ended(seconds, budget, peers)
            if leads and (step % 20 == 0 or done >= until or ended):
                smooth = float(clock[LOSS])
                speed = budget.batch * budget.accumulate * budget.workers * peers.count
                speed /= time.perf_counter() - started
                shown.update(line, completed=done, note=f"step {step} loss {smooth:.4f} {speed:.0f}/s")
                told = {"step": step + 1, "seconds": round(seconds, 1), "loss": round(smooth, 5)}
                log.write(json.dumps(told | {"per_second": round(speed, 1)}) + "\n")
                log.flush()
            if leads and watch is not None:
                watch(step + 1, seconds, float(clock[LOSS]))
            if budget.workers > 1 and os.getppid() != parent:
                return  # the main process was killed; a training without a head would go on for hours
            by_step = budget.checkpoint_steps and (step + 1) % budget.checkpoint_steps == 0
            if by_step or seconds - last_saved > budget.checkpoint_minutes * 60:
                _save(shard, shared, budget)
                last_saved = seconds
    _save(shard, shared, budget)
    check_stop()


def _save(shard: Shard, shared: Shared, budget: Budget) -> None:
    shard.save()
    shared.barrier.wait()  # all parts are there
    if shard.rank == 0 and shard.peers.first:
        remove_older(shard.folder, int(shared.clock[STEP]), budget.workers)


def _ended(seconds: float, budget: Budget, peers: Peers) -> bool:
    """Whether the minutes are over or somebody asked to stop, here or in any process of the launch."""
    own = asked_to_stop() is not None or (
        budget.most_minutes is not None and seconds >= 60 * budget.most_minutes
    )
    if peers.count == 1:
        return own
    flag = torch.tensor(float(own), device=budget.device)
    peers.add_up(flag)
    return bool(flag > 0)
