"""Light: a lit ball is the closed form of its shading, and what is lit is drawn as often as asked."""

import dataclasses

import pytest
import torch
from fakes.refinements import BUSY, QUIET, PaintedOneColour, refine, same
from torch.nn.functional import normalize

from slipcast.guidance.noise import named_generator
from slipcast.systems.field.normals import normals
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import DENSITY_PEAK, VoxelField
from slipcast.systems.refine.light import Light, draw_light
from slipcast.systems.refine.views import Ranges, draw_views

LIT = dataclasses.replace(BUSY, light="point", light_share=1.0, size=16, samples=8)


def ball(points):
    density = DENSITY_PEAK * torch.sigmoid(20 * (0.6 - points.norm(dim=-1)))
    return density, points.new_tensor([0.8, 0.4, 0.2]).expand(len(points), 3)


@pytest.mark.parametrize("textureless", [False, True])
def test_law_a_ball_is_lit_by_the_angle_to_its_lamp(textureless):
    place = torch.tensor([2.0, -3.0, 1.0])
    shell = 0.6 * normalize(torch.randn(300, 3, generator=named_generator(0, "shell")), dim=1)
    density, rgb = Light([place], textureless).on(ball, 0, 1e-3)(shell)
    facing = (normalize(shell, dim=1) * normalize(place - shell, dim=1)).sum(1, keepdim=True).clamp_min(0)
    albedo = torch.ones(3) if textureless else torch.tensor([0.8, 0.4, 0.2])
    torch.testing.assert_close(rgb, albedo * (0.1 + 0.9 * facing), atol=3e-3, rtol=0)
    assert torch.equal(density, ball(shell)[0]), "light moves no matter"


def test_haze_that_is_rounding_has_no_direction_and_nothing_is_pushed_by_it():
    """A field is soft at first: all that is empty has some density, the same but for the last bits."""
    raw = -4.7 + 1e-6 * torch.randn(16, 16, 16, generator=named_generator(0, "haze"))
    field = VoxelField(raw, torch.zeros(16, 16, 16, 3))
    points = torch.rand(500, 3, generator=named_generator(0, "points")) - 0.5
    found = normals(field, points, 2 / 16)
    assert found.abs().max() < 1e-4
    found.sum().backward()
    assert field.raw_density.grad is not None and field.raw_density.grad.abs().max() < 100


def test_the_side_of_the_lamp_is_bright_and_the_other_is_not_black():
    view = draw_views(1, Ranges((0.0, 0.0)), named_generator(0)).cameras[0]
    right = view.cam_to_world[:3, 0]
    picture, opacity, _ = render_image(Light([5 * right], False).on(ball, 0, 0.05), view, 16)
    left, lit = picture[8, 5], picture[8, 10]
    assert opacity[8, 5] > 0.9 and opacity[8, 10] > 0.9
    assert lit[0] > 3 * left[0] > 0.05


def test_lamps_stand_about_where_cameras_do_as_often_as_asked():
    config = dataclasses.replace(LIT, light_share=0.6, textureless_share=0.25)
    drawn = []
    for seed in range(400):
        generator = named_generator(seed)
        views = draw_views(2, Ranges((0.1, 0.9)), generator)
        drawn.append((views, draw_light(config, views, 0, generator)))
    lights = [(views, light) for views, light in drawn if light is not None]
    assert len(lights) / 400 == pytest.approx(0.6, abs=0.08)
    assert sum(light.textureless for _, light in lights) / len(lights) == pytest.approx(0.25, abs=0.08)
    distances = torch.stack([place.norm() for _, light in lights for place in light.places])
    assert 2.0 <= distances.min() < 2.1 and 3.9 < distances.max() <= 4.0
    same_side = [
        float(normalize(place, dim=0) @ normalize(camera.position, dim=0))
        for views, light in lights
        for camera, place in zip(views.cameras, light.places, strict=True)
    ]
    assert 0.3 < sum(same_side) / len(same_side) < 0.8


def test_shares_follow_their_schedules():
    config = dataclasses.replace(LIT, light_share=[10, 0.0, 1.0, 11])
    views = draw_views(1, Ranges((0.1, 0.9)), named_generator(0))
    assert draw_light(config, views, 10, named_generator(0)) is None
    assert draw_light(config, views, 11, named_generator(0)) is not None


def test_without_light_nothing_is_drawn_and_no_bit_changes():
    generator = named_generator(0)
    state = generator.get_state()
    views = draw_views(1, Ranges((0.1, 0.9)), named_generator(1))
    assert draw_light(BUSY, views, 0, generator) is None and torch.equal(generator.get_state(), state)
    assert same(refine(BUSY), refine(dataclasses.replace(BUSY, light_share=0.1, textureless_share=1.0)))


def test_lit_refinement_goes_on_bit_for_bit(tmp_path):
    def stop(done, *_):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(LIT, checkpoint_folder=tmp_path, progress=stop)
    whole = refine(LIT)
    assert same(refine(LIT, checkpoint_folder=tmp_path), whole)
    assert not same(whole, refine(dataclasses.replace(LIT, light="none")))


def test_light_is_not_painted_in():
    """A denoiser of one dark colour: in the light of lamps the paint has to be lighter than the views are."""

    class Dark(PaintedOneColour):
        def __init__(self, words, grounds):
            super().__init__(words, grounds, (0.25, 0.25, 0.25))

    config = dataclasses.replace(
        QUIET, steps=15, size=16, samples=8, distillation_weight=1.0, lr_density=0.0, lr_color=0.3,
        light="point", light_share=1.0, textureless_share=0.0, t_min=0.1, t_max=0.4,
    )  # fmt: skip
    lit, plain = (
        torch.sigmoid(refine(one, denoiser_for=Dark).raw_colour)[8, 8, 11].mean()
        for one in (config, dataclasses.replace(config, light="none"))
    )
    assert lit > plain + 0.05
