"""How many bytes a training needs, counted before it begins, and what is chosen so that it fits.

Everything is counted on the device "meta", where tensors have sizes and no numbers: weights, masters, gradients,
moments and averages by their parameters, and activations by running the network's own loss and noting what autograd
keeps for the backward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ...configs.errors import BadInput
from .adamw8bit import BYTES as EIGHT_BITS
from .budget import Budget

GB = 10**9
_CHUNK_BYTES = 3 * 4 * 2**25  # gradients in float32 and two temporaries of what is moved at a time
_DEVICE_BYTES = int(0.6 * GB)  # a GPU's context and libraries, by the word of nvidia-smi for CUDA 12
_UNITS = ("ResnetBlock2D", "BasicTransformerBlock")  # what diffusers checkpoints


@dataclass(frozen=True)
class Memory:
    """Bytes on the device, by what they are for."""

    weights: int
    masters: int
    gradients: int
    moments: int
    averages: int
    activations: int
    rest: int

    @property
    def total(self) -> int:
        """All together."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Choice:
    """What a training does to fit, and what it then needs."""

    budget: Budget
    checkpointing: bool
    memory: Memory

    def sentence(self) -> str:
        """For people."""
        done = [
            f"{self.budget.batch} pictures at a time"
            + (f", {self.budget.accumulate} times a step" if self.budget.accumulate > 1 else ""),
            "activations computed again" if self.checkpointing else "",
            "moments of 8 bits" if self.budget.optimizer == "adamw8bit" else "",
            "averages in main memory" if self.budget.ema_on_cpu else "",
        ]
        return f"{self.memory.total / GB:.1f} GB by count: " + ", ".join(one for one in done if one)


@dataclass(frozen=True)
class Activations:
    """What autograd keeps of one forward pass: everything, or with checkpointing inputs and the largest block."""

    kept: int
    checkpointed: int


def activations_of(network: nn.Module, loss: Callable[[], Tensor], *, fused: bool) -> Activations:
    """Count what a loss on the device "meta" keeps for its backward pass.

    Args:
        fused: attention as GPUs compute it: its probabilities are never kept.
    """
    weights = {one.untyped_storage()._cdata for one in (*network.parameters(), *network.buffers())}
    seen: set[int] = set()
    units: list[dict[str, int]] = []
    outside, inside = 0, False

    def pack(tensor: Tensor) -> Tensor:
        nonlocal outside
        place = tensor.untyped_storage()._cdata
        if place not in weights and place not in seen:
            seen.add(place)
            size = tensor.untyped_storage().nbytes()
            if inside:
                units[-1]["kept"] += size
            else:
                outside += size
        return tensor

    def enter(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal inside
        inside = True
        tensors = [one for one in (*given, *named.values()) if isinstance(one, Tensor)]
        units.append({"kept": 0, "input": sum(one.numel() * one.element_size() for one in tensors[:2])})

    def leave(module: Any, given: Any, answer: Any) -> None:
        nonlocal inside
        inside = False

    hooks: list[Any] = []
    for module in network.modules():
        if type(module).__name__ in _UNITS:
            hooks += [
                module.register_forward_pre_hook(enter, with_kwargs=True),
                module.register_forward_hook(leave),
            ]
    try:
        with _fused_attention() if fused else contextlib.nullcontext():
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                graph = loss()
            del graph
    finally:
        for hook in hooks:
            hook.remove()
    kept = outside + sum(unit["kept"] for unit in units)
    again = outside + sum(unit["input"] for unit in units) + max((u["kept"] for u in units), default=0)
    return Activations(kept, min(kept, again))


def memory_of(network: nn.Module, budget: Budget, activations: int, *, processes: int = 1) -> Memory:
    """The bytes of one training step, activations given."""
    size = {torch.float32: 4}.get(next(network.parameters()).dtype, 2)
    trained = [one for one in network.parameters() if one.requires_grad]
    count = sum(one.numel() for one in trained)
    every = sum(one.numel() for one in network.parameters())
    moment = {"adamw": 8.0, "adamw8bit": EIGHT_BITS}
    moments = sum(
        one.numel() * (moment.get(budget.optimizer) or (4 if one.ndim >= 2 else 8)) for one in trained
    )
    many = budget.accumulate > 1 or processes > 1
    gpu = torch.device(budget.device).type == "cuda"
    return Memory(
        weights=size * every,
        masters=4 * count,
        gradients=(4 if many else size) * count,
        moments=int(moments),
        averages=0 if budget.ema_decay == 0 or (budget.ema_on_cpu and gpu) else 4 * count,
        activations=activations,
        rest=min(_CHUNK_BYTES, 12 * count) + (_DEVICE_BYTES if gpu else 0),
    )


def fitted(
    network: nn.Module,
    budget: Budget,
    activations: Callable[[int], Activations],
    limit: int,
    *,
    processes: int = 1,
    checkpointing: bool = False,
) -> Choice:
    """The quickest way to take the same steps within a limit: the same pictures for each, the same learning rate.

    First activations are computed again, then moments are kept in 8 bits, then averages in main memory; batches of less
    than 4 pictures come last. Each is taken only when it is needed.

    Args:
        network: on the device "meta", in the dtype that it is to compute in.
        activations: of how many pictures at a time.
        limit: bytes.
    Raises: BadInput where nothing fits, with what the least would be.
    """
    whole = budget.batch * budget.accumulate
    counted: dict[int, Activations] = {}
    ways = [
        (again, eight, apart)
        for apart in (False, True)
        for eight in (False, True)
        for again in ((True,) if checkpointing else (False, True))
    ]
    batches = [n for n in range(budget.batch, 0, -1) if whole % n == 0]
    least: Choice | None = None
    for few in (False, True):
        for again, eight, apart in ways:
            for batch in batches:
                if (batch < min(4, budget.batch)) != few:
                    continue
                optimizer = "adamw8bit" if eight and budget.optimizer == "adamw" else budget.optimizer
                changed = replace(
                    budget,
                    batch=batch,
                    accumulate=whole // batch,
                    optimizer=optimizer,
                    ema_on_cpu=apart or budget.ema_on_cpu,
                )
                if batch not in counted:
                    counted[batch] = activations(batch)
                found = counted[batch].checkpointed if again else counted[batch].kept
                choice = Choice(changed, again, memory_of(network, changed, found, processes=processes))
                if choice.memory.total <= limit:
                    return choice
                if least is None or choice.memory.total < least.memory.total:
                    least = choice
    assert least is not None
    raise BadInput(
        f"--size-budget {limit / GB:.1f}GB is too little for this base: the least is {least.sentence()}; "
        "take a smaller --size, or --method lora"
    )


class _Fused(torch.autograd.Function):
    """Attention that keeps queries, keys, values, answers and one number a row, as FlashAttention does."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # pyright: ignore
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise NotImplementedError


@contextlib.contextmanager
def _fused_attention() -> Iterator[None]:
    functional: Any = torch.nn.functional
    plain = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = lambda q, k, v, *a, **named: _Fused.apply(q, k, v)
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = plain
