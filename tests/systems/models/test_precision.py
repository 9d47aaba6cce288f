"""``dtype=auto`` is a question about the hardware, not about how busy it is."""

from __future__ import annotations

import json
import time

import pytest
import torch
from fakes.pipeline_stages import Workshop

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.systems.models import precision as devices
from slipcast.systems.models.precision import DTYPES, resolve_device, resolve_dtype


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


def machine(monkeypatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("here", "auto"),
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 2}, "cuda"), ({"cuda": 1, "mps": True}, "cuda")],
)
def test_auto_is_the_quickest_device_of_the_machine(monkeypatch, here, auto) -> None:
    machine(monkeypatch, **here)
    assert resolve_device("auto") == auto
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("here", "wanted", "said"),
    [
        ({}, "cuda", r"finds in this machine \(cpu\), not 'cuda'; choose"),
        ({}, "mps", r"\(cpu\), not 'mps'"),
        ({"cuda": 2}, "cuda:2", r"\(cuda, cpu, cuda:0, cuda:1\), not 'cuda:2'"),
        ({}, "cdua", "no device 'cdua'.*did you mean cuda"),
        ({}, "meta", "no device 'meta'"),
        ({}, "cuda:x", "no device 'cuda:x'"),
        ({}, "", "no device ''"),
    ],
)
def test_a_device_that_is_not_here_is_one_sentence(monkeypatch, here, wanted, said) -> None:
    machine(monkeypatch, **here)
    with pytest.raises(BadInput, match=said):
        resolve_device(wanted)


def test_an_unknown_dtype_is_one_sentence() -> None:
    with pytest.raises(BadInput, match=r"no dtype 'float31'.*did you mean float32"):
        resolve_dtype("float31", "cpu")


def test_an_absent_device_is_told_before_a_run_begins(tmp_path, monkeypatch) -> None:
    machine(monkeypatch)
    with pytest.raises(BadInput, match="not 'cuda'"):
        Workshop(tmp_path).make(load_config(overrides=["device=cuda"]))
    assert not any(tmp_path.iterdir())


def test_a_run_keeps_the_device_that_it_began_with(tmp_path, monkeypatch) -> None:
    workshop = Workshop(tmp_path)
    machine(monkeypatch)
    first = workshop.make()
    machine(monkeypatch, cuda=1)
    assert workshop.make().made == ()
    manifest = first.run / "manifest.json"
    assert json.loads(manifest.read_text())["config"]["device"] == "cpu"
    assert workshop.make(load_config(overrides=["device=cuda:0"])).made[0] == "image"
    assert json.loads(manifest.read_text())["config"]["device"] == "cuda:0"


def test_a_run_from_before_devices_could_be_chosen_was_made_on_the_cpu(tmp_path, monkeypatch) -> None:
    workshop = Workshop(tmp_path)
    machine(monkeypatch)
    manifest = workshop.make().run / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["config"]["device"]
    manifest.write_text(json.dumps(content))
    machine(monkeypatch, cuda=1)
    workshop.make()
    assert json.loads(manifest.read_text())["config"]["device"] == "cpu"
