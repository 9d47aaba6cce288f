"""The stages that use networks, with the starter, on a second device: the same picture, lift and refined field."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.accelerator import ACCELERATOR, AcceleratorTensor
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.make import MakeResult, make
from slipcast.systems.field.voxels import FrozenGrid, VoxelField
from slipcast.systems.models import precision
from slipcast.systems.refine.refinement import Refinement

SMALL = [
    "dtype=float32", "image.steps=2", "image.candidates=2", "lift.resolution=32", "refine.steps=3", "refine.size=32",
    "refine.resolution=32", "refine.samples=12", "refine.views=1", "refine.checkpoint_every=2",
]  # fmt: skip


def made(out: Path, device: str) -> MakeResult:
    config = load_config(overrides=[*SMALL, f"device={device}"])
    return make("a porcelain bowl", config, out=out, until_stage="refine")


def resolving(patch: pytest.MonkeyPatch) -> None:
    """Let the double be a device that settings may name."""
    patch.setattr(precision, "resolve_device", lambda wanted: wanted)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> MakeResult:
    """The run of the accelerator, whose field was refined where the networks are."""
    devices = set()
    step = Refinement.step

    def noted(self: Refinement, index: int) -> dict[str, float]:
        devices.update(type(one.parameter.data) for one in self.field.trained().values())
        return step(self, index)

    with pytest.MonkeyPatch.context() as patch:
        resolving(patch)
        patch.setattr(Refinement, "step", noted)
        run = made(tmp_path_factory.mktemp("there"), ACCELERATOR)
    assert devices == {AcceleratorTensor}
    return run


@pytest.mark.slow
def test_picture_lift_and_refinement_are_made_there_as_they_are_here(
    there: MakeResult, tmp_path: Path
) -> None:
    here = made(tmp_path, "cpu")
    assert json.loads((there.run / "manifest.json").read_text())["config"]["device"] == ACCELERATOR

    pictures = [np.asarray(Image.open(run.run / "10-image" / "candidates.png"), int) for run in (here, there)]
    assert pictures[0].std() > 10 and abs(pictures[0] - pictures[1]).max() <= 1
    lifted = [FrozenGrid.load(run.run / "20-lift" / "field.safetensors") for run in (here, there)]
    torch.testing.assert_close(lifted[0].occupancy, lifted[1].occupancy, rtol=0, atol=0.02)
    fields = [VoxelField.load(run.run / "30-refine" / "field.safetensors") for run in (here, there)]
    off = (fields[0].occupancy() - fields[1].occupancy()).abs()
    assert off.mean() < 2e-3, "Adam's first steps are as long for a rounding error as for a gradient"


def test_a_refinement_goes_on_there_from_a_checkpoint(
    there: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch)
    again = Path(shutil.copytree(there.run, tmp_path / there.run.name))
    shutil.rmtree(again / "30-refine")
    step, done = Refinement.step, list[int]()

    def stopped(self: Refinement, index: int) -> dict[str, float]:
        done.append(index)
        if len(done) == 3:
            raise KeyboardInterrupt
        return step(self, index)

    monkeypatch.setattr(Refinement, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, ACCELERATOR)
    resumed = made(tmp_path, ACCELERATOR)
    assert resumed.run == again and resumed.made == ("refine",)
    assert len(done) == 4, "two steps, the one that was stopped, and the last one after the checkpoint"
    one, other = (VoxelField.load(run / "30-refine" / "field.safetensors") for run in (there.run, again))
    assert one.raw_density.equal(other.raw_density) and one.raw_colour.equal(other.raw_colour)
