"""Terms on views against fields whose opacity and normals are known, and views that grow over the run."""

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes.refinements import BUSY, QUIET, PaintedOneColour, grey_ball, refine, same

from slipcast.configs.errors import BadInput
from slipcast.guidance.noise import named_generator
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.normals import Repainted, normals
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import DENSITY_PEAK
from slipcast.systems.refine import view_terms as terms
from slipcast.systems.refine.view_terms import view_terms

POINTS = torch.rand(200, 3, generator=named_generator(0, "points")) * 1.6 - 0.8


def ball(points, radius=0.6, hardness=20.0):
    density = DENSITY_PEAK * torch.sigmoid(hardness * (radius - points.norm(dim=-1)))
    return density, points.new_full((len(points), 3), 0.5)


def test_law_normals_of_a_ball_point_away_from_its_middle():
    near = POINTS[(POINTS.norm(dim=1) - 0.6).abs() < 0.2]
    found = normals(ball, near, 1e-3)
    torch.testing.assert_close(found, torch.nn.functional.normalize(near, dim=1), atol=2e-3, rtol=0)
    steady = normals(lambda points: (torch.ones(len(points)), points), POINTS, 0.1)
    assert torch.equal(steady, torch.zeros_like(steady)), "where nothing changes there is no direction"


def test_normals_have_finite_gradients():
    radius = torch.tensor(0.6, requires_grad=True)

    def field(points):
        return torch.sigmoid(200 * (radius - points.norm(dim=-1))), points

    normals(field, POINTS, 0.05).sum().backward()
    assert radius.grad is not None and torch.isfinite(radius.grad)


def test_a_repainted_field_is_seen_in_its_colours_where_it_is():
    red = Repainted(ball, lambda points, density, rgb: (density, torch.tensor([1.0, 0, 0]).expand_as(rgb)))
    camera = orbit_camera(0.3, 0.2)
    plain, seen = (render_image(field, camera, 16) for field in (ball, red))
    torch.testing.assert_close(plain[1], seen[1])
    torch.testing.assert_close(seen[0][..., 0], seen[1])
    assert seen[0][..., 1:].abs().max() == 0


def losses_of(**settings):
    seen = []
    config = dataclasses.replace(QUIET, steps=1, size=16, samples=8, lr_density=0.0, lr_color=0.0, **settings)
    refine(config, progress=lambda done, total, losses: seen.append(losses))
    return seen[0]


def test_each_term_is_there_if_it_has_a_weight():
    names = {
        "sparsity": "sparsity_weight",
        "opaqueness": "opaqueness_weight",
        "orientation": "orientation_weight",
        "normal smoothness": "normal_smoothness_weight",
    }
    assert view_terms(QUIET) == {}
    for name, setting in names.items():
        one, twice = (losses_of(**{setting: weight})[name] for weight in (1.0, 2.0))
        assert one > 0 and twice == pytest.approx(2 * one, rel=1e-4)
    later = dataclasses.replace(QUIET, orientation_weight=[0, 0.0, 1.0, 5])
    assert list(view_terms(later)) == ["orientation"]
    assert "orientation" not in losses_of(orientation_weight=[0, 0.0, 1.0, 5]), "not at step 0"


def test_law_of_what_is_solid_or_empty_only_the_share_counts():
    """Hard views: sparsity is 0.1 where nothing is and sqrt(1.01) where something is, and there is no doubt."""
    opacity = torch.tensor([0.0, 1.0, 1.0, 0.0])
    step: Any = SimpleNamespace(seen=(SimpleNamespace(opacity=opacity), None))
    assert terms.sparsity(step).item() == pytest.approx((0.1 + math.sqrt(1.01)) / 2)
    least = -(0.999 * math.log(0.999) + 0.001 * math.log(0.001))
    assert terms.opaqueness(step).item() == pytest.approx(least, rel=1e-3)
    step.seen[0].opacity = torch.full((4,), 0.5)
    assert terms.opaqueness(step).item() == pytest.approx(math.log(2))


def test_views_and_the_picture_grow_over_the_run():
    seen = []

    class Noted(PaintedOneColour):
        def __call__(self, x_t, t):
            seen.append(tuple(x_t.shape))
            return super().__call__(x_t, t)

    config = dataclasses.replace(
        BUSY, steps=4, size=32, views=1, first_size=16, first_views=3, first_until=0.5, anchor_every=1
    )
    refine(config, denoiser_for=Noted)
    assert seen == [(3, 3, 4, 4)] * 2 + [(1, 3, 8, 8)] * 2
    plain = dataclasses.replace(config, first_size=None, first_views=None)
    assert same(refine(plain), refine(dataclasses.replace(plain, first_until=0.0)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fov_min_deg": 40.0}, "refine.fov_min_deg=40.0 must not exceed refine.fov_max_deg=30.0"),
        ({"distance_max": 3.0}, "refine.distance_min=4.5 must not exceed refine.distance_max=3.0"),
        ({"azimuth_min_deg": 200.0}, "must not exceed refine.azimuth_max_deg=180.0"),
        ({"azimuth_min_deg": -300.0}, "more than a turn apart"),
    ],
)
def test_ranges_that_are_none_are_refused(changes, sentence):
    with pytest.raises(BadInput, match=sentence):
        refine(dataclasses.replace(QUIET, **changes))


def test_the_collapse_of_views_from_afar_is_not_mistaken():
    """From four times as far a ball is a sixteenth as large."""
    far = dataclasses.replace(
        QUIET, steps=2, distance_min=40.0, distance_max=40.0, sparsity_weight=1e-6, size=32
    )
    refine(far)
    assert grey_ball().occupancy.sum() > 0
