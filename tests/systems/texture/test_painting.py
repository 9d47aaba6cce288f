"""Views that are denoised together and agree in the texture: what they know comes out, what they do not see stays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fakes.accelerator import ACCELERATOR, AcceleratorTensor
from fakes.solid_fields import SolidField, torus
from torch import Tensor

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import PaintConfig
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.canvas import Canvas, canvas_of
from slipcast.systems.texture.painting import Painter, paint, painting_angles
from slipcast.systems.texture.texels import Texels, surface_texels
from slipcast.systems.types import Mesh, SubjectImage

EDGE, SIZE, VIEWS = 128, 64, 6
ELEVATION = math.radians(15)
CONFIG = PaintConfig(steps=3, views=VIEWS, anchor=0.0)
GREY = np.full((VIEWS, 3), 0.5)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    bare = unwrap(
        extract_surface(SolidField(torus, peak=400.0), resolution=64, target_faces=2500).reduced, size=EDGE
    )
    return bare.with_(texture=np.full((EDGE, EDGE, 3), 90, np.uint8))


@pytest.fixture(scope="module")
def texels(mesh: Mesh) -> Texels:
    return surface_texels(mesh, EDGE)


@pytest.fixture(scope="module")
def canvas(mesh: Mesh, texels: Texels) -> Canvas:
    return canvas_of(mesh, texels, [orbit_camera(*a) for a in angles()], SIZE, power=4.0)


@pytest.fixture(scope="module")
def known(mesh: Mesh, texels: Texels) -> np.ndarray:
    """A texture that tells where its texels lie, [N, 3]."""
    return ((texels.interpolate(mesh.vertices, mesh.faces) + 1) / 2).astype(np.float32)


def angles() -> list[tuple[float, float]]:
    return painting_angles(VIEWS, ELEVATION)


class Knows:
    """A denoiser that always predicts the same clean latents."""

    def __init__(self, views: np.ndarray) -> None:
        self.truth = encode(torch.from_numpy(views).permute(0, 3, 1, 2))
        self.schedule = NoiseSchedule(torch.linspace(0.9999, 0.01, 100))

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.schedule.eps_from_x0(x_t, self.truth.to(x_t.device), t)


def encode(pictures: Tensor) -> Tensor:
    return pictures.float() * 2 - 1


def decode(latents: Tensor) -> Tensor:
    return latents / 2 + 0.5


def picture(colour: float = 0.8) -> SubjectImage:
    rows = np.abs(np.arange(48) - 23.5)
    disc = (np.hypot(rows[:, None], rows) < 20).astype(np.float32)
    return SubjectImage(np.full((48, 48, 3), colour, np.float32), disc)


def painted(
    mesh: Mesh, views: np.ndarray, config: PaintConfig = CONFIG, seed: int = 0, **more: Any
) -> tuple[Mesh, dict[str, Any]]:
    options = {"encode": encode, "decode": decode} | more
    return paint(
        mesh,
        Painter(Knows(views), **options),
        angles(),
        GREY,
        picture=picture(),
        size=SIZE,
        config=config,
        generator=torch.Generator().manual_seed(seed),
    )


def colours(mesh: Mesh, texels: Texels) -> np.ndarray:
    assert mesh.texture is not None
    return mesh.texture.reshape(-1, 3)[texels.index] / 255


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(((one - other) ** 2).mean()))


def test_views_begin_at_the_front_and_a_quarter_looks_from_above() -> None:
    for count in (1, 4, 10, 12):
        pairs = painting_angles(count, ELEVATION)
        assert len(set(pairs)) == count and pairs[0] == (0, ELEVATION)
        assert sum(elevation > ELEVATION for _, elevation in pairs) == count // 4


def test_both_ways_keep_plain_colours(canvas: Canvas, texels: Texels) -> None:
    red = np.tile(np.array([0.9, 0.2, 0.1], np.float32), (len(texels), 1))
    views = canvas.seen(red, GREY.astype(np.float32))
    inside = canvas.coverage == 1
    np.testing.assert_allclose(views[inside], np.broadcast_to(red[0], (inside.sum(), 3)), atol=1e-5)
    np.testing.assert_allclose(views[canvas.coverage == 0], 0.5)
    back = canvas.laid(views)
    np.testing.assert_allclose(back[canvas.trust > 0], red[canvas.trust > 0], atol=1e-3)
    assert np.abs(canvas.lost(np.ones_like(views))).max() < 1e-4


def test_a_texture_comes_back_from_its_views(canvas: Canvas, known: np.ndarray) -> None:
    back = canvas.laid(canvas.seen(known, GREY.astype(np.float32)))
    assert psnr(back[canvas.trust > 0], known[canvas.trust > 0]) > 35


def test_the_squarest_look_counts_most(mesh: Mesh, texels: Texels) -> None:
    """Every view has a number as its colour: with a large power, texels show that of the view most in front of them."""
    cameras = [orbit_camera(*a) for a in angles()]
    sharp = canvas_of(mesh, texels, cameras, SIZE, power=64.0)
    numbers = np.arange(VIEWS, dtype=np.float32)[:, None, None, None] + np.zeros(
        (1, SIZE, SIZE, 3), np.float32
    )
    shown = sharp.laid(numbers)[:, 0]
    first, second = np.sort(sharp.cosine, 0)[[-1, -2]]
    clear = (first - second > 0.2) & (sharp.sure.min(0, where=sharp.cosine > 0, initial=1) > 0.9)
    assert clear.sum() > 50
    np.testing.assert_allclose(shown[clear], sharp.cosine.argmax(0)[clear], atol=0.01)


def test_nothing_hidden_is_painted(canvas: Canvas, mesh: Mesh, texels: Texels) -> None:
    """No view looks from below, and from 15 degrees the torus hides the far inside of its hole."""
    normals = texels.interpolate(mesh.normals, mesh.faces)
    assert canvas.trust[normals[:, 2] < -0.7].max() == 0
    assert 0.3 < (canvas.trust > 0).mean() < 0.9


def test_a_denoiser_that_knows_a_texture_gives_it_back_and_the_unseen_stays(
    mesh: Mesh, canvas: Canvas, texels: Texels, known: np.ndarray
) -> None:
    made, facts = painted(mesh, canvas.seen(known, GREY.astype(np.float32)), replace(CONFIG, start=0.7))
    got = colours(made, texels)
    assert psnr(got[canvas.trust == 1], known[canvas.trust == 1]) > 33
    unseen = canvas.trust == 0
    assert unseen.sum() > 500
    np.testing.assert_array_equal(got[unseen], np.float64(90) / 255)
    assert facts["seen"] == pytest.approx(canvas.trust.mean(), abs=1e-3) and facts["held_by_picture"] == 0
    np.testing.assert_array_equal(made.vertices, mesh.vertices)
    assert made.normal_map is mesh.normal_map and made.orm is mesh.orm


def test_views_agree_on_every_texel_after_every_step(mesh: Mesh, canvas: Canvas) -> None:
    """Each view insists on a colour of its own, with noise on it; what goes on shows one colour a texel in all."""
    rng = np.random.default_rng(0)
    flat = rng.random((VIEWS, 1, 1, 3)).astype(np.float32)
    views = flat + 0.1 * rng.standard_normal((VIEWS, SIZE, SIZE, 3)).astype(np.float32)
    shown, passed = list[Tensor](), list[Tensor]()

    def noted(pictures: Tensor) -> Tensor:
        shown.append(pictures)
        return encode(pictures)

    painted(mesh, views, encode=noted)
    half = -(-VIEWS // 2)
    batches = [torch.cat(shown[k : k + half]) for k in range(0, len(shown), half)]
    passed = batches[1::2]  # views at first; then, in every step, those agreed on and those that were told
    assert len(passed) == CONFIG.steps
    for one in passed:
        told = one.permute(0, 2, 3, 1).numpy()
        looked = np.stack([canvas.looked_up(k, told[k]) for k in range(VIEWS)])
        both = (canvas.cosine > 0.5) & (canvas.sure == 1)
        shared = both.sum(0) > 1
        apart = (np.where(both[..., None], looked, -9).max(0) - np.where(both[..., None], looked, 9).min(0))[
            shared
        ]
        assert shared.sum() > 300
        assert np.sqrt((apart**2).mean()) < 0.12, "of the noise of 0.1, only what lookups blur is left"
    insisted = np.abs(flat[:, None] - flat[None]).mean()
    assert insisted > 0.25


def test_what_lookups_blur_is_given_back(canvas: Canvas, mesh: Mesh) -> None:
    """A view alone agrees with itself: nothing changes where it sees squarely, however often it is asked."""
    alone = canvas_of(mesh, surface_texels(mesh, EDGE), [orbit_camera(0.0, ELEVATION)], SIZE, power=4.0)
    fine = np.random.default_rng(1).random((1, SIZE, SIZE, 3)).astype(np.float32)
    told = alone.seen(alone.trust[:, None] * alone.laid(fine), GREY[:1].astype(np.float32)) + alone.lost(fine)
    owned = alone.seen(np.repeat(alone.trust[:, None], 3, 1), np.zeros((1, 3), np.float32))[..., 0] > 0.999
    assert owned.sum() > 100
    np.testing.assert_allclose(told[owned], fine[owned], atol=1e-3)


def test_a_view_alone_goes_on_as_it_was_told_with_all_its_detail(mesh: Mesh) -> None:
    fine = np.random.default_rng(1).random((1, SIZE, SIZE, 3)).astype(np.float32)
    shown = list[Tensor]()

    def noted(pictures: Tensor) -> Tensor:
        shown.append(pictures)
        return encode(pictures)

    paint(
        mesh, Painter(Knows(fine), noted, decode), angles()[:1], GREY[:1], picture=picture(), size=SIZE,
        config=CONFIG, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    alone = canvas_of(
        mesh, surface_texels(mesh, EDGE), [orbit_camera(*angles()[0])], SIZE, power=CONFIG.power
    )
    owned = alone.seen(np.repeat(alone.trust[:, None], 3, 1), np.zeros((1, 3), np.float32))[0, ..., 0] > 0.999
    agreed = shown[-2][0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(agreed[owned], fine[0][owned], atol=1e-3)


def test_texels_that_views_hardly_see_keep_some_of_the_old_colour(
    mesh: Mesh, canvas: Canvas, texels: Texels
) -> None:
    made, _ = painted(mesh, np.full((VIEWS, SIZE, SIZE, 3), 0.1, np.float32), replace(CONFIG, power=4.0))
    old = 90 / 255
    between = (canvas.trust > 0.1) & (canvas.trust < 0.9)
    assert between.sum() > 300
    wanted = old + canvas.trust * (0.1 - old)
    np.testing.assert_allclose(colours(made, texels)[between, 0], wanted[between], atol=0.01)


def test_the_front_keeps_the_picture_where_it_is_seen_squarely(
    mesh: Mesh, canvas: Canvas, texels: Texels
) -> None:
    dark = np.full((VIEWS, SIZE, SIZE, 3), 0.1, np.float32)
    made, facts = painted(mesh, dark, replace(CONFIG, anchor=1.0))
    got = colours(made, texels)
    square = (canvas.cosine[0] > 0.85) & (canvas.sure[0] == 1)
    assert square.sum() > 100 and facts["held_by_picture"] > 0.01
    np.testing.assert_allclose(got[square], 0.8, atol=0.01)
    away = (canvas.cosine[0] == 0) & (canvas.trust == 1)
    np.testing.assert_allclose(got[away], 0.1, atol=0.01)
    loose, facts = painted(mesh, dark)
    np.testing.assert_allclose(colours(loose, texels)[square], 0.1, atol=0.01)


def test_a_start_without_noise_leaves_the_paint(mesh: Mesh, texels: Texels, known: np.ndarray) -> None:
    """Whatever the denoiser says: at t = 0 it has no say. What is left is the lookups' blur."""
    old = mesh.with_(texture=(texels.picture(known) * 255).astype(np.uint8))

    class Wild(Knows):
        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.ones_like(x_t)

    wild = Wild(np.zeros((VIEWS, SIZE, SIZE, 3), np.float32))
    generator = torch.Generator().manual_seed(0)
    made, _ = paint(
        old, Painter(wild, encode, decode), angles(), GREY, picture=picture(), size=SIZE,
        config=replace(CONFIG, start=0.0), generator=generator,
    )  # fmt: skip
    assert psnr(colours(made, texels), colours(old, texels)) > 32


def test_detail_that_the_autoencoder_cannot_say_may_be_kept(mesh: Mesh, texels: Texels) -> None:
    """With an autoencoder that knows means of 4 x 4 pixels only, a start without noise gives the old paint back."""
    squares = ((texels.interpolate(mesh.vertices, mesh.faces) * 8).round() % 2).sum(1, keepdims=True) % 2
    old = mesh.with_(texture=(texels.picture(np.repeat(squares, 3, 1)) * 200).astype(np.uint8))

    def coarse(latents: Tensor) -> Tensor:
        mean = torch.nn.functional.avg_pool2d(latents, 4)
        return decode(torch.nn.functional.interpolate(mean, scale_factor=4))

    class Still(Knows):
        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x_t)

    def once(share: float) -> float:
        made, _ = paint(
            old, Painter(Still(np.zeros((VIEWS, SIZE, SIZE, 3), np.float32)), encode, coarse), angles(), GREY,
            picture=picture(), size=SIZE, config=replace(CONFIG, start=0.0, steps=1, keep_detail=share),
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return psnr(colours(made, texels), colours(old, texels))

    assert once(1.0) > 35 > 25 > once(0.0)


def test_no_steps_leave_the_mesh(mesh: Mesh) -> None:
    made, facts = painted(mesh, np.zeros((VIEWS, SIZE, SIZE, 3), np.float32), replace(CONFIG, steps=0))
    assert made is mesh and facts == {}


def test_a_seed_gives_its_paint(mesh: Mesh) -> None:
    class Forgets(Knows):
        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return x_t * 0.5  # keeps some of the noise

    def once(seed: int) -> np.ndarray:
        denoiser = Forgets(np.zeros((VIEWS, SIZE, SIZE, 3), np.float32))
        texture = paint(
            mesh, Painter(denoiser, encode, decode), angles(), GREY, picture=picture(), size=SIZE, config=CONFIG,
            generator=torch.Generator().manual_seed(seed),
        )[0].texture  # fmt: skip
        assert texture is not None
        return texture

    np.testing.assert_array_equal(once(3), once(3))
    assert (once(3) != once(4)).any()


def test_a_smaller_canvas_paints_a_larger_texture(mesh: Mesh, known: np.ndarray, texels: Texels) -> None:
    large = mesh.with_(texture=np.full((4 * EDGE, 4 * EDGE, 3), 90, np.uint8))
    small = 32
    canvas = canvas_of(
        mesh, surface_texels(mesh, 4 * small), [orbit_camera(*a) for a in angles()], small, power=4.0
    )
    views = np.full((VIEWS, small, small, 3), 0.2, np.float32)
    made, _ = paint(
        large, Painter(Knows(views), encode, decode), angles(), GREY, picture=picture(), size=small, config=CONFIG,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert made.texture is not None and made.texture.shape == (4 * EDGE, 4 * EDGE, 3)
    fine = surface_texels(large, 4 * EDGE)
    values = made.texture.reshape(-1, 3)[fine.index][:, 0]
    assert (values == 90).mean() > 0.1
    full = (canvas.trust == 1).mean()
    assert full > 0.1 and (np.abs(values - 51.0) <= 1).mean() > 0.9 * full


def test_what_cannot_be_painted_is_told(mesh: Mesh) -> None:
    views = np.zeros((VIEWS, SIZE, SIZE, 3), np.float32)
    for bare in (mesh.with_(texture=None), mesh.with_(uv=None, texture=None)):
        with pytest.raises(BadInput, match="needs a mesh with uv and a base colour"):
            painted(bare, views)
    with pytest.raises(BadInput, match="none of the 6 views sees the mesh's surface"):
        painted(mesh.with_(normals=-mesh.normals), views)


def test_a_colour_that_is_no_number_is_a_failure(mesh: Mesh) -> None:
    views = np.zeros((VIEWS, SIZE, SIZE, 3), np.float32)
    with pytest.raises(SlipcastError, match="not finite"):
        painted(mesh, views, decode=lambda latents: latents * float("nan"))


def test_an_accelerator_paints_the_same(mesh: Mesh, canvas: Canvas, known: np.ndarray) -> None:
    views, kinds = canvas.seen(known, GREY.astype(np.float32)), set[type]()

    def decoded(latents: Tensor) -> Tensor:
        kinds.add(type(latents))
        return decode(latents)

    here, _ = painted(mesh, views)
    there, _ = painted(mesh, views, encode=lambda one: encode(one.to(ACCELERATOR)), decode=decoded)
    assert kinds == {AcceleratorTensor}
    assert here.texture is not None and there.texture is not None
    assert np.abs(here.texture.astype(int) - there.texture).max() <= 1
