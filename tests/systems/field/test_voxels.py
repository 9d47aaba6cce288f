"""Grids: the hand-written kernels against torch, warm starts, files."""

import math

import pytest
import torch

from slipcast.configs.errors import SlipcastError
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.files import write_arrays
from slipcast.systems.field.trilinear import interpolate, interpolate_by_torch
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import (
    DENSITY_PEAK,
    SURFACE_DENSITY,
    FrozenGrid,
    VoxelField,
    cell_centres,
    raw_from_density,
)
from slipcast.systems.types import RadianceField


def frozen_torus(resolution=24, softness=20.0):
    centres = cell_centres(resolution)
    tube = ((centres[:, :2].norm(dim=-1) - 0.5).square() + centres[:, 2].square()).sqrt()
    cube = (resolution,) * 3
    return FrozenGrid(
        torch.sigmoid((0.25 - tube) * softness).view(cube), (centres * 0.4 + 0.5).view(*cube, 3)
    )


@pytest.fixture
def points():
    spread = (
        torch.rand(5000, 3, generator=torch.Generator().manual_seed(0)) * 2.4 - 1.2
    )  # some outside the box
    return torch.cat([spread, cell_centres(4), torch.tensor([[-1.0, -1, -1], [1, 1, 1]])])


@pytest.mark.parametrize("resolution", [2, 5, 16])
def test_interpolation_equals_grid_sample(points, resolution):
    grid = torch.randn(resolution, resolution, resolution, 4, generator=torch.Generator().manual_seed(1))
    mine, theirs = grid.clone().requires_grad_(), grid.clone().requires_grad_()
    one, two = interpolate(mine, points), interpolate_by_torch(theirs, points)
    assert torch.allclose(one, two, atol=1e-5)
    signal = torch.randn(one.shape, generator=torch.Generator().manual_seed(2))
    (to_mine,) = torch.autograd.grad(one, mine, signal)
    (to_theirs,) = torch.autograd.grad(two, theirs, signal)
    assert torch.allclose(to_mine, to_theirs, atol=1e-3, rtol=1e-4)


def test_interpolation_gradcheck(points):
    grid = torch.randn(3, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda cells: interpolate(cells, points[::500].double()), (grid,))


def test_interpolation_hits_cell_centres_in_xyz_order():
    grid = torch.arange(4 * 4 * 4 * 4, dtype=torch.float32).view(4, 4, 4, 4)
    assert torch.allclose(interpolate(grid, cell_centres(4)), grid.reshape(-1, 4), atol=1e-3)


def test_interpolation_is_the_same_with_one_and_two_threads(points):
    grid = torch.randn(8, 8, 8, 4, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cells = grid.clone().requires_grad_()
            interpolate(cells, points.repeat(3, 1)).square().sum().backward()
            results.append(cells.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


def test_interpolation_survives_points_that_are_not_numbers():
    values = interpolate(
        torch.zeros(4, 4, 4, 4), torch.tensor([[math.nan, 0, 0], [math.inf, 0, 0], [-math.inf, 9, 9]])
    )
    assert values.shape == (3, 4)


@pytest.mark.parametrize("shape", [(4, 4, 4, 3), (4, 4, 5, 4), (1, 1, 1, 4)])
@pytest.mark.usefixtures("own_errors")
def test_interpolation_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="expected a grid"):
        interpolate(torch.zeros(shape), torch.zeros(1, 3))


def test_density_activation_has_its_inverse_and_its_surface():
    raw = torch.linspace(-6, 6, 29)
    assert torch.allclose(raw_from_density(DENSITY_PEAK * torch.sigmoid(raw)), raw, atol=1e-3)
    density, _ = FrozenGrid(torch.full((2, 2, 2), 0.5), torch.zeros(2, 2, 2, 3))(torch.zeros(1, 3))
    assert density.item() == pytest.approx(SURFACE_DENSITY)


def test_fields_satisfy_the_protocol():
    frozen = frozen_torus()
    for field in (frozen, VoxelField.from_field(frozen, 16)):
        assert isinstance(field, RadianceField)
        density, rgb = field(torch.rand(7, 3) * 2 - 1)
        assert density.shape == (7,) and rgb.shape == (7, 3)
        assert (density >= 0).all() and (rgb >= 0).all() and (rgb <= 1).all()


@pytest.mark.parametrize(("resolution", "least_db"), [(24, 30.0), (48, 34.0), (64, 34.0)])
def test_warm_start_looks_like_its_source(resolution, least_db):
    frozen = frozen_torus()
    field = VoxelField.from_field(frozen, resolution)
    for azimuth in (0.0, 2.0):
        pair = [
            render_image(f, orbit_camera(azimuth, 0.4), 64, samples=128, background=(0.2, 0.4, 0.3))[0]
            for f in (frozen, field)
        ]
        psnr = -10 * math.log10((pair[0] - pair[1]).square().mean().item())
        assert psnr > least_db


def test_upsampling_keeps_the_picture():
    field = VoxelField.from_field(frozen_torus(), 32)
    pair = [render_image(f, orbit_camera(0.2, 0.4), 64, samples=128)[0] for f in (field, field.upsample(48))]
    assert (pair[0] - pair[1]).square().mean().sqrt() < 0.02


def test_pruning_removes_what_no_picture_shows_and_nothing_else():
    field = VoxelField.from_field(frozen_torus(), 32)
    with torch.no_grad():
        field.raw_density[..., :4] = -6.0  # a haze of density 0.2, below what rendering looks at
    kept = field.raw_density.detach().clone()
    field.prune()
    assert (field.raw_density[..., :4] == -15.0).all()
    solid = kept > -4
    assert torch.equal(field.raw_density[solid], kept[solid])


def test_a_haze_of_low_occupancy_stays_thin():
    frozen = FrozenGrid(torch.full((16, 16, 16), 0.05), torch.full((16, 16, 16, 3), 0.5))
    _, opacity, _ = render_image(frozen, orbit_camera(0.0, 0.0), 16)
    assert opacity.max() < 0.5


@pytest.mark.parametrize("make", [frozen_torus, lambda: VoxelField.from_field(frozen_torus(), 16)])
def test_fields_round_trip_through_files(tmp_path, make):
    field = make()
    field.save(tmp_path / "field.safetensors")
    again = type(field).load(tmp_path / "field.safetensors")
    points = torch.rand(50, 3) * 2 - 1
    for one, two in zip(field(points), again(points), strict=True):
        assert torch.equal(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["field.safetensors"], "no temporary file is left"


def test_damaged_and_foreign_files_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "field.safetensors"
    with pytest.raises(SlipcastError, match="cannot read"):
        VoxelField.load(path)
    frozen_torus(8).save(path)
    with pytest.raises(SlipcastError, match="should be a voxel field but is 'frozen grid'"):
        VoxelField.load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SlipcastError, match="cannot read"):
        FrozenGrid.load(path)
    path.write_bytes(b"not a safetensors file at all")
    with pytest.raises(SlipcastError, match="cannot read"):
        FrozenGrid.load(path)
    field = VoxelField.from_field(frozen_torus(8), 8)
    with torch.no_grad():
        field.raw_colour[0, 0, 0, 0] = math.nan
    field.save(path)
    with pytest.raises(SlipcastError, match="raw_colour holds values that are not finite"):
        VoxelField.load(path)


@pytest.mark.parametrize("sharpness", ["abc", "", "nan", "inf", "-inf", "-1", "0", "1e300", "1 2", "None"])
def test_a_sharpness_that_is_none_is_refused(tmp_path, sharpness):
    path, field = tmp_path / "field.safetensors", VoxelField.from_field(frozen_torus(8), 8)
    arrays = {"raw_density": field.raw_density, "raw_colour": field.raw_colour}
    write_arrays(path, "voxel field", arrays, {"sharpness": sharpness})
    with pytest.raises(SlipcastError, match="sharpness should be a number above 0") as caught:
        VoxelField.load(path)
    assert str(path) in str(caught.value) and repr(sharpness) in str(caught.value)
    write_arrays(path, "voxel field", arrays, {"sharpness": "24.5"})
    assert VoxelField.load(path).sharpness == 24.5


@pytest.mark.parametrize("size", [0, 1])
def test_a_grid_without_neighbours_is_refused(tmp_path, size):
    path, cube = tmp_path / "field.safetensors", (size,) * 3
    write_arrays(path, "frozen grid", {"occupancy": torch.zeros(cube), "colours": torch.zeros(*cube, 3)})
    with pytest.raises(SlipcastError, match="should have the shape"):
        FrozenGrid.load(path)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.float16, torch.bool])
def test_numbers_of_another_type_are_refused(tmp_path, dtype):
    path = tmp_path / "field.safetensors"
    arrays = {"occupancy": torch.zeros((8,) * 3, dtype=dtype), "colours": torch.zeros((8, 8, 8, 3))}
    write_arrays(path, "frozen grid", arrays)
    with pytest.raises(SlipcastError, match=f"occupancy should hold torch.float32 but holds {dtype}"):
        FrozenGrid.load(path)


def test_saving_into_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(SlipcastError, match="cannot write"):
        frozen_torus(8).save(tmp_path / "nowhere" / "field.safetensors")
