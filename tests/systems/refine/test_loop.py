"""Refinement with denoisers whose answer is known: direction, determinism, resuming, refusal of nonsense."""

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch
from fakes.refinements import (
    BUSY,
    FRONT,
    QUIET,
    PaintedOneColour,
    encode,
    grey_ball,
    picture_of,
    refine,
    same,
    to_latents,
)

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance.noise import named_generator
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, VoxelField
from slipcast.systems.refine.checkpoint import CHECKPOINT_FILE
from slipcast.systems.refine.curve import CURVE_FILE, Curve, gradient_norm
from slipcast.systems.refine.loop import refine_field
from slipcast.systems.refine.surface_colour import SurfaceColoured
from slipcast.systems.refine.views import BACKGROUNDS, Ranges, draw_views
from slipcast.systems.refine.warm_start import warm_start
from slipcast.systems.types import SubjectImage


def mean_colour(field, azimuth):
    rgb, opacity, _ = render_image(field, orbit_camera(azimuth, 0.3), 32)
    return rgb.sum((0, 1)) / opacity.sum()


def test_no_steps_return_the_field_as_it_is():
    assert same(refine(dataclasses.replace(QUIET, steps=0)), VoxelField.from_field(grey_ball(), 16))


def test_weights_of_zero_keep_the_field():
    warm = warm_start(grey_ball(), 16)
    warm.sharpness = QUIET.sharpness
    warm.prune()
    assert same(refine(QUIET), warm)


def test_distillation_pulls_the_paint_to_what_the_denoiser_expects():
    config = dataclasses.replace(
        QUIET, steps=20, distillation_weight=1.0, lr_density=0.0, t_min=0.1, t_max=0.6
    )
    refined = refine(config)
    for azimuth in (0.0, 2.0, 4.0):
        before, after = mean_colour(grey_ball(), azimuth), mean_colour(refined, azimuth)
        assert after[0] < before[0] - 0.05 and after[1] < before[1] - 0.05 and after[2] > before[2] + 0.05


def test_distillation_weighs_the_same_at_any_size_of_latents():
    """It is a mean over latent entries: four times as many of the same leave it alike."""
    seen = []
    config = dataclasses.replace(QUIET, steps=1, distillation_weight=1.0)
    for repeats in (1, 2):
        refine_field(
            grey_ball(),
            denoiser_for=PaintedOneColour,
            encode=lambda pictures, n=repeats: encode(pictures).repeat(1, 1, n, n),
            reference=picture_of(grey_ball()),
            reference_camera=FRONT,
            config=config,
            seed=0,
            progress=lambda done, total, losses: seen.append(losses["distillation"]),
        )
    assert seen[1] == pytest.approx(seen[0], rel=0.25)


@pytest.mark.parametrize("clamp", [0.0, 1e-2, 1e-3])
def test_entries_of_the_gradient_are_cut_where_that_is_asked(clamp):
    """The loss is half the mean square of the gradient's entries."""
    seen = []
    config = dataclasses.replace(QUIET, steps=1, distillation_weight=1.0, grad_clamp=clamp)
    refine(config, progress=lambda done, total, losses: seen.append(losses["distillation"]))
    if clamp:
        assert 0.1 * clamp**2 < seen[0] <= 0.5 * clamp**2 * 1.001
    else:
        assert seen[0] > 1e-3


def test_the_anchor_paints_the_front_as_in_the_picture():
    grid = grey_ball()
    red = FrozenGrid(grid.occupancy, torch.tensor([0.9, 0.1, 0.1]).expand(16, 16, 16, 3))
    config = dataclasses.replace(QUIET, steps=20, anchor_rgb_weight=30.0, anchor_every=1, lr_color=0.2)
    refined = refine(config, reference=picture_of(red))
    front, back = mean_colour(refined, 0.0), mean_colour(refined, math.pi)
    assert front[0] > 0.6 and front[1] < 0.4
    assert (back - 0.5).abs().max() < 0.15, "only the rim, seen from the front too, may change"


def test_the_anchor_shapes_the_outline_as_in_the_picture():
    smaller = picture_of(grey_ball(radius=0.45))
    config = dataclasses.replace(QUIET, steps=40, anchor_alpha_weight=30.0, anchor_every=1, lr_density=0.5)
    refined = picture_of(refine(config, reference=smaller))
    before = np.abs(picture_of(grey_ball()).alpha - smaller.alpha).mean()
    assert np.abs(refined.alpha - smaller.alpha).mean() < 0.4 * before


def test_drift_holds_the_shape_against_a_denoiser_that_wants_nothing_there():
    class OnlyGround(PaintedOneColour):
        def __init__(self, words, grounds):
            self.mean = to_latents(torch.tensor(grounds))[:, :, None, None]

    base = dataclasses.replace(QUIET, steps=25, distillation_weight=1.0, lr_density=0.3, lr_color=0.0)
    base = dataclasses.replace(base, t_min=0.3, t_max=0.6, t_max_end=0.6)
    left = [
        refine(dataclasses.replace(base, drift_weight=weight), denoiser_for=OnlyGround)
        .occupancy()
        .sum()
        .item()
        for weight in (0.0, 0.1)
    ]
    start = warm_start(grey_ball(), 16).occupancy().sum().item()
    assert left[0] < 0.9 * start, "without drift the ball melts into the ground"
    assert left[1] > left[0] + 0.3 * (start - left[0])


def test_refinement_ends_hard_and_with_paint_from_the_surface():
    refined = refine(dataclasses.replace(BUSY, sharpness=9.0))
    assert refined.sharpness == 9.0
    again = SurfaceColoured(refined).raw_colour
    assert (torch.sigmoid(again) - torch.sigmoid(refined.raw_colour)).abs().mean() < 0.01


def test_a_step_asks_for_opposite_views_with_their_words_and_grounds():
    asked = []

    def denoiser_for(words, grounds):
        asked.append((list(words), list(grounds)))
        return PaintedOneColour(words, grounds)

    refine(dataclasses.replace(QUIET, distillation_weight=1.0), denoiser_for=denoiser_for)
    assert len(asked) == QUIET.steps
    for words, grounds in asked:
        assert len(words) == len(grounds) == 2
        assert all(ground in BACKGROUNDS for ground in grounds)
    assert len({ground for _, grounds in asked for ground in grounds}) > 2
    views = draw_views(2, Ranges((0.1, 0.9)), named_generator(0, "refine", 0))
    one, two = (camera.position[:2] / camera.position[:2].norm() for camera in views.cameras)
    assert torch.allclose(one, -two, atol=1e-5)
    heights = [math.asin(camera.position[2] / camera.position.norm()) for camera in views.cameras]
    assert all(0.1 - 1e-5 <= height <= 0.9 + 1e-5 for height in heights)
    assert max(min(ground) for ground in BACKGROUNDS) < 0.6, "no ground is near white"


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    assert same(refine(BUSY, seed=3), refine(BUSY, seed=3))
    assert not same(refine(BUSY, seed=3), refine(BUSY, seed=4))


@pytest.mark.parametrize("stop_after", [2, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, stop_after):
    class Stopped(Exception):
        pass

    def stop(done, total, losses):
        if done == stop_after:
            raise Stopped

    with pytest.raises(Stopped):
        refine(BUSY, checkpoint_folder=tmp_path, progress=stop)
    steps = []
    resumed = refine(BUSY, checkpoint_folder=tmp_path, progress=lambda done, *_: steps.append(done))
    assert steps[0] == stop_after // 2 * 2 + 1, "it goes on after the last checkpoint"
    assert same(resumed, refine(BUSY))


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path):
    refine(BUSY, checkpoint_folder=tmp_path)
    with pytest.raises(SlipcastError, match="belongs to seed 0, not 1"):
        refine(BUSY, checkpoint_folder=tmp_path, seed=1)
    with pytest.raises(SlipcastError, match="should have the shape"):
        refine(dataclasses.replace(BUSY, resolution=20), checkpoint_folder=tmp_path)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SlipcastError, match="cannot read"):
        refine(BUSY, checkpoint_folder=tmp_path)


def _flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"garbage", lambda data: data[:1000], lambda data: b"", _flip_a_bit,
     lambda data: data.replace(b'"step":"4"', b'"step":"2"'), lambda data: data.replace(b'"seed":"0"', b'"seed":"5"')],
    ids=["garbage", "cut", "empty", "a flipped bit", "another step", "another seed"],
)  # fmt: skip
def test_a_useless_checkpoint_is_said_and_the_refinement_starts_anew(tmp_path, damage):
    def stop(done, *_):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(BUSY, checkpoint_folder=tmp_path, progress=stop)
    path, said, steps = tmp_path / CHECKPOINT_FILE, [], []
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    field = refine(
        BUSY, checkpoint_folder=tmp_path, notice=said.append, progress=lambda done, *_: steps.append(done)
    )
    assert len(said) == 1 and str(path) in said[0] and "starts anew" in said[0] and "\n" not in said[0]
    assert steps == [1, 2, 3, 4, 5, 6] and same(field, refine(BUSY))


def test_a_denoiser_that_returns_nan_is_named_with_the_step():
    class Broken(PaintedOneColour):
        calls = 0

        def __call__(self, x_t, t):
            Broken.calls += 1
            return super().__call__(x_t, t) * (math.nan if Broken.calls == 3 else 1.0)

    with pytest.raises(SlipcastError, match="refinement step 2: the loss 'distillation' is not finite"):
        refine(dataclasses.replace(QUIET, distillation_weight=1.0), denoiser_for=Broken)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"t_min": 0.3, "t_max_end": 0.2}, "t_min"),
        ({"elevation_min_deg": 60.0}, "elevation_min_deg"),
    ],
)
def test_settings_that_contradict_each_other_are_bad_input(changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        refine(dataclasses.replace(QUIET, **changes))


def test_a_picture_that_is_not_square_is_refused():
    wide = SubjectImage(np.zeros((8, 16, 3), np.float32), np.zeros((8, 16), np.float32))
    with pytest.raises(ValueError, match="square"):
        refine(QUIET, reference=wide)


def course(folder):
    return list(csv.DictReader((folder / CURVE_FILE).read_text().splitlines()))


def test_the_course_is_recorded_and_changes_no_bit_of_the_field(tmp_path, monkeypatch):
    told = {}
    watched = refine(
        BUSY, checkpoint_folder=tmp_path, progress=lambda done, _, losses: told.update({done - 1: losses})
    )
    rows = course(tmp_path)
    assert [row["step"] for row in rows] == ["0", "2", "4", "5"], "anchors are measured at every second step"
    for row in rows:
        losses = told[int(row["step"])]
        assert {name for name in row if row[name] and name.startswith("loss ")} == {
            f"loss {one}" for one in losses
        }
        assert all(
            math.isclose(float(row[f"loss {name}"]), value, rel_tol=1e-5) for name, value in losses.items()
        )
        assert float(row["gradient distillation"]) > 0
    assert rows[-1]["loss picture colour"] == rows[-1]["gradient picture colour"] == ""
    monkeypatch.setattr(Curve, "wants", lambda self, index: False)
    assert same(watched, refine(BUSY))


@pytest.mark.parametrize("stop_after", [3, 5])
def test_the_course_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path, stop_after):
    class Stopped(Exception):
        pass

    def stop(done, total, losses):
        if done == stop_after:
            raise Stopped

    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    refine(BUSY, checkpoint_folder=tmp_path / "whole")
    with pytest.raises(Stopped):
        refine(BUSY, checkpoint_folder=tmp_path / "cut", progress=stop)
    refine(BUSY, checkpoint_folder=tmp_path / "cut")
    whole, cut = ((tmp_path / name / CURVE_FILE).read_bytes() for name in ("whole", "cut"))
    assert whole == cut and whole.count(b"\n") == 5


def test_a_course_that_cannot_be_read_is_begun_anew(tmp_path):
    curve = Curve(BUSY, ["distillation"])
    for text in ("", "step\n1\n", "no table", "step,loss distillation,gradient distillation\nx,1,2\n"):
        (tmp_path / CURVE_FILE).write_text(text)
        curve.load(tmp_path, 4)
        curve.save(tmp_path)
        assert course(tmp_path) == []


def test_the_gradient_of_a_loss_is_its_own(tmp_path):
    one, two, idle = (torch.nn.Parameter(torch.tensor(value)) for value in (3.0, 4.0, 5.0))
    both, alone = one**2 + two**2, (7 * one).sum()
    assert gradient_norm(both, [one, two, idle]) == 10.0 and gradient_norm(alone, [one, two, idle]) == 7.0
    assert gradient_norm(both.detach(), [one, two]) == 0.0 and one.grad is None
    (both + alone).backward()
    assert one.grad == 13.0, "the graphs are still there"


def test_long_refinements_have_no_more_points_than_short_ones(tmp_path):
    for steps, anchor_every in ((1, 2), (60, 1), (61, 1), (300, 2), (10_000, 7)):
        config = dataclasses.replace(BUSY, steps=steps, anchor_every=anchor_every)
        curve = Curve(config, ["a"])
        wanted = [index for index in range(steps) if curve.wants(index)]
        assert len(wanted) <= 61 and wanted[-1] == steps - 1
        for index in wanted:
            curve.add(index, {"a": torch.tensor(1.0)}, [])
        curve.save(tmp_path)
        pulls = [int(row["step"]) for row in course(tmp_path) if row["gradient a"]]
        assert len(pulls) <= 21 and pulls[-1] == steps - 1 and set(pulls) <= set(wanted)
        assert all(index % anchor_every == 0 for index in wanted[:-1])
