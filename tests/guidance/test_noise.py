"""One random stream: a draw depends on its seed and name, and on nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from slipcast.guidance.noise import named_generator
from slipcast.pipeline.run.stage import StageContext


def first_draw(generator: torch.Generator) -> float:
    return torch.rand(1, generator=generator, dtype=torch.float64).item()


def test_the_stream_is_the_leading_63_bits_of_the_hash_of_its_name() -> None:
    seed = int(hashlib.sha256(b"3/refine/17").hexdigest()[:16], 16) >> 1
    assert named_generator(3, "refine", 17).initial_seed() == seed


def test_stages_and_refinement_draw_from_the_same_stream() -> None:
    nothing: Any = SimpleNamespace()
    ctx = StageContext("a cup", nothing, Path(), {}, 3, "refine", nothing, nothing)
    assert first_draw(ctx.generator(17)) == first_draw(named_generator(3, "refine", 17))


def test_seeds_names_and_steps_give_streams_of_their_own() -> None:
    names = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a"), (0, "a", 11)]
    assert len({first_draw(named_generator(*name)) for name in names}) == len(names)
