"""What this machine runs networks best in, and quiet libraries while they are loaded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch


def ready(network: Any, device: str, *, rest: str | None = None) -> Any:
    """A network in the quickest dtype and layout of its device, there or, with ``rest``, waiting elsewhere.

    Attention stays fused. Trainings on the CPU make it plain matrix products, whose backward is quicker in bf16.
    """
    with quiet_libraries():
        return network.to(
            device=rest or device, dtype=fastest_dtype(device), memory_format=torch.channels_last
        )


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Errors only from diffusers and transformers: their notes on torchvision and dtypes are about others' settings."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    levels = [library.get_verbosity() for library in (diffusers_logging, transformers_logging)]
    try:
        for library in (diffusers_logging, transformers_logging):
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
    finally:
        for library, level in zip((diffusers_logging, transformers_logging), levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()


def fastest_dtype(device: str = "cpu") -> torch.dtype:
    """bf16 where it is quicker: on GPUs, and on CPUs whose convolutions prove it in a short race."""
    if device != "cpu":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.zeros(4, 64, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.zeros(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        laps = []
        for _ in range(4):
            start = time.perf_counter()
            torch.nn.functional.conv2d(x, weight, padding=1)
            laps.append(time.perf_counter() - start)
        seconds[dtype] = min(laps)
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else torch.float32
