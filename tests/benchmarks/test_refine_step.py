"""The stopwatch of a step of refinement: parts inside parts add up, and watching changes no gradient."""

from __future__ import annotations

import time

import pytest
import torch

from benchmarks.refine_step import Clock, Watched, told


def test_a_part_is_told_without_the_parts_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = Clock()
    with clock.step():
        sleep(0.02)
        with clock.part("outer"):
            clock.timed("inner", sleep)(0.05)
            sleep(0.01)
    assert clock.steps[0] == pytest.approx({"else": 20.0, "outer": 10.0, "inner": 50.0})


def test_watching_an_encoder_changes_no_gradient() -> None:
    clock, scale = Clock(), torch.tensor(3.0)
    x = torch.linspace(-1, 1, 5, requires_grad=True)
    with clock.step():
        seen = Watched.apply(x, lambda y: scale * y.square(), clock, "encoder")
        (grad,) = torch.autograd.grad(seen.sum(), x, retain_graph=True)
        (again,) = torch.autograd.grad(seen.sum(), x)
    assert torch.equal(grad, 6 * x) and torch.equal(again, grad)
    assert {"encoder", "encoder, backward"} <= set(clock.steps[0])


def test_networks_are_no_part_of_our_own() -> None:
    steps = [
        {"denoiser": 100.0, "encoder": 1.0, "render": 30.0 + 10 * (n % 2), "else": 5.0} for n in range(6)
    ]
    figures = told(steps)
    assert figures["own_ms"] == 40.0 and figures["own_ms_with_and_without_the_picture"] == [45.0, 35.0]
    assert figures["networks_ms"] == 101.0 and figures["parts_ms"]["render"] == 35.0
