"""One kernel for a grid: the other renderers' pictures and gradients, and the same bits however it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from slipcast.systems.field.cameras import camera_rays, orbit_camera
from slipcast.systems.field.ray_sampling import LOOK
from slipcast.systems.field.renderers import RENDERERS, renderer_for
from slipcast.systems.field.volume_rendering import Rendered, render_rays
from slipcast.systems.field.voxels import VoxelField, cell_centres
from slipcast.systems.refine.surface_colour import SurfaceColoured

RESOLUTION = 24
CUBE = (RESOLUTION,) * 3


@pytest.fixture
def threads() -> Iterator[None]:
    """Gives back the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def lumps(sharpness: float) -> VoxelField:
    """Matter, haze and air with colours, no two cells alike."""
    generator = torch.Generator().manual_seed(0)
    raw = (0.7 - cell_centres(RESOLUTION).norm(dim=-1)).view(CUBE) * 25
    raw = (raw + torch.randn(CUBE, generator=generator)).clamp(-6, 6)
    return VoxelField(raw, torch.randn(*CUBE, 3, generator=generator) * 2, sharpness)


def seen(field: VoxelField, renderer: str | None, *, blind: bool = False) -> Rendered:
    origins, directions = camera_rays(orbit_camera(0.5, 0.6), 40)
    return render_rays(
        SurfaceColoured(field),
        origins,
        directions,
        samples=24,
        background=None,
        generator=torch.Generator().manual_seed(1),
        mask=torch.full((1, 1, 1), LOOK, dtype=torch.uint8) if blind else None,
        renderer=renderer,
    )


def sums(shown: Rendered) -> torch.Tensor:
    return torch.cat([shown.rgb, shown.opacity[:, None], shown.depth[:, None]], 1)


def gradients(field: VoxelField, shown: Rendered) -> list[torch.Tensor]:
    """Of a sum that hears every number of the picture."""
    weights = torch.randn(sums(shown).shape, generator=torch.Generator().manual_seed(2))
    heard = weights * torch.tensor([1.0, 1.0, 1.0, 1.0, 0.1])
    heard[:, 4] *= sums(shown)[:, 3] > 1e-2  # depth where something is seen: elsewhere its slope is noise
    return list(torch.autograd.grad((sums(shown) * heard).sum(), [field.raw_density, field.raw_colour]))


@pytest.mark.parametrize("sharpness", [1.0, 5.0, 32.0])
def test_it_shows_what_the_dense_renderer_shows(sharpness: float) -> None:
    """To the last bits of a picture. Depth is a quotient, and where nothing is seen one of rounding errors."""
    pictures = []
    for renderer in ("numba", None):
        field = lumps(sharpness)
        assert renderer_for(SurfaceColoured(field)) == "grid"
        shown = seen(field, renderer)
        pictures.append((sums(shown).detach(), gradients(field, shown)))
    (known, known_gradients), (found, found_gradients) = pictures
    assert known[:, 3].max() > 0.99 and known[:, 3].min() < 0.01
    torch.testing.assert_close(found[:, :4], known[:, :4], rtol=0, atol=2e-6)
    there = known[:, 3] > 1e-3
    torch.testing.assert_close(found[there, 4], known[there, 4], rtol=0, atol=2e-5)
    for one, other in zip(found_gradients, known_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))


def test_its_gradient_is_the_pictures_slope() -> None:
    """Against finite differences, of cells drawn at random among those that are seen."""
    field, step = lumps(1.0), 1e-2

    def heard() -> float:
        return float(seen(field, "grid", blind=True).opacity.detach().double().sum())

    shown = seen(field, "grid", blind=True)
    (grad,) = torch.autograd.grad(shown.opacity.sum(), field.raw_density)
    for cell in grad.abs().flatten().topk(200).indices[::40].tolist():
        flat, slopes = field.raw_density.detach().view(-1), []
        for way in (1.0, -1.0):
            flat[cell] += way * step
            slopes.append(way * heard())
            flat[cell] -= way * step
        assert sum(slopes) / (2 * step) == pytest.approx(float(grad.view(-1)[cell]), rel=0.03)


@pytest.mark.usefixtures("threads")
def test_the_same_bits_with_one_and_two_threads() -> None:
    found = []
    for count in (1, 2, 2):
        torch.set_num_threads(count)
        field = lumps(4.0)
        shown = seen(field, None)
        found.append([sums(shown), *gradients(field, shown)])
    for others in found[1:]:
        assert all(one.equal(other) for one, other in zip(found[0], others, strict=True))


def test_nan_in_a_grid_is_seen() -> None:
    field = lumps(4.0)
    with torch.no_grad():
        field.raw_density[12, 12, 20] = torch.nan
    assert seen(field, "grid", blind=True).rgb.isnan().any()


def test_other_fields_are_refused() -> None:
    origins, directions = camera_rays(orbit_camera(0.0, 0.0), 4)
    with pytest.raises(ValueError, match="fields that are grids"):
        render_rays(lumps(1.0), origins, directions, samples=4, background=None, renderer="grid")
    assert "grid" in RENDERERS
