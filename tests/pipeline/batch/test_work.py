"""What a worker keeps between jobs, and what it makes of errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.loading import load_config
from slipcast.configs.schema import LiftConfig, MakeConfig, RefineConfig
from slipcast.pipeline.batch.work import ModelShelf, kind_of, model_group, score
from slipcast.pipeline.make import as_began, filled_in
from slipcast.pipeline.run.stage import Models


class Network:
    """Something large."""


def load(models: Models, *names: str) -> list[Any]:
    """What a cached property keeps, as if it had been loaded."""
    return [vars(models).setdefault(name, Network()) for name in names]


PLAIN = MakeConfig(device="cpu", dtype="float32")


def test_models_stay_as_long_as_jobs_want_them() -> None:
    shelf = ModelShelf()
    base, domain = load(shelf.open(PLAIN), "base", "domain")
    assert shelf.newly_loaded() == ["base", "domain"] and shelf.newly_loaded() == []
    for other in (
        replace(PLAIN, refine=RefineConfig(steps=3), domain_strength=0.5),
        replace(PLAIN, lift_model="mesh", lift=LiftConfig(source="a.glb")),
        replace(PLAIN, lift_model="mesh", lift=LiftConfig(source="b.glb")),
        replace(PLAIN, device="auto", dtype="auto"),
        PLAIN,
    ):
        store = shelf.open(other)
        assert store.config.lift == other.lift and store.config.lift_model == other.lift_model
        if other.device == "cpu":
            assert load(store, "base", "domain") == [base, domain]
    assert shelf.newly_loaded() == []


def test_models_stay_whatever_a_run_makes_out_for_itself() -> None:
    """Each opens the models twice: as it was asked, and with device, dtype, domain and weights made out."""
    shelf, seen = ModelShelf(), list[Any]()
    for steps in (1, 2, 3):
        asked = load_config("starter", [f"refine.steps={steps}"])
        config = as_began(filled_in(asked, shelf.open(asked), print), None)
        assert config.domain != asked.domain and config.dtype != asked.dtype
        seen += load(shelf.open(config), "base")
    assert seen == [seen[0]] * 3


def test_models_that_another_job_does_not_want_are_let_go() -> None:
    shelf = ModelShelf()
    (base,) = load(shelf.open(PLAIN), "base")
    shelf.newly_loaded()
    (other,) = load(shelf.open(replace(PLAIN, base="sd15")), "base")
    assert other is not base and shelf.newly_loaded() == ["base"]
    del other
    (again,) = load(shelf.open(PLAIN), "base")
    assert again is not base and shelf.newly_loaded() == ["base"]
    assert model_group(PLAIN) != model_group(replace(PLAIN, base="sd15"))
    assert model_group(PLAIN) == model_group(replace(PLAIN, refine=RefineConfig(steps=3)))


def _from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SlipcastError("it failed"), "error"),
        (BadInput("no such thing"), "input"),
        (ValueError("a bug"), "error"),
        (_from(SlipcastError("stage lift ran out of memory"), MemoryError()), "memory"),
        (_from(SlipcastError("stage refine failed"), OutOfMemoryError("CUDA out of memory")), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "memory"),
        (SlipcastError("another slipcast (process 3) is working in runs/a; wait for it"), "busy"),
    ],
)
def test_kinds_of_errors(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    assert kind_of(_from(SlipcastError("it failed"), error)) == ("memory" if kind == "memory" else "error")


def test_an_error_raised_from_itself() -> None:
    error = SlipcastError("round and round")
    assert kind_of(_from(error, error)) == "error"


def test_the_score_is_that_of_the_chosen_picture() -> None:
    assert score({"chosen": 1, "text_evidence": [0.1, 0.7, 0.9]}) == 0.7
    assert score({"chosen": 1}) is None and score({}) is None
