"""The training loop that all models share: bf16 compute, float32 master weights, EMA, a budget of minutes, resume.

Convolutions in bf16 run several times faster than in float32 on CPUs with AMX or AVX512-BF16 and on GPUs, but Adam's
small updates vanish in bf16: the modules hold bf16 weights and the optimisers move float32 masters. Matrices and
convolution kernels are moved by Muon (orthogonalised momentum), everything else by AdamW.

On a CPU, one process per core beats one process with many threads (nothing waits inside an operator). The workers share
the bf16 weights in shared memory; each adds up all gradients of its own part of the parameters and moves that part.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.multiprocessing as mp
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..configs.errors import SlipcastError


@dataclass(frozen=True)
class Budget:
    """How long and how hard to train: so many minutes, or exactly so many steps; ``batch`` is per worker."""

    minutes: float = 60.0
    steps: int | None = None
    batch: int = 32
    learning_rate: float = 6e-4
    warmup_steps: int = 150
    ema_decay: float = 0.999
    checkpoint_minutes: float = 2.0
    muon: bool = True
    workers: int = 2
    device: str = "cpu"
    seed: int = 0


class Task(Protocol):
    """What is trained: picklable, opens its data in ``open`` (once in every worker)."""

    def modules(self) -> dict[str, nn.Module]:
        """The networks, freshly and deterministically initialised."""
        ...

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready to compute losses on a device in this process; the parameters must stay where they are."""
        ...

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """A scalar loss of one fresh batch, all randomness from the generator."""
        ...


def train(task: Task, folder: Path, budget: Budget, *, label: str) -> dict[str, nn.Module]:
    """Train until the minutes are spent, going on from an earlier checkpoint; the averaged modules, float32."""
    folder.mkdir(parents=True, exist_ok=True)
    modules = task.modules()
    earlier = _load_checkpoint(folder)
    masters = _masters(modules)
    if earlier and set(masters) != {name[7:] for name in earlier if name.startswith("master/")}:
        raise SlipcastError(f"{folder} holds a checkpoint of another network; delete it to start anew")
    for name, parameter in _parameters(modules).items():
        if f"master/{name}" in earlier:
            parameter.data.copy_(earlier[f"master/{name}"].reshape(parameter.shape))
    workers = max(1, budget.workers)
    if workers > 1 and budget.device != "cpu":
        raise ValueError(
            f"several workers share memory on the CPU only, not on {budget.device}; use workers=1"
        )
    for module in modules.values():
        # Before sharing: a later change of layout would silently give every worker weights of its own.
        module.to(budget.device, torch.bfloat16, memory_format=torch.channels_last)
        if workers > 1:
            module.share_memory()
    size = sum(p.numel() for p in _parameters(modules).values())
    shared = _Shared(
        torch.zeros(workers, size).share_memory_(),
        torch.zeros(workers).share_memory_(),
        torch.zeros(4, dtype=torch.float64).share_memory_(),
        mp.get_context("spawn").Barrier(workers),
    )
    if "progress" in earlier:
        shared.clock[:2] = earlier["progress"]
    arguments = (task, modules, shared, folder, budget, label)
    if workers == 1:
        _work(0, *arguments)
    else:
        mp.start_processes(_work, arguments, nprocs=workers, start_method="spawn")  # pyright: ignore
    final = _load_checkpoint(folder)
    for module in modules.values():
        module.to("cpu", torch.float32)
    with torch.no_grad():
        for name, parameter in _parameters(modules).items():
            parameter.copy_(final[f"average/{name}"].reshape(parameter.shape))
    return modules


@dataclass(frozen=True)
class _Shared:
    """Memory that all workers see: gradients [worker, P], squared norms [worker], clock (step, seconds, stop, loss)."""

    gradients: Tensor
    norms: Tensor
    clock: Tensor
    barrier: object


def _work(
    rank: int,
    task: Task,
    modules: dict[str, nn.Module],
    shared: _Shared,
    folder: Path,
    budget: Budget,
    label: str,
) -> None:
    """One worker: losses of its own batches, updates of its own part of the parameters."""
    torch.set_num_threads(1 if budget.workers > 1 else torch.get_num_threads())
    places = {name: parameter.data_ptr() for name, parameter in _parameters(modules).items()}
    task.open(modules, budget.device)
    if places != {name: parameter.data_ptr() for name, parameter in _parameters(modules).items()}:
        raise ValueError(
            f"{type(task).__name__}.open moved parameters, which workers share; leave their layout alone"
        )
    shard = _Shard(rank, modules, shared, folder, budget)
    total = budget.minutes * 60 if budget.steps is None else budget.steps
    parent = os.getppid()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    smooth, last_saved, unit = None, float(shared.clock[1]), 1 if budget.steps is None else 0
    with Progress(*columns, disable=rank > 0) as bar, (folder / "log.jsonl").open("a") as log:
        line = bar.add_task(label, total=total, completed=float(shared.clock[unit]), note="")
        while float(shared.clock[unit]) < total:
            started, step = time.perf_counter(), int(shared.clock[0])
            value = shard.move(task, step, float(shared.clock[unit]) / total)
            smooth = value if smooth is None else smooth + 0.02 * (value - smooth)
            shared.barrier.wait()  # pyright: ignore
            if rank == 0:
                shared.clock[0] += 1
                shared.clock[1] += time.perf_counter() - started
            shared.barrier.wait()  # pyright: ignore
            seconds = float(shared.clock[1])
            if rank == 0 and step % 20 == 0:
                speed = budget.batch * max(1, budget.workers) / (time.perf_counter() - started)
                bar.update(
                    line,
                    completed=float(shared.clock[unit]),
                    note=f"step {step} loss {smooth:.4f} {speed:.0f}/s",
                )
                log.write(
                    json.dumps(
                        {
                            "step": step,
                            "seconds": round(seconds, 1),
                            "loss": round(smooth, 5),
                            "per_second": round(speed, 1),
                        }
                    )
                    + "\n"
                )
                log.flush()
            if budget.workers > 1 and os.getppid() != parent:
                return  # the main process was killed; a training without a head would go on for hours
            if seconds - last_saved > budget.checkpoint_minutes * 60:
                shard.save()
                last_saved = seconds
    shard.save()


class _Shard:
    """The part of the parameters that one worker moves."""

    def __init__(
        self, rank: int, modules: dict[str, nn.Module], shared: _Shared, folder: Path, budget: Budget
    ) -> None:
        self.rank, self.shared, self.folder, self.budget = rank, shared, folder, budget
        self.live = _parameters(modules)
        self.slices, start = {}, 0
        for name, parameter in self.live.items():
            self.slices[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        earlier = _load_checkpoint(folder)
        self.masters: dict[str, Tensor] = {}
        loads = [0.0] * max(1, budget.workers)
        for name, parameter in sorted(self.live.items(), key=lambda item: -item[1].numel()):
            owner = loads.index(min(loads))
            loads[owner] += parameter.numel()
            if owner == rank:
                master = earlier.get(f"master/{name}", parameter.detach()).to(budget.device, torch.float32)
                self.masters[name] = _as_matrix(master.clone())
        self.average = {
            n: earlier.get(f"average/{n}", m).to(budget.device, torch.float32).clone()
            for n, m in self.masters.items()
        }
        self.optimisers: list[tuple[torch.optim.Optimizer, list[str]]] = []
        matrices = [
            n
            for n, m in self.masters.items()
            if budget.muon and m.ndim == 2 and min(m.shape) > 16 and "embedding" not in n
        ]
        others = [n for n in self.masters if n not in set(matrices)]
        if matrices:
            muon = torch.optim.Muon(
                [self.masters[n] for n in matrices], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
            )
            self.optimisers.append((muon, matrices))
        if others:
            adam = torch.optim.AdamW([self.masters[n] for n in others], betas=(0.9, 0.99), weight_decay=0.0)
            self.optimisers.append((adam, others))
        for optimiser, names in self.optimisers:
            state = {}
            for index, name in enumerate(names):
                fields = {k.split("/")[-1]: v for k, v in earlier.items() if k.startswith(f"moment/{name}/")}
                if fields:
                    state[index] = fields
            if state:
                optimiser.load_state_dict(
                    {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
                )

    def move(self, task: Task, step: int, spent: float) -> float:
        """One step: loss and gradients of this worker's batch, then the update of this worker's parameters."""
        seed = (self.budget.seed * 1_000_003 + step) * 64 + self.rank
        loss = task.loss(self.budget.batch, torch.Generator().manual_seed(seed))
        if not torch.isfinite(loss):
            raise SlipcastError(
                f"the loss became {loss.item()} at step {step}; delete {self.folder} and train more slowly"
            )
        loss.backward()
        mine = self.shared.gradients[self.rank]
        for name, parameter in self.live.items():
            if parameter.grad is None:
                mine[self.slices[name]] = 0
            else:
                mine[self.slices[name]] = parameter.grad.reshape(-1).float()
                parameter.grad = None
        self.shared.barrier.wait()  # pyright: ignore
        squared = 0.0
        for name, master in self.masters.items():
            master.grad = self.shared.gradients[:, self.slices[name]].mean(0).reshape(master.shape)
            squared += float(master.grad.square().sum())
        self.shared.norms[self.rank] = squared
        self.shared.barrier.wait()  # pyright: ignore
        clip = min(1.0, 1.0 / (math.sqrt(float(self.shared.norms.sum())) + 1e-6))
        rate = self.budget.learning_rate * _rate(step, spent, self.budget.warmup_steps)
        for master in self.masters.values():
            master.grad.mul_(clip)  # pyright: ignore
        for optimiser, _ in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        # The average warms up with the run, so that a short training is not held back by its start.
        decay = min(self.budget.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, master in self.masters.items():
                self.live[name].copy_(master.reshape(self.live[name].shape))
                self.average[name].lerp_(master, 1 - decay)
        return loss.item()

    def save(self) -> None:
        """Write this worker's part atomically: masters, averages, moments, and where the run stands."""
        tensors = {f"master/{n}": m.detach() for n, m in self.masters.items()}
        tensors |= {f"average/{n}": a for n, a in self.average.items()}
        for optimiser, names in self.optimisers:
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"moment/{names[index]}/{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["progress"] = self.shared.clock[:2].clone()
        partial = self.folder / f"checkpoint-{self.rank}.partial"
        save_file(tensors, partial)
        os.replace(partial, self.folder / f"checkpoint-{self.rank}.safetensors")


def _load_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All workers' parts together, keyed by parameter name: any number of workers can go on from them."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("checkpoint-*.safetensors")):
        tensors |= load_file(path)
    return tensors


def _parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def _masters(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {name: _as_matrix(p.detach().float()) for name, p in _parameters(modules).items()}


def _as_matrix(weight: Tensor) -> Tensor:
    """Convolution kernels as [out, in * k * k], which is how Muon orthogonalises them."""
    return weight.reshape(weight.shape[0], -1).contiguous() if weight.ndim > 2 else weight


def _rate(step: int, spent: float, warmup: int) -> float:
    """Linear warm-up, flat, then a cosine to zero over the last 60 % of the budget."""
    decay = 1.0 if spent < 0.4 else 0.5 * (1 + math.cos(math.pi * (spent - 0.4) / 0.6))
    return min(1.0, (step + 1) / warmup) * max(decay, 0.01)
