"""The hash grid: rows against a plain description, the kernels against torch, sizes that others report."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.field import hash_grid
from slipcast.systems.field.hash_field import BLOBS, DENSITY_ACTIVATIONS, HashField
from slipcast.systems.field.hash_grid import encode, encoder_for
from slipcast.systems.field.hash_levels import GridShape, rows_of, sharing
from slipcast.systems.field.trilinear import interpolate
from slipcast.systems.field.voxels import DENSITY_PEAK

SMALL = GridShape(n_levels=5, log2_hashmap_size=9, base_resolution=4, per_level_scale=1.7)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def table_of(shape, dtype=torch.float32):
    return torch.randn(shape.rows, shape.n_features_per_level, generator=seeded(1), dtype=dtype) * 0.3


@pytest.fixture
def points():
    edges = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.5], [0.5, 1, 1]])
    return torch.cat([torch.rand(400, 3, generator=seeded()), edges])


def slowly(table, point, shape):
    """One point's features, from the words of the paper and of ``hash_levels`` alone, in plain Python."""
    found, first = [], 0
    for number in range(shape.n_levels):
        scale = shape.base_resolution * shape.per_level_scale**number - 1
        side = math.ceil(scale) + 1
        rows = min(8 * math.ceil(side**3 / 8), 2**shape.log2_hashmap_size)
        places = [coordinate * scale + 0.5 for coordinate in point]
        features = [0.0] * shape.n_features_per_level
        for x in (0, 1):
            for y in (0, 1):
                for z in (0, 1):
                    vertex = [math.floor(place) + step for place, step in zip(places, (x, y, z), strict=True)]
                    weight = 1.0
                    for place, step in zip(places, (x, y, z), strict=True):
                        inside = place - math.floor(place)
                        weight *= inside if step else 1 - inside
                    if side**3 <= rows:
                        row = vertex[0] + side * (vertex[1] + side * vertex[2])
                    else:
                        row = vertex[0]
                        for coordinate, prime in zip(vertex[1:], (2654435761, 805459861), strict=True):
                            row ^= (coordinate * prime) % 2**32
                    for f in range(shape.n_features_per_level):
                        features[f] += weight * table[first + row % rows][f]
        found += features
        first += rows
    return found


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("features", [1, 2, 4])
def test_features_are_those_of_a_plain_description(points, backend, features):
    shape = GridShape(5, features, 9, 4, 1.7)
    assert {level.dense for level in shape.levels} == {True, False}
    table, asked = table_of(shape), torch.cat([points[:40], points[-4:]])
    told = encode(table, asked, shape, backend)
    truth = torch.tensor([slowly(table.tolist(), point, shape) for point in asked.double().tolist()])
    assert torch.allclose(told, truth.float(), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (GridShape(per_level_scale=math.exp(math.log(2048 / 16) / 15)), 12_196_240),
        (GridShape(), 12_599_920),
        (GridShape(1, 8, 19, 2), 64),
    ],
)
def test_tables_are_as_large_as_others_report_of_theirs(shape, parameters):
    assert shape.rows * shape.n_features_per_level == parameters


@pytest.mark.parametrize("features", [1, 2, 8])
def test_the_kernels_equal_torch_forward_and_backward(points, features):
    shape = GridShape(5, features, 9, 4, 1.7)
    signal, answers = torch.randn(len(points), shape.width, generator=seeded(2)), []
    for backend in ("numba", "torch"):
        table, places = table_of(shape).requires_grad_(), points.clone().requires_grad_()
        features_of = encode(table, places, shape, backend)
        answers.append((features_of, *torch.autograd.grad(features_of, (table, places), signal)))
    for one, other in zip(*answers, strict=True):
        assert (one - other).abs().max() < 1e-5 * max(1.0, other.abs().max().item())
    assert answers[0][0].equal(answers[1][0]), "sums come in the same order"


def test_torch_s_derivatives_are_the_differences_twice():
    shape = GridShape(3, 2, 5, 2, 1.6)
    assert {level.dense for level in shape.levels} == {True, False}
    table = table_of(shape, torch.float64).requires_grad_()
    places = torch.rand(3, 3, generator=seeded(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, p: encode(t, p, shape), (table, places))
    assert torch.autograd.gradgradcheck(lambda t, p: encode(t, p, shape), (table, places))


def test_the_kernels_know_no_second_derivative(points):
    table, places = table_of(SMALL).requires_grad_(), points.clone().requires_grad_()
    with pytest.raises(SlipcastError, match="no second derivatives"):
        torch.autograd.grad(encode(table, places, SMALL).sum(), places, create_graph=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_however_many_threads(threads):
    many = torch.rand(9000, 3, generator=seeded())
    signal = torch.randn(len(many), SMALL.width, generator=seeded(2))
    before = torch.get_num_threads()
    answers = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            table, places = table_of(SMALL).requires_grad_(), many.clone().requires_grad_()
            told = encode(table, places, SMALL)
            answers.append((told, *torch.autograd.grad(told, (table, places), signal)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))


def test_places_that_are_no_numbers_stay_inside_the_table():
    table = table_of(SMALL).requires_grad_()
    told = encode(table, torch.full((3, 3), math.nan), SMALL)
    told.sum().backward()
    assert told.isnan().all()


def test_a_dense_level_is_a_grid_of_vertices():
    """One dense level of base b holds values at (i - 1/2) / (b - 1), which a grid of b cells can say as well."""
    shape = GridShape(1, 4, 19, 9)
    table = table_of(shape)
    grid = table[: 9**3].view(9, 9, 9, 4).permute(2, 1, 0, 3).contiguous()
    inside = torch.rand(200, 3, generator=seeded()) * 0.9 + 0.01
    centres = ((inside * 8 + 0.5) * 2 + 1) / 9 - 1
    assert torch.allclose(encode(table, inside, shape), interpolate(grid, centres), atol=1e-5)


def test_vertices_that_share_a_row_are_counted():
    shape = GridShape(2, 2, 6, 4, 3.0)
    points = torch.rand(4000, 3, generator=seeded()).numpy()
    dense, hashed = sharing(shape, points)
    assert (dense.vertices, dense.rows) == (5**3, 64) and dense.resolution == 4
    assert hashed.resolution == 12 and hashed.rows == 64
    assert hashed.vertices > 1700 and hashed.sharing == hashed.vertices
    alone = sharing(GridShape(1, 2, 6, 4), np.array([[0.5, 0.5, 0.5]]))[0]
    assert alone == (4, 8, 8, 0)


def test_hashed_rows_are_those_of_the_paper():
    level = GridShape(2, 2, 6, 4, 3.0).levels[1]
    vertex = np.array([3, 5, 7])
    expected = (3 ^ (5 * 2654435761) % 2**32 ^ (7 * 805459861) % 2**32) % 64
    assert rows_of(vertex, level) == level.offset + expected


@pytest.mark.parametrize(
    "given",
    [{"n_features_per_level": 3}, {"n_levels": 0}, {"log2_hashmap_size": 30}, {"per_level_scale": 0.5}],
)
def test_grids_that_cannot_be_are_bad_input(given):
    with pytest.raises(BadInput, match="hash grid"):
        GridShape(**given)


def test_a_table_of_another_shape_is_refused(points):
    with pytest.raises(ValueError, match="expected a table"):
        encode(table_of(SMALL)[:-1], points, SMALL)


@pytest.mark.parametrize("error", [ImportError, OSError, None])
def test_tiny_cuda_nn_is_taken_on_cuda_where_it_can_be_imported(monkeypatch, error):
    def find(name):
        if error:
            raise error("none here")
        return sys

    monkeypatch.setattr(hash_grid, "import_module", find)
    hash_grid._tiny_cuda_nn.cache_clear()
    on_cuda = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    try:
        assert cast("Any", encoder_for).__wrapped__(on_cuda) == ("torch" if error else "tinycudann")
    finally:
        hash_grid._tiny_cuda_nn.cache_clear()
    assert encoder_for(torch.zeros(1, 2)) == "numba"
    assert encoder_for(torch.zeros(1, 2, dtype=torch.float64)) == "torch"


def test_tiny_cuda_nn_gets_the_table_as_its_parameters(monkeypatch, points):
    """A stand-in with its documented interface: ``Encoding(n_input_dims, encoding_config)`` with flat ``params``."""

    class Encoding(torch.nn.Module):
        def __init__(self, n_input_dims, encoding_config):
            super().__init__()
            assert n_input_dims == 3 and encoding_config.pop("otype") == "HashGrid"
            self.shape = GridShape(**encoding_config)
            self.params = torch.nn.Parameter(torch.zeros(self.shape.rows * 2))

        def forward(self, places):
            return encode(self.params.view(-1, 2), places, self.shape, "torch").half()

    monkeypatch.setattr(hash_grid, "_tiny_cuda_nn", lambda: SimpleNamespace(Encoding=Encoding))
    hash_grid._tiny_cuda_nn_grid.cache_clear()
    table = table_of(SMALL).requires_grad_()
    told = encode(table, points, SMALL, "tinycudann")
    told.sum().backward()
    hash_grid._tiny_cuda_nn_grid.cache_clear()
    assert told.dtype == torch.float32 and table.grad is not None
    assert torch.allclose(told, encode(table, points, SMALL), atol=2e-3)


def field(**options):
    made = HashField(SMALL, generator=seeded(), neurons=16, **options)
    with torch.no_grad():
        made.table.copy_(table_of(SMALL))
    return made


def spots(count=300):
    return torch.rand(count, 3, generator=seeded(5)) * 1.8 - 0.9


def test_a_new_field_is_its_bias():
    for name, blob in BLOBS.items():
        new = HashField(
            SMALL, generator=seeded(), density_bias=name, density_blob_scale=5, density_activation="exp"
        )
        density, rgb = new(spots())
        assert torch.allclose(density, blob(spots(), 5, 0.5).exp(), rtol=1e-2)
        assert torch.allclose(rgb, torch.full_like(rgb, 0.5), atol=1e-2)
    new = HashField(SMALL, generator=seeded(), density_bias=-1.0, density_activation="softplus")
    assert torch.allclose(new(spots())[0], torch.tensor(-1.0).exp().log1p().expand(300), rtol=1e-2)
    assert set(DENSITY_ACTIVATIONS) == {"sigmoid", "softplus", "exp"}


def test_blobs_are_densest_in_the_middle():
    radii = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 1, 0]])
    assert BLOBS["blob_magic3d"](radii, 10, 0.5).tolist() == [10, 0, -10]
    assert BLOBS["blob_dreamfusion"](radii, 5, 0.5).tolist() == pytest.approx(
        [5, 5 * math.exp(-0.5), 5 * math.exp(-2)]
    )


def test_sharpness_hardens_the_surface_where_it_is():
    made = field()
    raw = made.raw(spots())[:, 0]
    made.sharpness = 8.0
    density, _ = made(spots())
    assert torch.allclose(density, 8 * DENSITY_PEAK * torch.sigmoid(8 * raw), rtol=1e-4)


def test_normals_are_minus_the_direction_in_which_density_grows():
    made, places = field(), spots(60)
    normals = made.normals(places)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(60), atol=1e-4)
    ahead, behind = (made.raw(places + way * 1e-3 * normals)[:, 0] for way in (1, -1))
    assert (ahead < behind).float().mean() > 0.95  # others straddle the border of a cell
    by_difference = made.normals(places, "finite_difference")
    assert (normals * by_difference).sum(-1).median() > 0.99
    with pytest.raises(ValueError, match="normal_type"):
        made.normals(places, "none")


def test_normals_of_a_ball_point_outwards():
    new = HashField(SMALL, generator=seeded(), density_bias="blob_magic3d")
    outwards = torch.nn.functional.normalize(spots(), dim=-1)
    for kind in ("analytic", "finite_difference"):
        assert (new.normals(spots(), kind) * outwards).sum(-1).min() > 0.95


def test_beyond_the_box_the_border_holds():
    made = field()
    beyond = torch.tensor([[1.5, 0.2, -0.3]])
    assert torch.equal(made.raw(beyond), made.raw(torch.tensor([[1.0, 0.2, -0.3]])))
