"""Variational score distillation of a field: its model of the renders learns on the way, and goes on with the rest."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines
from fakes.refinements import BUSY, FRONT, SCHEDULE, encode, grey_ball, picture_of, refine, same

from slipcast.guidance import Branch, GuidedNoise, UNetPredictor, around
from slipcast.guidance.variational import RenderModel
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.refine import hash_fit
from slipcast.systems.refine.checkpoint import CHECKPOINT_FILE
from slipcast.systems.refine.log import TIMES
from slipcast.systems.refine.own_model import NUMBERS, RendersOfField, described
from slipcast.systems.refine.refinement import Refinement
from slipcast.systems.refine.target import Target
from slipcast.systems.refine.voxel_training import VoxelTraining

CONFIG = dataclasses.replace(
    BUSY, score="vsd", steps=4, checkpoint_every=2, samples=8, grad_clamp=0.0, drift_weight=0.0
)
HASHED = {"field": "hashgrid", "hash_levels": 4, "hash_log2_size": 8, "hash_neurons": 8}


@pytest.fixture(scope="module")
def prior() -> Iterator[UNetPredictor]:
    torch.manual_seed(0)
    yield UNetPredictor(
        tiny_pipelines.unet(), schedule=SCHEDULE, prediction_type="epsilon", latent_space="toy", name="tiny"
    )


def four_channels(pictures: torch.Tensor) -> torch.Tensor:
    three = encode(pictures)
    return torch.cat([three, three[:, :1]], 1)


def text_of(words: Any, grounds: Any) -> torch.Tensor:
    """What each view is told: numbers that its words stand for."""
    return torch.stack([torch.linspace(0, len(word) % 7, 24).view(2, 12) for word in words])


def denoiser_of(prior: UNetPredictor) -> Any:
    def denoiser_for(words: Any, grounds: Any) -> GuidedNoise:
        text = Branch("text", prior, text_of(words, grounds))
        return GuidedNoise(around(Branch("null", prior, torch.zeros(len(words), 2, 12)), (text, 7.5)))

    return denoiser_for


@contextmanager
def model_of(prior: UNetPredictor, steps: int = 1) -> Iterator[tuple[RenderModel, RendersOfField]]:
    model = RenderModel(prior, rank=2, rate=1e-3, cameras=NUMBERS, seed=0)
    try:
        yield model, RendersOfField(model, text_of, steps)
    finally:
        model.close()


def refined(
    prior: UNetPredictor, config: Any = CONFIG, *, steps: int = 1, **options: Any
) -> tuple[Any, RenderModel]:
    """The field, and the model of its renders as it is at the end."""
    with model_of(prior, steps) as (model, own), pytest.MonkeyPatch.context() as patched:
        patched.setattr("fakes.refinements.encode", four_channels)
        patched.setattr(hash_fit, "_POINTS", 256)
        return refine(config, **{"denoiser_for": denoiser_of(prior), "own_model": own} | options), model


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


@pytest.mark.parametrize("field", [{}, HASHED], ids=["voxels", "hashgrid"])
def test_a_stopped_refinement_goes_on_bit_for_bit(prior: Any, field: Any, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, **field)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, learned = refined(prior, config, checkpoint_folder=tmp_path / "whole")

    def stop(done: int, *_: Any) -> None:
        if done == 3:  # a step after the checkpoint
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refined(prior, config, checkpoint_folder=tmp_path / "parts", progress=stop)
    file = tmp_path / "parts" / CHECKPOINT_FILE
    assert file.read_bytes()[8:9] == b"{", "a safetensors file"
    rest, again = refined(prior, config, checkpoint_folder=tmp_path / "parts")
    assert same(whole, rest)
    assert torch.equal(learned.weights, again.weights) and learned.weights.abs().max() > 0
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    assert all(line["own_loss"] > 0 for line in log_of(tmp_path / "whole"))


def test_the_renders_pull_another_way_than_noise_and_learning_counts(prior: Any) -> None:
    fields = {
        "vsd": refined(prior)[0],
        "three steps": refined(prior, steps=3)[0],
        "sds": refined(prior, dataclasses.replace(CONFIG, score="sds"), own_model=None)[0],
    }
    for one in ("three steps", "sds"):
        assert not same(fields["vsd"], fields[one]), one
    assert same(fields["vsd"], refined(prior)[0])


def test_a_step_without_distillation_teaches_nothing(prior: Any, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, distillation_weight=[1, 1.0, 0.0, 2])
    refined(prior, config, checkpoint_folder=tmp_path)
    assert ["own_loss" in line for line in log_of(tmp_path)] == [True, True, False, False]


def test_who_goes_back_takes_the_model_along(prior: Any) -> None:
    with model_of(prior) as (_, own):
        refinement = Refinement(
            VoxelTraining(grey_ball(), CONFIG),
            Target(picture_of(grey_ball()), FRONT, CONFIG.size),
            denoiser_of(prior),
            four_channels,
            CONFIG,
            0,
            own_model=own,
        )
        refinement.step(0)
        refinement.keep(1, {})
        then = {name: array.detach().clone() for name, array in own.state().items()}
        losses, loss = refinement.step(1), refinement.measured["own_loss"]
        assert not torch.equal(own.state()["weights"], then["weights"])
        refinement.back()
        assert all(torch.equal(array, then[name]) for name, array in own.state().items())
        assert refinement.step(1) == losses and refinement.measured["own_loss"] == loss


def test_a_camera_is_its_axes_its_place_and_its_view() -> None:
    front = orbit_camera(0.0, 0.0)
    near = orbit_camera(0.0, 0.0, radius=2.25, fov_y_rad=1.0)
    side = orbit_camera(math.pi / 2, 0.0)
    rows = described([front, near, side])
    assert rows.shape == (3, NUMBERS)
    torch.testing.assert_close(rows[0, 3:12:4], torch.tensor([0.0, -1.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows[1, 3:12:4], torch.tensor([0.0, -0.5, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows[2, 3:12:4], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    assert torch.equal(rows[0, :3], rows[1, :3]) and rows[1, -1] == 1 and rows[0, -1] < 1
