"""Threads of torch give their cores up soon, unless the user wants it otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipcast.configs.openmp import spin_briefly

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_what_the_user_says_stays(said: dict[str, str]) -> None:
    environment = dict(said)
    spin_briefly(environment)
    assert environment == said


@pytest.mark.parametrize("imported", ["slipcast", "slipcast.systems.types", "benchmarks"])
def test_it_is_said_before_torch_is_loaded(imported: str) -> None:
    watch = (
        "import builtins, os, sys; real = builtins.__import__\n"
        "def seen(name, *more):\n"
        "    if name == 'torch' and 'torch' not in sys.modules: print(os.environ.get('GOMP_SPINCOUNT'), flush=True)\n"
        "    return real(name, *more)\n"
        f"builtins.__import__ = seen; import {imported}; import torch"
    )
    told = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", watch], env=told, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == "10000"
