"""A refinement that collapses is said, tried once more with smaller steps, and ends with the last good field."""

import dataclasses
import json
import math

import pytest
import torch
from fakes.refinements import (
    BUSY,
    FRONT,
    QUIET,
    PaintedOneColour,
    grey_ball,
    refine,
    same,
)

from slipcast.configs.errors import SlipcastError
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.refine import refinement
from slipcast.systems.refine.checkpoint import CHECKPOINT_FILE, KEPT_FILE
from slipcast.systems.refine.health import SMALLER, Collapsed, Health
from slipcast.systems.refine.log import LOG_FILE
from slipcast.systems.refine.refinement import Refinement
from slipcast.systems.refine.trainable import FIELDS
from slipcast.systems.refine.voxel_training import VoxelTraining

CONFIG = dataclasses.replace(BUSY, steps=9, checkpoint_every=3, grad_clamp=0.0)
FRAGILE = dataclasses.replace(CONFIG, field="fragile", lr_color=1.0, size=16, samples=8)


class Fragile(VoxelTraining):
    """Paint that must not move far from where it began, and steps of the full size take it there."""

    def shape_losses(self):
        start = self.field.raw_colour.detach().clone()

        def broken(step):
            moved = (self.field.raw_colour - start).abs().max()
            return moved * (1e9 if moved > 1.1 else 1e-3)

        return {"broken": broken}


class Vanishing(VoxelTraining):
    """Matter that would rather not be."""

    def shape_losses(self):
        return {"matter": lambda step: self.field.occupancy().mean()}


class AlwaysExplodes(PaintedOneColour):
    """From the fifth step on, whatever it is shown."""

    asked = 0

    def __call__(self, x_t, t):
        AlwaysExplodes.asked += 1
        return super().__call__(x_t, t) * (1e6 if AlwaysExplodes.asked > 4 else 1.0)


@pytest.fixture(autouse=True)
def _afresh(monkeypatch):
    AlwaysExplodes.asked = 0
    monkeypatch.setattr(Refinement, "kept_every", 3)
    monkeypatch.setitem(FIELDS, "fragile", Fragile)
    monkeypatch.setitem(FIELDS, "vanishing", Vanishing)


def steps_of(folder):
    return [json.loads(line)["step"] for line in (folder / LOG_FILE).read_text().splitlines()]


def test_a_denoiser_that_explodes_is_said_and_the_last_good_field_is_kept(tmp_path):
    said, losses = [], []
    kept = refine(
        CONFIG,
        denoiser_for=AlwaysExplodes,
        checkpoint_folder=tmp_path,
        notice=said.append,
        progress=lambda done, total, values: losses.append((done, values)),
    )
    assert len(said) == 2 and all("the loss has exploded" in one and "\n" not in one for one in said)
    assert "refinement step 4" in said[0] and f"back to step 3 and on with {SMALLER:g}" in said[0]
    assert "refinement step 3" in said[1] and "the field of step 3 is the result" in said[1]
    # What three steps of a denoiser in its right mind make; a second refinement is stopped there and ended.
    AlwaysExplodes.asked = -1000
    whole = {}

    def remember(done, total, values):
        whole[done] = values
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(CONFIG, denoiser_for=AlwaysExplodes, progress=remember)
    assert losses[-1] == (3, whole[3]), "the losses told last are those of the field that is kept"
    assert steps_of(tmp_path) == [0, 1, 2]
    before, after = (render_image(one, FRONT, 16)[0].mean() for one in (grey_ball(), kept))
    assert abs(before - after) < 0.2, "it is still a ball of some paint"


def test_smaller_steps_may_be_all_it_takes(tmp_path):
    said = []
    with pytest.raises(Collapsed, match="exploded"):
        refine(FRAGILE)
    field = refine(FRAGILE, checkpoint_folder=tmp_path, notice=said.append)
    assert len(said) == 1 and "learning rates" in said[0]
    assert steps_of(tmp_path) == list(range(FRAGILE.steps)), "no step is missing and none is there twice"
    assert torch.isfinite(field.raw_colour).all()


@pytest.mark.parametrize("stop_after", [4, 7])
def test_a_collapse_in_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path, stop_after):
    """Stopped before the collapse, and after it."""
    plain, said, again = [], [], []
    whole = refine(FRAGILE, notice=plain.append)

    def stop(done, total, losses):
        if done == stop_after and len(said) == (stop_after > 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(FRAGILE, checkpoint_folder=tmp_path, notice=said.append, progress=stop)
    resumed = refine(FRAGILE, checkpoint_folder=tmp_path, notice=again.append)
    assert same(resumed, whole) and again == plain, "the collapse is told again, for it is in the result"


@pytest.mark.parametrize("every", [1, 2, 4, 100])
@pytest.mark.parametrize("stop_after", [None, 4, 7])
def test_how_often_checkpoints_are_written_decides_nothing(tmp_path, every, stop_after):
    """Of a run that collapses at its step 5, stopped before it and after it or not at all."""
    plain, said, again = [], [], []
    whole = refine(FRAGILE, notice=plain.append)
    config = dataclasses.replace(FRAGILE, checkpoint_every=every)

    def stop(done, total, losses):
        if done == stop_after and len(said) == (stop_after > 5):
            raise KeyboardInterrupt

    if stop_after is not None:
        with pytest.raises(KeyboardInterrupt):
            refine(config, checkpoint_folder=tmp_path, notice=said.append, progress=stop)
    field = refine(config, checkpoint_folder=tmp_path, notice=again.append)
    assert same(field, whole) and again == plain and len(plain) == 1
    assert steps_of(tmp_path) == list(range(FRAGILE.steps))


def test_a_state_that_is_damaged_is_said_and_one_without_a_checkpoint_is_passed_over(tmp_path):
    config = dataclasses.replace(FRAGILE, checkpoint_every=2)
    whole = refine(config, notice=lambda _: None)

    def stop(done, *_):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(config, checkpoint_folder=tmp_path, notice=lambda _: None, progress=stop)
    file, said = tmp_path / KEPT_FILE, []
    good = file.read_bytes()
    file.write_bytes(good[:-4])
    assert same(refine(config, checkpoint_folder=tmp_path, notice=said.append), whole)
    assert "starts anew" in said[0]
    file.write_bytes(good)
    (tmp_path / CHECKPOINT_FILE).unlink()
    assert same(refine(config, checkpoint_folder=tmp_path, notice=lambda _: None), whole)


def test_numbers_that_are_none_are_a_collapse_too():
    class Broken(PaintedOneColour):
        def __call__(self, x_t, t):
            return super().__call__(x_t, t) * math.nan

    said = []
    with pytest.raises(SlipcastError, match="that was the second time in the first 3 steps"):
        refine(dataclasses.replace(QUIET, distillation_weight=1.0), denoiser_for=Broken, notice=said.append)
    assert len(said) == 1 and "the loss 'distillation' is not finite" in said[0]


def test_an_object_that_vanishes_is_a_collapse():
    config = dataclasses.replace(QUIET, field="vanishing", steps=20, size=16, samples=8, anchor_every=1)
    config = dataclasses.replace(config, anchor_rgb_weight=1e-9, lr_density=3.0)
    with pytest.raises(Collapsed, match="next to nothing of the object is left"):
        refine(config)


def test_law_of_what_counts_as_a_collapse():
    health = Health(coverage=0.3)
    for index in range(30):  # alternating terms, noise and slow growth are no reason
        health.check_losses(index, {"a": 1.0 + index, "b": 50.0 * (index % 2)}, {"opacity": 0.02})
        health.check_gradient(index, 1e-4 * 3 ** (index % 5))
    for opacity in (0.007, 0.5, 0.994):
        health.check_losses(30, {}, {"opacity": opacity})
    for opacity, sentence in ((0.005, "next to nothing"), (0.999, "fills every view")):
        with pytest.raises(Collapsed, match=f"step 31: .*{sentence}"):
            health.check_losses(31, {}, {"opacity": opacity})
    for losses in ({"a": math.inf}, {"a": math.nan}, {"a": -1e9}):
        with pytest.raises(Collapsed):
            health.check_losses(31, losses, {})
    for gradient in (math.nan, math.inf, 1e3):
        with pytest.raises(Collapsed, match="gradient"):
            health.check_gradient(31, gradient)
    Health(coverage=0.0).check_losses(
        0, {}, {"opacity": 0.0}
    )  # of a picture of nothing, nothing should be left
    Health(coverage=1.0).check_losses(0, {}, {"opacity": 1.0})
    other = Health(coverage=0.3)
    other.read(health.note())
    assert other == health


def test_a_checkpoint_without_a_word_about_health_is_read(tmp_path, monkeypatch):
    """As the versions wrote them that did not look for collapses."""

    def stop(done, *_):
        if done == 4:
            raise KeyboardInterrupt

    plain = refinement.save_checkpoint
    monkeypatch.setattr(refinement, "save_checkpoint", lambda *told, **more: plain(*told[:-1], **more))
    with pytest.raises(KeyboardInterrupt):
        refine(BUSY, checkpoint_folder=tmp_path, progress=stop)
    assert b'"health"' not in (tmp_path / CHECKPOINT_FILE).read_bytes()[:2000]
    monkeypatch.undo()
    assert same(refine(BUSY, checkpoint_folder=tmp_path), refine(BUSY))


def test_without_anybody_to_tell_a_collapse_is_an_error():
    with pytest.raises(SlipcastError, match=r"set refine\.grad_clamp"):
        refine(CONFIG, denoiser_for=AlwaysExplodes)
