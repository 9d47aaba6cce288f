"""``dtype=auto`` is a question about the hardware, not about how busy it is."""

from __future__ import annotations

import json
import time

import pytest
import torch
from fakes.pipeline_stages import Workshop

from slipcast.configs.loading import load_config
from slipcast.systems.models import precision as devices
from slipcast.systems.models.precision import DTYPES, resolve_dtype


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512bf16": True}, "bfloat16"),
        ({"amx-bf16": True, "avx512bf16": False}, "bfloat16"),
        ({"avx512bf16": False, "amx-bf16": False, "avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_cpu_is_asked_for_its_instructions(monkeypatch, features, expected) -> None:
    from llvmlite import binding

    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
    assert resolve_dtype("auto", "cpu") == expected


def test_no_stopwatch_is_asked(monkeypatch) -> None:
    def forbidden() -> float:
        raise AssertionError("the choice of a dtype must not depend on time")

    monkeypatch.setattr(time, "perf_counter", forbidden)
    monkeypatch.setattr(time, "monotonic", forbidden)
    assert resolve_dtype("auto", "cpu") in DTYPES


@pytest.mark.parametrize("wanted", sorted(DTYPES))
def test_a_named_dtype_is_taken_on_every_device(wanted: str) -> None:
    assert {resolve_dtype(wanted, device) for device in ("cpu", "cuda", "mps")} == {wanted}


def test_networks_come_in_the_dtype_that_was_asked_for() -> None:
    network = devices.ready(torch.nn.Conv2d(4, 4, 3), "cpu", torch.float16)
    assert network.weight.dtype == torch.float16


def dtype_in(workshop: Workshop, result) -> str:
    return json.loads((result.run / "manifest.json").read_text())["config"]["dtype"]


def test_a_run_keeps_the_dtype_that_it_began_with(tmp_path, monkeypatch) -> None:
    workshop = Workshop(tmp_path)
    monkeypatch.setattr(devices, "_cpu_multiplies_bf16", lambda: True)
    first = workshop.make()
    assert dtype_in(workshop, first) == "bfloat16"
    monkeypatch.setattr(devices, "_cpu_multiplies_bf16", lambda: False)
    assert workshop.make().made == ()  # the same command, on a machine that would choose otherwise
    assert dtype_in(workshop, first) == "bfloat16"


def test_another_dtype_is_another_picture_and_another_refinement(tmp_path, monkeypatch) -> None:
    workshop = Workshop(tmp_path)
    monkeypatch.setattr(devices, "_cpu_multiplies_bf16", lambda: False)
    workshop.make(load_config())
    assert workshop.make(load_config(overrides=["dtype=float32"])).made == ()
    assert workshop.make(load_config(overrides=["dtype=bfloat16"])).made[0] == "image"
    assert workshop.make(load_config(overrides=["dtype=bfloat16"])).made == ()
