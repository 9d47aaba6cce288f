"""One worker's part of a training: its float32 master weights, their optimisers and averages, and its checkpoint.

The workers share the modules' weights and a row of gradients each. A worker adds up everybody's gradients of its own
parameters and moves those; the sum of all parts is one ordinary step of data-parallel training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...configs.atomic import write_safetensors
from ...configs.errors import SlipcastError
from .muon import Muon

LossOf = Callable[[int, torch.Generator], Tensor]
"""(batch, generator) -> scalar loss of one fresh batch."""


@dataclass(frozen=True)
class Budget:
    """How long and how hard to train: so many minutes, or exactly so many steps; ``batch`` is per worker.

    ``pause``, in the same unit, stops earlier as an interruption would: the learning rate follows the whole plan, and a
    later call goes on from there, perhaps on more data.
    """

    minutes: float = 60.0
    steps: int | None = None
    pause: float | None = None
    batch: int = 32
    learning_rate: float = 6e-4
    warmup_steps: int = 150
    ema_decay: float = 0.999
    checkpoint_minutes: float = 2.0
    muon: bool = True
    workers: int = 2
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True)
class Shared:
    """Memory that all workers see: gradients [worker, P], squared norms [worker], clock (step, seconds, stop, loss)."""

    gradients: Tensor
    norms: Tensor
    clock: Tensor
    barrier: Any


def shared_memory(size: int, budget: Budget, barrier: Any) -> Shared:
    """Memory for the gradients of ``size`` parameters: shared by several workers, on the device of a single one."""
    workers = max(1, budget.workers)
    gradients = torch.zeros(workers, size, device=budget.device)
    norms, clock = torch.zeros(workers, device=budget.device), torch.zeros(4, dtype=torch.float64)
    if workers > 1:
        for tensor in (gradients, norms, clock):
            tensor.share_memory_()
    return Shared(gradients, norms, clock, barrier)


class Shard:
    """The part of the parameters that one worker moves."""

    def __init__(
        self, rank: int, modules: dict[str, nn.Module], shared: Shared, folder: Path, budget: Budget
    ) -> None:
        self.rank, self.shared, self.folder, self.budget = rank, shared, folder, budget
        self.live = parameters_of(modules)
        self.slices, start = {}, 0
        for name, parameter in self.live.items():
            self.slices[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        earlier = load_checkpoint(folder)
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
            dtype = self.live[matrices[0]].dtype
            muon = Muon([self.masters[n] for n in matrices], dtype=dtype, weight_decay=0.01)
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

    def move(self, loss_of: LossOf, step: int, spent: float) -> float:
        """One step: loss and gradients of this worker's batch, then the update of this worker's parameters."""
        seed = (self.budget.seed * 1_000_003 + step) * 64 + self.rank
        loss = loss_of(self.budget.batch, torch.Generator().manual_seed(seed))
        loss.backward()
        mine = self.shared.gradients[self.rank]
        for name, parameter in self.live.items():
            part = mine[self.slices[name]].view(parameter.shape)
            if parameter.grad is None:
                part.zero_()
            else:
                part.copy_(parameter.grad)
                parameter.grad = None
        self.shared.barrier.wait()
        for name, master in self.masters.items():
            master.grad = self.shared.gradients[:, self.slices[name]].mean(0).reshape(master.shape)
        gradients = [gradient for master in self.masters.values() if (gradient := master.grad) is not None]
        # One number leaves the device, not one for each parameter: a GPU would wait for every one of them.
        squared = torch.stack([gradient.square().sum() for gradient in gradients]).double().sum()
        self.shared.norms[self.rank] = squared if math.isfinite(loss.item()) else math.nan
        self.shared.barrier.wait()
        norm = math.sqrt(float(self.shared.norms.sum()))
        if not math.isfinite(norm):
            raise SlipcastError(
                f"the loss became {loss.item()} at step {step}, its gradients' norm {norm}; delete {self.folder} "
                "and train more slowly"
            )
        rate = self.budget.learning_rate * _rate(step, spent, self.budget.warmup_steps)
        torch._foreach_mul_(gradients, min(1.0, 1.0 / (norm + 1e-6)))
        for optimiser, _ in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        # The average warms up with the run, so that a short training is not held back by its start.
        decay = min(self.budget.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, master in self.masters.items():
                self.live[name].copy_(master.reshape(self.live[name].shape))
            torch._foreach_lerp_(list(self.average.values()), list(self.masters.values()), 1 - decay)
        return loss.item()

    def save(self) -> None:
        """Write this worker's part atomically: masters, averages, moments, and where the run stands."""
        tensors = {f"master/{n}": m.detach() for n, m in self.masters.items()}
        tensors |= {f"average/{n}": a for n, a in self.average.items()}
        for optimiser, names in self.optimisers:
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"moment/{names[index]}/{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["progress"] = self.shared.clock[:2].clone()
        write_safetensors(self.folder / f"checkpoint-{self.rank}.safetensors", tensors)


def begin_from(modules: Mapping[str, nn.Module], folder: Path) -> None:
    """Let a training that has not begun yet start from trained networks instead of random ones; clock at 0."""
    if any(folder.glob("checkpoint-*.safetensors")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    masters = masters_of(modules)
    tensors = {f"master/{n}": m for n, m in masters.items()} | {f"average/{n}": m for n, m in masters.items()}
    write_safetensors(
        folder / "checkpoint-0.safetensors", {name: tensor.clone() for name, tensor in tensors.items()}
    )


def load_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All workers' parts together, keyed by parameter name: any number of workers can go on from them."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("checkpoint-*.safetensors")):
        tensors |= load_file(path)
    return tensors


def parameters_of(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """All trainable parameters by ``module.parameter``."""
    return {
        f"{prefix}.{name}": parameter
        for prefix, module in modules.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def masters_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Float32 copies of them, kernels as matrices."""
    return {name: _as_matrix(p.detach().float()) for name, p in parameters_of(modules).items()}


def _as_matrix(weight: Tensor) -> Tensor:
    """Convolution kernels as [out, in * k * k], which is how Muon orthogonalises them."""
    return weight.reshape(weight.shape[0], -1).contiguous() if weight.ndim > 2 else weight


def _rate(step: int, spent: float, warmup: int) -> float:
    """Linear warm-up, flat, then a cosine to zero over the last 60 % of the budget."""
    decay = 1.0 if spent < 0.4 else 0.5 * (1 + math.cos(math.pi * (spent - 0.4) / 0.6))
    return min(1.0, (step + 1) / warmup) * max(decay, 0.01)
