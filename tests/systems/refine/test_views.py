"""The views of a step: evenly round the object, as high as asked, before grounds that are what they are called."""

import colorsys
import math

import pytest
import torch

from slipcast.configs.schema import RefineConfig
from slipcast.guidance.noise import named_generator
from slipcast.systems.field.cameras import camera_rays, view_word
from slipcast.systems.refine.views import BACKGROUNDS, Ranges, background_word, draw_views

HUES = {"red": (340, 375), "orange": (22, 45), "brown": (15, 45), "green": (90, 150), "teal": (170, 190)}
HUES["purple"] = (255, 300)


def angles(camera):
    """Azimuth, 0 in front of -Y and growing towards +X, and elevation."""
    x, y, z = camera.position.double().tolist()
    return math.atan2(x, -y), math.asin(z / math.hypot(x, y, z))


@pytest.mark.parametrize("ground", BACKGROUNDS, ids=background_word)
def test_a_ground_has_the_colour_of_its_word(ground):
    hue, lightness, _ = colorsys.rgb_to_hls(*ground)
    word = background_word(ground)
    if "grey" in word:
        assert max(ground) - min(ground) == 0
        assert (lightness < 0.4) == word.startswith("dark")
    else:
        low, high = HUES[word]
        assert low <= hue * 360 <= high or low <= hue * 360 + 360 <= high
        assert max(ground) - min(ground) > 0.2 and max(ground) < 0.95
        assert (lightness < 0.4 and max(ground) < 0.6) or word != "brown"
    assert 0.1 < lightness < 0.7, "neither black nor near white"


def test_words_and_grounds_are_one_to_one():
    assert (
        len({background_word(ground) for ground in BACKGROUNDS}) == len(set(BACKGROUNDS)) == len(BACKGROUNDS)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_cameras_stand_evenly_round_the_object_from_any_azimuth(count):
    turns = []
    for seed in range(40):
        views = draw_views(count, Ranges((0.1, 0.9)), named_generator(seed))
        assert len(views.cameras) == len(views.words) == len(views.backgrounds) == count
        azimuths = [angles(camera)[0] for camera in views.cameras]
        for one, two in zip(azimuths, azimuths[1:] + azimuths[:1], strict=True):
            assert math.remainder(two - one - 2 * math.pi / count, 2 * math.pi) == pytest.approx(0, abs=1e-4)
        turns.append(azimuths[0])
    quarters = torch.tensor(turns).div(math.pi / 2).floor().unique()
    assert len(quarters) == 4, "the first one stands anywhere"


def test_heights_fill_the_range_and_each_view_has_its_own():
    drawn = [draw_views(3, Ranges((-0.2, 1.0)), named_generator(seed)) for seed in range(60)]
    heights = torch.tensor([[angles(camera)[1] for camera in views.cameras] for views in drawn])
    assert -0.2 - 1e-5 <= heights.min() < -0.1 and 0.9 < heights.max() <= 1.0 + 1e-5
    assert heights.mean().item() == pytest.approx(0.4, abs=0.08)  # uniform; three standard deviations
    assert (heights.std(dim=1) > 0).all()
    level = draw_views(4, Ranges((0.3, 0.3)), named_generator(0))
    assert [angles(camera)[1] for camera in level.cameras] == pytest.approx([0.3] * 4, abs=1e-5)


def test_words_are_the_cameras_and_every_ground_is_drawn():
    seen = set()
    for seed in range(40):
        views = draw_views(4, Ranges((0.1, 1.2)), named_generator(seed))
        assert views.words == [view_word(*angles(camera)) for camera in views.cameras]
        seen |= set(views.backgrounds)
    assert seen == set(BACKGROUNDS)


def test_rays_are_those_of_each_camera_with_its_ground():
    size = 4
    views = draw_views(3, Ranges((0.1, 0.9)), named_generator(1))
    origins, directions, grounds = views.rays(size)
    assert origins.shape == directions.shape == grounds.shape == (3 * size**2, 3)
    for index, camera in enumerate(views.cameras):
        own = slice(index * size**2, (index + 1) * size**2)
        from_camera = camera_rays(camera, size)
        assert torch.equal(origins[own], from_camera[0]) and torch.equal(directions[own], from_camera[1])
        assert torch.equal(grounds[own], torch.tensor(views.backgrounds[index]).expand(size**2, 3))


def test_cameras_stay_within_their_ranges_and_fill_them():
    ranges = Ranges((0.1, 0.2), (-0.5, 0.7), (0.3, 0.9), (2.0, 6.0))
    drawn = [camera for seed in range(60) for camera in draw_views(3, ranges, named_generator(seed)).cameras]
    found = {
        "azimuth_rad": torch.tensor([angles(camera)[0] for camera in drawn]),
        "elevation_rad": torch.tensor([angles(camera)[1] for camera in drawn]),
        "fov_y_rad": torch.tensor([camera.fov_y_rad for camera in drawn]),
        "distance": torch.stack([camera.position.norm() for camera in drawn]),
    }
    for name, values in found.items():
        low, high = getattr(ranges, name)
        slack = 0.02 * (high - low)
        assert low - 1e-4 <= values.min() < low + slack + 0.1 * (high - low), name
        assert high + 1e-4 >= values.max() > high - slack - 0.1 * (high - low), name
    turns = found["azimuth_rad"].view(-1, 3)
    for part in range(3):
        assert ((turns[:, part] + 0.5) / 1.2 * 3).floor().unique().tolist() == [part], (
            "one in each part of the arc"
        )


def test_more_choices_leave_what_was_drawn_before():
    plain, more = (
        draw_views(3, ranges, named_generator(5))
        for ranges in (Ranges((0.1, 0.9)), Ranges((0.1, 0.9), fov_y_rad=(0.3, 0.5), distance=(3.0, 4.0)))
    )
    assert plain.words == more.words and plain.backgrounds == more.backgrounds
    for one, other in zip(plain.cameras, more.cameras, strict=True):
        assert angles(one) == pytest.approx(angles(other), abs=1e-5)
        assert one.position.norm() == pytest.approx(4.5, abs=1e-5) and one.fov_y_rad == math.radians(30)


def test_ranges_are_those_of_the_settings_and_tell_how_large_the_object_looks():
    usual = Ranges.of(RefineConfig())
    assert usual == Ranges((math.radians(5), math.radians(50))) and usual.zoom == pytest.approx((1.0, 1.0))
    wide = Ranges.of(RefineConfig(distance_min=2.25, fov_max_deg=60.0))
    assert wide.zoom == pytest.approx((math.tan(math.radians(15)) / math.tan(math.radians(30)), 2.0))
    assert wide.all_round and not Ranges((0.0, 1.0), (-1.0, 1.0)).all_round
