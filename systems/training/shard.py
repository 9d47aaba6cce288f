"""One worker's part of a training: its float32 master weights, their optimisers and averages.

The workers share the modules' weights and a row of gradients each. A worker adds up everybody's gradients of its own
parameters and moves those; the sum of all parts is one ordinary step of data-parallel training. A worker that is alone
holds no second copy of its gradients: they go from the network to the optimisers some parameters at a time, so that
only these are ever in float32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...configs.errors import SlipcastError
from .adamw8bit import AdamW8bit
from .budget import Budget, rate_at
from .checkpoints import as_matrix, from_matrix, load_checkpoint, masters_of, parameters_of, save_part
from .muon import Muon
from .peers import Peers

__all__ = ["Budget", "Shard", "Shared", "masters_of", "parameters_of", "shared_memory"]

LossOf = Callable[[int, torch.Generator], Tensor]
"""(batch, generator) -> scalar loss of one fresh batch."""

_CHUNK = 2**25  # numbers that are moved at a time
_FEW = 4096  # numbers of a parameter whose moments stay in full
_EMA_EVERY = 10  # steps, where averages lie in main memory
_HIGHEST_SCALE, _SCALE_STEPS = 2.0**16, 1000

STEP, SECONDS, SCALE, GOOD_STEPS, LOSS = range(5)
"""Places of ``Shared.clock``: steps done, seconds spent, float16's factor on losses and steps since it changed, and
the smoothed loss (NaN before the first)."""


@dataclass(frozen=True)
class Shared:
    """Memory that all workers see: gradients [worker, P] (empty for one alone), squared norms [worker], clock [5]."""

    gradients: Tensor
    norms: Tensor
    clock: Tensor
    barrier: Any


def shared_memory(size: int, budget: Budget, barrier: Any) -> Shared:
    """Memory for the gradients of ``size`` parameters: shared by several workers; one alone needs none."""
    workers = budget.workers
    gradients = torch.zeros(workers, size if workers > 1 else 0, device=budget.device)
    norms, clock = torch.zeros(workers, device=budget.device), torch.zeros(5, dtype=torch.float64)
    clock[SCALE], clock[LOSS] = _HIGHEST_SCALE, math.nan
    if workers > 1:
        for tensor in (gradients, norms, clock):
            tensor.share_memory_()
    return Shared(gradients, norms, clock, barrier)


class Shard:
    """The part of the parameters that one worker moves."""

    def __init__(
        self,
        rank: int,
        modules: Mapping[str, nn.Module],
        shared: Shared,
        folder: Path,
        budget: Budget,
        peers: Peers = Peers(),  # noqa: B008 - frozen
    ) -> None:
        self.rank, self.shared, self.folder, self.budget, self.peers = rank, shared, folder, budget, peers
        self.live = parameters_of(modules)
        self.slices, start = {}, 0
        for name, parameter in self.live.items():
            self.slices[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        self.half = any(p.dtype == torch.float16 for p in self.live.values())
        earlier = load_checkpoint(folder)
        self.masters: dict[str, Tensor] = {}
        loads = [0.0] * budget.workers
        for name, parameter in sorted(self.live.items(), key=lambda item: -item[1].numel()):
            owner = loads.index(min(loads))
            loads[owner] += parameter.numel()
            if owner == rank:
                master = earlier.get(f"master/{name}", parameter.detach()).to(budget.device, torch.float32)
                self.masters[name] = as_matrix(master.clone())
        self.average = self.masters
        if budget.ema_decay > 0:
            place = "cpu" if budget.ema_on_cpu else budget.device
            self.average = {
                n: earlier.get(f"average/{n}", m).to(place, torch.float32).reshape(m.shape).clone()
                for n, m in self.masters.items()
            }
        self.optimisers = self._optimisers()
        for optimiser, names in self.optimisers:
            for name in names:
                fields = {k.split("/")[-1]: v for k, v in earlier.items() if k.startswith(f"moment/{name}/")}
                if (
                    fields
                ):  # put there as they are: ``load_state_dict`` would turn codes of 8 bits into floats
                    whole = optimiser.defaults.get("fused")  # counts its steps where the weights are
                    optimiser.state[self.masters[name]] = {
                        k: v.to(budget.device) if k != "step" or whole else v.clone()
                        for k, v in fields.items()
                    }
        self._sums: dict[str, Tensor] = {}

    def _optimisers(self) -> list[tuple[torch.optim.Optimizer, list[str]]]:
        """Each with the names of its parameters, ``_CHUNK`` numbers at most: what is moved at a time."""
        budget = self.budget
        kinds: dict[str, list[str]] = {"muon": [], "adamw8bit": [], "adamw": []}
        for name, master in self.masters.items():
            matrix = master.ndim == 2 and min(master.shape) > 16 and "embedding" not in name
            few = budget.optimizer == "muon" and not matrix
            # Few numbers are a small part of the memory, and a large one of what rounding can spoil.
            few |= budget.optimizer == "adamw8bit" and master.numel() < _FEW
            kinds["adamw" if few else budget.optimizer].append(name)
        made: list[tuple[torch.optim.Optimizer, list[str]]] = []
        for kind, names in kinds.items():
            for some in _chunks(names, self.masters):
                masters = [self.masters[name] for name in some]
                if kind == "muon":
                    dtype = self.live[some[0]].dtype
                    made.append((Muon(masters, dtype=dtype, weight_decay=0.01), some))
                else:
                    made.append((_adamw(kind, masters, budget), some))
        return made

    def move(self, loss_of: LossOf, step: int, spent: float) -> float:
        """One step: losses and gradients of this worker's batches, then the update of this worker's parameters.

        Returns: the mean loss of this worker's batches.
        Raises: SlipcastError for a loss or gradient that is NaN or infinite.
        """
        budget, clock = self.budget, self.shared.clock
        scale = float(clock[SCALE]) if self.half else 1.0
        told = 0.0
        for part in range(budget.accumulate):
            loss = loss_of(budget.batch, self._generator(step, part))
            (loss if budget.accumulate == scale == 1 else loss * (scale / budget.accumulate)).backward()
            told += loss.item() / budget.accumulate
            self._take_gradients(part)
        self.shared.barrier.wait()
        gradients = self._gathered(told)
        # One number leaves the device, not one for each parameter: a GPU would wait for every one of them.
        norms = [
            norm
            for _, names in self.optimisers
            for norm in torch._foreach_norm([gradients[name].float() for name in names])
        ]
        # Where there are more workers than parameters, a worker moves none.
        squared = torch.stack(norms).double().square().sum() if norms else 0.0
        self.shared.norms[self.rank] = squared if math.isfinite(told) else math.nan
        self.shared.barrier.wait()
        norm = math.sqrt(float(self.shared.norms.sum())) / scale
        if not math.isfinite(norm):
            if self.half and math.isfinite(told) and scale > 1:
                clock[SCALE], clock[GOOD_STEPS] = scale / 2, 0
                return told  # too large a factor for float16, which is no fault of the training
            raise SlipcastError(
                f"the loss became {told} at step {step}, its gradients' norm {norm}; the last good weights are kept "
                f"in {self.folder}: train more slowly, or look for broken pictures"
            )
        rate = budget.learning_rate * rate_at(step, spent, budget)
        clip = min(1.0, 1.0 / (norm + 1e-6)) / scale
        for optimiser, names in self.optimisers:
            masters = [self.masters[name] for name in names]
            for name, master in zip(names, masters, strict=True):
                master.grad = gradients.pop(name).float()
            if clip != 1:
                torch._foreach_mul_([master.grad for master in masters if master.grad is not None], clip)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            for master in masters:
                master.grad = None
        with torch.no_grad():
            for name, master in self.masters.items():
                self.live[name].copy_(from_matrix(master, self.live[name].shape))
        self._average(step)
        if self.half and self.rank == 0:
            self._grow_scale()
        return told

    def _generator(self, step: int, part: int) -> torch.Generator:
        """The randomness of one batch of the step.

        Two processes draw what one would draw that accumulates twice: the same step, however it is shared.
        """
        seed = (self.budget.seed * 1_000_003 + step) * 64 + self.rank
        if number := part * self.peers.count + self.peers.rank:
            seed = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:7])
        return torch.Generator().manual_seed(seed)

    def _take_gradients(self, part: int) -> None:
        """Gradients out of the network, added to those of the step's earlier batches in float32."""
        alone = self.budget.workers == 1
        mine = None if alone else self.shared.gradients[self.rank]
        for name, parameter in self.live.items():
            found, parameter.grad = parameter.grad, None
            if mine is not None:
                place = mine[self.slices[name]]
                if part == 0:
                    place.zero_()
                if found is not None:
                    place.add_(as_matrix(found).reshape(-1))
            elif found is not None and self.budget.accumulate > 1:
                self._sums[name] = self._sums[name].add_(found) if part else found.float()
            elif part == 0:
                self._sums[name] = torch.zeros_like(parameter) if found is None else found

    def _gathered(self, told: float) -> dict[str, Tensor]:
        """Gradients of this worker's parameters, over all workers and processes, in their masters' shapes."""
        if self.budget.workers > 1:
            all_of = self.shared.gradients
            return {n: all_of[:, self.slices[n]].mean(0).reshape(m.shape) for n, m in self.masters.items()}
        found, self._sums = self._sums, {}
        if self.peers.count > 1:
            flat = torch.cat([as_matrix(found.pop(n)).float().reshape(-1) for n in self.live])
            if not math.isfinite(told):
                flat.fill_(math.nan)  # all of them stop
            self.peers.add_up(flat)
            flat /= self.peers.count
            return {n: flat[self.slices[n]].view(m.shape) for n, m in self.masters.items()}
        if sum(master.numel() for master in self.masters.values()) <= _CHUNK:  # in float32 once and for all
            return {n: as_matrix(found[n]).float() for n in self.masters}
        return {n: as_matrix(found[n]) for n in self.masters}

    def _average(self, step: int) -> None:
        """The average warms up with the run, so that a short training is not held back by its start."""
        budget = self.budget
        if not self.masters or self.average is self.masters:
            return
        decay = min(budget.ema_decay, (1 + step) / (10 + step))
        averages, masters = list(self.average.values()), list(self.masters.values())
        with torch.no_grad():
            if not budget.ema_on_cpu:
                torch._foreach_lerp_(averages, masters, 1 - decay)
            elif step % _EMA_EVERY == _EMA_EVERY - 1:
                for average, master in zip(averages, masters, strict=True):
                    average.lerp_(master.to("cpu"), 1 - decay**_EMA_EVERY)

    def _grow_scale(self) -> None:
        clock = self.shared.clock
        clock[GOOD_STEPS] += 1
        if clock[GOOD_STEPS] >= _SCALE_STEPS and clock[SCALE] < _HIGHEST_SCALE:
            clock[SCALE], clock[GOOD_STEPS] = 2 * clock[SCALE], 0

    def save(self) -> None:
        """Write this worker's part: masters, averages, moments, and where the run stands; see ``checkpoints``."""
        if not self.peers.first:
            return
        tensors = {f"master/{n}": m.detach() for n, m in self.masters.items()}
        if self.average is not self.masters:
            tensors |= {f"average/{n}": a for n, a in self.average.items()}
        for optimiser, names in self.optimisers:
            for name in names:
                state = optimiser.state.get(self.masters[name], {})
                tensors |= {f"moment/{name}/{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["progress"] = self.shared.clock.clone()
        save_part(self.folder, tensors, int(self.shared.clock[STEP]), self.rank, self.budget.workers)


def _adamw(kind: str, masters: list[Tensor], budget: Budget) -> torch.optim.Optimizer:
    """In one pass over the numbers where torch can (``fused``)."""
    own = {"betas": budget.betas, "weight_decay": budget.weight_decay}
    if kind == "adamw8bit":
        return AdamW8bit(masters, **own)
    return torch.optim.AdamW(masters, **own, fused=torch.device(budget.device).type in ("cpu", "cuda"))


def _chunks(names: list[str], masters: Mapping[str, Tensor]) -> list[list[str]]:
    chunks: list[list[str]] = []
    room = 0
    for name in names:
        if not chunks or masters[name].numel() > room:
            chunks.append([])
            room = _CHUNK
        chunks[-1].append(name)
        room -= masters[name].numel()
    return chunks
