"""One table of renderers: the kernels and the tensor operations give the same pictures and the same gradients."""

from __future__ import annotations

import math

import pytest
import torch
from fakes.accelerator import ACCELERATOR, AcceleratorTensor
from fakes.nerfacc_kernels import in_place_of_cuda

from slipcast.systems.field.cameras import camera_rays, orbit_camera
from slipcast.systems.field.density_sampling import sample_density
from slipcast.systems.field.query import query
from slipcast.systems.field.ray_sampling import EMPTY, LOOK, SOLID, sample_rays
from slipcast.systems.field.ray_sampling_torch import sample_rays_by_torch
from slipcast.systems.field.renderers import renderer_for
from slipcast.systems.field.volume_rendering import render_image, render_rays
from slipcast.systems.field.voxels import FrozenGrid, VoxelField, cell_centres
from slipcast.systems.refine.surface_colour import SurfaceColoured

RESOLUTION = 24


def ring(sharpness: float = 1.0) -> VoxelField:
    """A torus with colours, haze round it and empty space further out."""
    centres = cell_centres(RESOLUTION)
    away = ((centres[:, :2].norm(dim=-1) - 0.5).square() + centres[:, 2].square()).sqrt()
    raw = ((0.25 - away) * 40).clamp(-14, 8)
    cube = (RESOLUTION,) * 3
    return VoxelField(raw.view(cube), centres.view(*cube, 3) * 3, sharpness)


def rays(size: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    return camera_rays(orbit_camera(0.5, 0.6), size)


MASKS = {
    "everywhere": torch.full((1, 1, 1), LOOK, dtype=torch.uint8),
    "solid": torch.full((8, 8, 8), SOLID, dtype=torch.uint8),
    "empty": torch.full((8, 8, 8), EMPTY, dtype=torch.uint8),
    "noise": torch.randint(0, 3, (16, 16, 16), generator=torch.Generator().manual_seed(0)).byte(),
    "the ring's": ring().occupied(),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("seed", [None, 3])
def test_tensor_operations_place_samples_where_the_kernel_does(name: str, seed: int | None) -> None:
    origins, directions = rays()
    # Rays along the axes, from inside, past the box, and away from it.
    special = torch.tensor(
        [[0.3, -5, 0.2, 0, 1, 0], [0, 0, 0, 0, 0, -1], [3, 3, 0, 0, 0, 1], [-3, 0.1, 0.1, -1, 0, 0]]
    )
    origins, directions = torch.cat([origins, special[:, :3]]), torch.cat([directions, special[:, 3:]])
    one, other = (
        place(
            origins,
            directions,
            samples=12,
            mask=MASKS[name],
            generator=None if seed is None else torch.Generator().manual_seed(seed),
        )
        for place in (sample_rays, sample_rays_by_torch)
    )
    assert one.rays.equal(other.rays) and (len(one.rays) > 100) == (name != "empty")
    torch.testing.assert_close(one.step, other.step, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.distances, other.distances, rtol=0, atol=5e-6)


def seen(field: VoxelField, renderer: str | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What a camera sees, [N, 5] of colour, opacity, depth, and the gradients of its mean square."""
    shown = render_rays(
        SurfaceColoured(field),
        *rays(),
        samples=32,
        background=(0.3, 0.2, 0.1),
        generator=torch.Generator().manual_seed(1),
        renderer=renderer,
    )
    picture = torch.cat([shown.rgb, shown.opacity[:, None], shown.depth[:, None]], 1)
    gradients = torch.autograd.grad(picture[:, :4].square().sum(), [field.raw_density, field.raw_colour])
    return picture.detach().cpu(), [gradient.cpu() for gradient in gradients]


class Watched:
    """A field that notes what it is asked."""

    def __init__(self, field: VoxelField) -> None:
        self._field, self.densities, self.both = field, list[torch.Tensor](), list[torch.Tensor]()

    def density_at(self, points: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        self.densities.append(points)
        return self._field(points)[0]

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.both.append(points)
        return self._field(points)


def test_only_samples_that_weigh_something_are_asked_for_colours_and_gradients() -> None:
    """Behind a surface the field is not even asked for its density, and in empty space for nothing else."""
    field = ring(4.0)
    watched = Watched(field)
    shown = render_rays(watched, *rays(), samples=32, background=None, renderer="numba")
    looked, felt = sum(map(len, watched.densities)), sum(map(len, watched.both))
    every = 32 * int((sample_rays(*rays(), samples=32).step > 0).sum())
    assert 0 < felt < 0.7 * looked and looked < 0.9 * every
    (gradient,) = torch.autograd.grad(shown.rgb.sum(), field.raw_colour)
    assert gradient.abs().max() > 0
    with torch.no_grad():
        again = render_rays(watched, *rays(), samples=32, background=None, renderer="numba")
    assert torch.equal(again.rgb, shown.rgb)


def test_a_field_that_breaks_is_seen_to_break() -> None:
    """Densities that are no number must not pass for empty space."""

    def broken(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        density = torch.where(points[:, 0] > 0.5, torch.nan, 0.0)
        return density, torch.ones_like(points)

    shown = render_rays(broken, *rays(), samples=32, background=None, renderer="numba")
    assert shown.rgb.isnan().any() and not shown.rgb.isnan().all()


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_the_torch_renderer_shows_what_the_kernels_show(sharpness: float) -> None:
    """On the accelerator nothing can reach numba, so that interpolation, samples and sums are all torch's."""
    picture, gradients = seen(ring(sharpness))
    there = ring(sharpness).to(ACCELERATOR)
    assert renderer_for(there) == "torch" and renderer_for(ring()) == "numba"
    moved, others = seen(there)
    assert picture[:, 3].max() > 0.99 and picture[:, 3].min() < 0.01
    torch.testing.assert_close(moved[:, :4], picture[:, :4], rtol=0, atol=1e-5)
    seen_there = picture[:, 3] > 1e-3  # depth is a quotient, and where nothing is seen one of rounding errors
    torch.testing.assert_close(moved[seen_there, 4], picture[seen_there, 4], rtol=2e-5, atol=0)
    for one, other in zip(gradients, others, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(other / one.abs().max(), one / one.abs().max(), rtol=0, atol=1e-5)


def test_the_torch_renderer_can_be_chosen_on_the_cpu() -> None:
    torch.testing.assert_close(seen(ring(), "torch")[0], seen(ring(), "numba")[0], rtol=0, atol=1e-5)


def test_pictures_and_densities_of_a_field_elsewhere_come_back() -> None:
    field, camera = ring(), orbit_camera(0.2, 0.3)
    there = ring().to(ACCELERATOR)
    for one, other in zip(render_image(there, camera, 24), render_image(field, camera, 24), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert abs(sample_density(there, 20) - sample_density(field, 20)).max() < 1e-3


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_query_answers_where_it_was_asked_in_pieces_of_any_size(chunk: int) -> None:
    points = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    field = FrozenGrid(ring().occupancy().detach(), torch.sigmoid(ring().raw_colour))
    density, colour = query(field, points)
    for asked, home in ((points, "cpu"), (points.to(ACCELERATOR), ACCELERATOR)):
        answers = query(field.to(ACCELERATOR), asked, chunk=chunk)
        assert {answer.device.type for answer in answers} == {home}
        for answer, known in zip(answers, (density, colour), strict=True):
            torch.testing.assert_close(answer.cpu(), known)


def test_fields_made_of_a_field_stay_on_its_device() -> None:
    there = ring().to(ACCELERATOR)
    for made in (VoxelField.from_field(there, 16), there.upsample(30)):
        assert isinstance(made.raw_density.data, AcceleratorTensor)
    plain = ring().upsample(30)
    torch.testing.assert_close(there.upsample(30).raw_density.cpu(), plain.raw_density, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sharpness", [1.0, 8.0])
def test_the_packed_renderer_shows_what_the_dense_one_shows(
    sharpness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nerfacc's kernels written out in torch; many samples, so that what either leaves out is little."""
    in_place_of_cuda(monkeypatch)
    field, asked = ring(sharpness), []

    def counted(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append((len(points), torch.is_grad_enabled()))
        return field(points)

    origins, directions = camera_rays(orbit_camera(0.5, 0.6), 12)
    packed, dense = (
        render_rays(
            shown,
            origins,
            directions,
            samples=1500,
            background=(0.3, 0.2, 0.1),
            mask=field.occupied(),
            generator=torch.Generator().manual_seed(4),
            renderer=name,
        )
        for name, shown in (("nerfacc", counted), ("torch", field))
    )
    assert 0.1 < dense.opacity.mean() < 0.9
    for name in ("rgb", "opacity"):
        torch.testing.assert_close(getattr(packed, name), getattr(dense, name), rtol=0, atol=1e-3)
    seen = dense.opacity > 0.5
    torch.testing.assert_close(packed.depth[seen], dense.depth[seen], rtol=0, atol=5e-3)
    (one, other) = (
        torch.autograd.grad(picture.rgb.square().sum(), field.raw_colour)[0] for picture in (packed, dense)
    )
    torch.testing.assert_close(one, other, rtol=0, atol=2e-3 * float(other.abs().max()))
    (first, before), (second, after) = asked
    assert not before and after and second < 0.9 * first, "what no light reaches is asked for no colour"


def test_the_packed_renderer_passes_rays_that_meet_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    in_place_of_cuda(monkeypatch)
    origins, directions = rays(6)
    shown = render_rays(
        ring(), origins, -directions, samples=20, background=(0.3, 0.2, 0.1), renderer="nerfacc"
    )
    assert not shown.opacity.any() and not shown.depth.any()
    torch.testing.assert_close(shown.rgb, torch.tensor([[0.3, 0.2, 0.1]]).expand(36, 3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_packed_renderer_shows_what_the_cpu_shows() -> None:
    """Both with so many samples that what they leave out is below a thousandth."""
    field, home = ring().to("cuda"), ring()
    if renderer_for(field) != "nerfacc":
        pytest.skip("nerfacc's CUDA kernels are neither installed nor can they be compiled here (no nvcc)")
    origins, directions = rays()
    pictures = [
        render_rays(shown, origins, directions, samples=2000, background=(0.3, 0.2, 0.1), renderer=name)
        for name, shown in (("nerfacc", field), ("torch", field), ("numba", home))
    ]
    packed, *others = ((p.rgb.cpu(), p.opacity.cpu()) for p in pictures)
    for dense in others:
        for one, other in zip(packed, dense, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
    gradients = [
        torch.autograd.grad(p.rgb.square().sum() / p.rgb.numel(), shown.raw_colour)[0].cpu()
        for p, shown in zip(pictures, (field, field, home), strict=True)
    ]
    torch.testing.assert_close(
        gradients[0], gradients[1], rtol=0, atol=1e-3 * float(gradients[1].abs().max())
    )
    assert math.isfinite(float(pictures[0].depth.sum()))
