"""The processes that ``accelerate launch`` or ``torchrun`` started together: how many there are, and sums over them.

Each holds the whole network and sees batches of its own; their gradients are averaged before every step, so that all
take the same one. The first alone writes files.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Peers:
    """This process among those that train together; alone by default."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            torch.distributed.barrier()


@cache
def launched_peers(device_type: str) -> Peers:
    """The processes of this launch on a kind of device: gloo joins CPUs, NCCL GPUs. One alone without a launcher."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Peers()
    from accelerate import PartialState

    state = PartialState(cpu=device_type == "cpu")
    return Peers(state.process_index, state.num_processes)


def own_device(device: str) -> str:
    """The device of this process: with several GPUs each process takes one of its own."""
    local = os.environ.get("LOCAL_RANK")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return f"cuda:{local}" if several and device == "cuda" and local is not None else device
