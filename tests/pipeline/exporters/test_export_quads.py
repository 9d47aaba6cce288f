"""Laws of pairing triangles into quads: all used once, nothing moves, flat, convex, never across a seam."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fakes.blender_subjects import cube
from fakes.pot import finished_run, made, pot
from scipy.spatial import ConvexHull
from typer.testing import CliRunner

from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.process import Blender
from slipcast.pipeline.blender.writer import build_blend
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.obj import write_obj
from slipcast.systems.mesh.cleaning import vertex_normals
from slipcast.systems.mesh.hard_edges import split_creases
from slipcast.systems.mesh.quads import BEND_RAD, Polygons, pair_triangles, polygons
from slipcast.systems.types import Mesh


def bare(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), vertex_normals(vertices, faces))


def sheet(columns: int = 6, rows: int = 5, *, bend_rad: float = 0.0) -> Mesh:
    """A grid in z = 0 whose columns of cells are each turned a little further, like a folding screen."""
    across, along, up = [0.0], 0.0, [0.0]
    for k in range(columns):
        along += bend_rad if k else 0.0
        across.append(across[-1] + math.cos(along))
        up.append(up[-1] + math.sin(along))
    y, x = np.meshgrid(np.arange(rows + 1.0), np.array(across), indexing="ij")
    vertices = np.stack([x, y, np.broadcast_to(np.array(up), x.shape)], -1).reshape(-1, 3)
    corner = np.arange(len(vertices)).reshape(rows + 1, columns + 1)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return bare(vertices, faces)


def noisy_ball(seed: int = 0) -> Mesh:
    """A closed ball of uneven triangles."""
    points = np.random.default_rng(seed).normal(size=(300, 3))
    return hull(points / np.linalg.norm(points, axis=1, keepdims=True))


def hull(points: np.ndarray) -> Mesh:
    """The convex hull of points round the origin, all of them on it; faces look outward."""
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, k]] for k in range(3))
    inward = np.einsum("fk,fk->f", np.cross(b - a, c - a), a + b + c) < 0
    faces[inward] = faces[inward][:, ::-1]
    return bare(points, faces)


def triangles_of(faces: Polygons) -> np.ndarray:
    """What a program makes of quads that it cuts along their first diagonal, [F, 3]."""
    return np.concatenate([faces.quads[:, [0, 1, 2]], faces.quads[:, [0, 2, 3]], faces.triangles])


def turned(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Triangles as they are, whichever corner comes first."""
    return {tuple(np.roll(face, -int(face.argmin())).tolist()) for face in faces}


MESHES = {
    "pot": pot(),
    "ball": noisy_ball(),
    "box": cube(),
    "bare pot": pot().with_(uv=None),
    "creased": split_creases(noisy_ball(1), math.radians(12)),
}


@pytest.mark.parametrize("name", MESHES)
def test_every_triangle_is_used_once_and_the_surface_is_the_same(name: str) -> None:
    mesh = MESHES[name]
    found = pair_triangles(mesh)
    assert turned(triangles_of(found)) == turned(mesh.faces)
    assert 2 * len(found.quads) + len(found.triangles) == len(mesh.faces)
    assert len(found.quads) > 0.2 * len(mesh.faces)
    assert len(found) == len(found.sizes) and len(found.corners) == found.sizes.sum()


@pytest.mark.parametrize("name", MESHES)
def test_quads_are_convex_flat_and_of_the_same_area(name: str) -> None:
    mesh = MESHES[name]
    found = pair_triangles(mesh)
    p = mesh.vertices[found.quads].astype(np.float64)
    first = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    second = np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 0])
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosine.min() >= math.cos(BEND_RAD) - 1e-9
    for k in range(4):  # at each corner the outline turns the same way round as the whole quad
        before, after = p[:, k] - p[:, k - 1], p[:, (k + 1) % 4] - p[:, k]
        assert ((np.cross(before, after) * (first + second)).sum(1) > 0).all()
    # A flat convex quad's area is half its diagonals' cross product; bent by less than 10 degrees it is nearly so.
    diagonals = np.linalg.norm(np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1]), axis=1) / 2
    halves = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
    assert diagonals.sum() == pytest.approx(halves.sum(), rel=4e-3)


def test_a_cube_becomes_six_quads() -> None:
    found = pair_triangles(cube())  # a box with a smaller one as its knob
    assert len(found.quads) == 12 and len(found.triangles) == 0
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    welded = pair_triangles(hull(corners))  # no doubled vertices: the right angles alone keep the sides apart
    assert len(welded.quads) == 6 and len(welded.triangles) == 0


def test_a_grid_gives_its_cells_back_and_no_slanted_quad() -> None:
    mesh = sheet()
    found = pair_triangles(mesh)
    assert len(found.quads) == 30 and len(found.triangles) == 0
    assert np.ptp(mesh.vertices[found.quads], axis=1)[:, :2].tolist() == [[1.0, 1.0]] * 30


def test_bends_are_respected() -> None:
    across_the_fold = np.array([[0, 1, 4], [1, 5, 4]], np.int32)  # it runs from vertex 1 to vertex 4
    for bend_rad, quads in ((BEND_RAD * 0.9, 1), (BEND_RAD * 1.1, 0)):
        mesh = sheet(2, 1, bend_rad=bend_rad).with_(faces=across_the_fold)
        assert len(pair_triangles(mesh).quads) == quads


def test_no_quad_lies_across_a_seam_or_where_normals_differ() -> None:
    """Both show themselves by vertices that are doubled."""
    mesh = sheet(1, 1)
    apart = mesh.faces.reshape(-1)
    doubled = Mesh(mesh.vertices[apart], np.arange(6, dtype=np.int32).reshape(2, 3), mesh.normals[apart])
    assert len(pair_triangles(mesh).quads) == 1 and len(pair_triangles(doubled).quads) == 0


def test_a_quad_folded_over_in_the_atlas_is_left_as_triangles() -> None:
    mesh = sheet(1, 1)
    flat = mesh.with_(uv=np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32))
    folded = mesh.with_(uv=np.array([[0, 0], [1, 0], [0.9, 0.1], [1, 1]], np.float32))
    assert len(pair_triangles(flat).quads) == 1
    assert len(pair_triangles(folded).quads) == 0


def test_obj_files_hold_quads_when_asked_for(tmp_path: Path) -> None:
    asset = made(settings=ExportConfig(quads=True))
    write_obj(asset, tmp_path / "a.obj")
    write_obj(made(settings=ExportConfig()), tmp_path / "b.obj")
    with_quads, without = (
        [line.split()[1:] for line in (tmp_path / name).read_text().splitlines() if line.startswith("f ")]
        for name in ("a.obj", "b.obj")
    )
    found = polygons(asset.mesh, quads=True)
    assert [len(line) for line in with_quads] == found.sizes.tolist()
    assert all(len(line) == 3 for line in without)
    numbers = [[int(part) - 1 for part in corner.split("/")] for line in with_quads for corner in line]
    np.testing.assert_array_equal(numbers, np.stack([found.corners] * 3, 1))


def test_the_command_asks_for_quads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = finished_run(Path("runs"))

    def most_corners(*options: str) -> int:
        done = CliRunner().invoke(app, ["export", str(run), "--format", "obj", "--force", "--json", *options])
        text = Path(json.loads(done.stdout)["files"]["obj"]).read_text()
        return max(len(line.split()) - 1 for line in text.splitlines() if line.startswith("f "))

    assert most_corners() == 3 and most_corners("--quads") == 4


@pytest.mark.blender
def test_blend_files_hold_quads_and_stay_closed(blender: Blender, tmp_path: Path) -> None:
    found = build_blend(Asset(cube(), "box", quads=True), tmp_path / "box.blend", blender, preview=False)
    (item,) = found["objects"]
    assert item["faces"] == item["quads"] == 12 and item["watertight"] and item["custom_normals"]
    assert np.allclose(item["bounds"], [[-0.5, -1.5, 0], [0.5, 1, 3]])
