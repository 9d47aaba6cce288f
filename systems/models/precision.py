"""In what precision and layout networks run, and quiet libraries while they are loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ...configs.errors import BadInput
from ...configs.names import unknown_name


def ready(network: Any, device: str, dtype: torch.dtype, *, rest: str | None = None) -> Any:
    """A network in a dtype and the layout that is quickest, on its device or, with ``rest``, waiting elsewhere.

    Attention stays fused. Trainings on the CPU make it plain matrix products, whose backward is quicker in bf16.
    """
    with quiet_libraries():
        return network.to(device=rest or device, dtype=dtype, memory_format=torch.channels_last)


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


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_dtype(wanted: str, device: str) -> str:
    """The name in ``DTYPES`` that a setting means on a device: ``auto`` asks what the hardware computes natively.

    No stopwatch decides it, so that the same machine gives the same answer under any load: bf16 where the GPU, or the
    CPU by its AVX512-BF16 or AMX instructions, multiplies it natively (elsewhere bf16 convolutions are emulated, 8
    times slower than float32), and float32 otherwise.

    Raises: BadInput for an unknown name.
    """
    if wanted not in ("auto", *DTYPES):
        raise unknown_name("dtype", wanted, ["auto", *DTYPES])
    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device == "cpu" and _cpu_multiplies_bf16() else "float32"


def resolve_device(wanted: str) -> str:
    """The device of this machine that a setting means: ``auto`` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        BadInput: a device that is unknown, or not in this machine.
    """
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    here = [
        *(["cuda"] if cuda else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
        *cuda,
    ]
    if wanted == "auto":
        return here[0]
    if wanted in here:
        return wanted
    kind, _, number = wanted.partition(":")
    if wanted in ("mps", "cuda") or (kind == "cuda" and number.isdecimal()):
        raise BadInput(
            f"device expects one that torch finds in this machine ({', '.join(here)}), not {wanted!r}; "
            "choose one of these, or 'auto' for the quickest"
        )
    raise unknown_name("device", wanted, ["auto", "cpu", "cuda", "mps", *cuda])


def _cpu_multiplies_bf16() -> bool:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return any(features.get(name, False) for name in ("avx512bf16", "amx-bf16"))
