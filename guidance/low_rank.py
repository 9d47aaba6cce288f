"""Low-rank adapters beside the layers of a frozen network: LoRA (arxiv.org/abs/2106.09685), DoRA (2402.09353).

    LoRA    y = W x + b + s B A x                               A, B: ``down``, ``up``
    DoRA    y = m / |W + s B A| (W x + s B A x) + b             |.| the length of each output's row, m: ``magnitude``

s is the adapter's own scale (alpha / rank) times a strength. An adapter lives inside the layer that it changes and
moves with it, but speaks only within ``switched_on``: so one network is the base and any number of adapted models, at
the cost of their small matrices. Several adapters of a layer change its answer one after the other, as in PEFT.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

_PLACE = "low_rank"  # where the adapters of a layer are kept in it


class LowRank(nn.Module):
    """One adapter of one layer, a ``Linear`` or a ``Conv2d``; buffers, so that the network's parameters stay its own.

    Args:
        down: A, [rank, in] or [rank, in, h, w].
        up: B, [out, rank] or [out, rank, 1, 1].
        scale: the adapter's own factor, alpha / rank.
        magnitude: m [out] of DoRA; None for LoRA.
    """

    down: Tensor
    up: Tensor
    magnitude: Tensor | None

    def __init__(
        self, down: Tensor, up: Tensor, *, scale: float = 1.0, magnitude: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("down", down)
        self.register_buffer("up", up)
        self.register_buffer("magnitude", magnitude)
        self.scale = scale
        self._gain: tuple[float, Tensor] | None = None

    def forward(self, layer: Any, x: Tensor, y: Tensor, strength: float) -> Tensor:
        """The layer's answer y to x, changed."""
        x, s = x.to(self.down.dtype), self.scale * strength
        if self.down.ndim == 2:
            said = F.linear(F.linear(x, self.down), self.up) * s
        else:
            said = F.conv2d(
                F.conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation), self.up
            )
            said = said * s
        if self.magnitude is None:
            return y + said.to(y.dtype)
        shape = (-1, *(1,) * (self.down.ndim - 2))
        bias = 0 if layer.bias is None else layer.bias.view(shape)
        gain = self._gain_at(layer.weight, s).to(y.dtype).view(shape)
        return gain * (y - bias + said.to(y.dtype)) + bias

    def _gain_at(self, weight: Tensor, s: float) -> Tensor:
        """m / |W + s B A| [out], float32; kept, because it asks for a whole matrix and W stands still."""
        assert self.magnitude is not None
        if self._gain is None or self._gain[0] != s or self._gain[1].device != weight.device:
            change = self.up.float().flatten(1) @ self.down.float().flatten(1)
            lengths = (weight.float().flatten(1) + s * change).norm(dim=1)
            self._gain = s, self.magnitude.float() / lengths
        return self._gain[1]


class _Adapters(nn.ModuleDict):
    """All adapters of a layer by name, and the strengths of those that are on."""

    def __init__(self) -> None:
        super().__init__()
        self.strengths: Mapping[str, float] = {}


def put_in(network: nn.Module, name: str, layers: Mapping[str, nn.Module]) -> None:
    """Add an adapter of a new name to layers of a network, {dotted name of the layer: its part}; it is off.

    Parts other than ``LowRank`` are called as it is; their buffers stay as they are beside a layer without a weight.
    """
    for place, part in layers.items():
        layer: Any = network.get_submodule(place)
        if not hasattr(layer, _PLACE):
            layer.add_module(_PLACE, _Adapters())
            layer.register_forward_hook(_changed)
        weight = getattr(layer, "weight", None)
        getattr(layer, _PLACE)[name] = part if weight is None else part.to(weight.device, weight.dtype)


def take_out(network: nn.Module, name: str, layers: Iterable[str]) -> None:
    """Undo ``put_in`` of an adapter at these layers."""
    for place in layers:
        layer: Any = network.get_submodule(place)
        del getattr(layer, _PLACE)[name]


def _changed(layer: Any, given: tuple[Tensor, ...], y: Tensor) -> Tensor:
    adapters = layer.low_rank
    for name, strength in adapters.strengths.items():
        if name in adapters:
            y = adapters[name](layer, given[0], y, strength)
    return y


@contextlib.contextmanager
def switched_on(networks: Sequence[nn.Module], strengths: Mapping[str, float]) -> Iterator[None]:
    """These adapters work in the networks, in their order, and no others; as before outside of the block."""
    every = [one for network in networks for one in network.modules() if isinstance(one, _Adapters)]
    before = [one.strengths for one in every]
    for one in every:
        one.strengths = strengths
    try:
        yield
    finally:
        for one, old in zip(every, before, strict=True):
            one.strengths = old


def low_rank_bytes(network: nn.Module) -> int:
    """What all adapters in a network weigh."""
    kept = [one for one in network.modules() if isinstance(one, LowRank)]
    return sum(buffer.numel() * buffer.element_size() for one in kept for buffer in one.buffers())
