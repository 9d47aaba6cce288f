"""A mesh of known shape becomes a field of that shape, in its place, with its colours; bad ones are one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import LiftConfig
from slipcast.systems.field.voxels import cell_centres
from slipcast.systems.lift.gridding import as_grid
from slipcast.systems.lift.mesh_file import read_surface, surface_identity
from slipcast.systems.lift.solid import field_of_surface, inside_cells
from slipcast.systems.lift.surface import framed
from slipcast.systems.lift.table import LiftTask, lift_named
from slipcast.systems.types import Mesh, SubjectImage

SIZE = 32
POINTS = cell_centres(SIZE).view(SIZE, SIZE, SIZE, 3)
PICTURE = SubjectImage(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32))


def saved(mesh: trimesh.Trimesh, folder: Path, name: str = "a.stl") -> Path:
    mesh.export(folder / name)
    return folder / name


def solid(path: Path) -> torch.Tensor:
    return field_of_surface(framed(read_surface(path)), SIZE).occupancy > 0.5


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one & other).sum() / (one | other).sum()).item()


def torus(points: torch.Tensor, big: float, small: float) -> torch.Tensor:
    x, y, z = points.unbind(-1)
    return ((x.square() + y.square()).sqrt() - big).square() + z.square() < small**2


def test_a_ball_from_anywhere_fills_the_framing(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(3, radius=30.0).apply_translation([5, 600, -7])
    assert overlap(solid(saved(ball, tmp_path)), POINTS.norm(dim=-1) < 0.85) > 0.97


def test_a_box_keeps_its_proportions_and_its_axes(tmp_path: Path) -> None:
    sides = torch.tensor([1.0, 0.5, 2.0])
    box = trimesh.creation.box(extents=sides.tolist())
    scale = 0.85  # half its height is 1
    wanted = (POINTS.abs() < sides / 2 * scale).all(-1)
    assert overlap(solid(saved(box, tmp_path)), wanted) > 0.9
    # glTF's +Y up: the same numbers lie on their side.
    turned = box.copy()
    turned.vertices = box.vertices[:, [0, 2, 1]] * [1, 1, -1]
    assert overlap(solid(saved(turned, tmp_path, "a.glb")), wanted) > 0.9


def test_a_torus_keeps_its_hole(tmp_path: Path) -> None:
    mesh = trimesh.creation.torus(0.7, 0.25, 64, 32)
    scale = 0.85 / 0.95
    assert overlap(solid(saved(mesh, tmp_path, "a.ply")), torus(POINTS, 0.7 * scale, 0.25 * scale)) > 0.9


def test_the_front_of_a_glb_looks_along_minus_y(tmp_path: Path) -> None:
    """A nose towards glTF's +Z."""
    body = trimesh.creation.icosphere(2, radius=0.5)
    nose = trimesh.creation.icosphere(2, radius=0.2).apply_translation([0, 0, 0.6])
    y = POINTS[solid(saved(body + nose, tmp_path, "a.glb"))][:, 1]
    assert y.min() < -0.6
    widths = POINTS[solid(tmp_path / "a.glb")]
    front, back = widths[widths[:, 1] < y.min() + 0.2], widths[widths[:, 1] > y.max() - 0.2]
    assert front[:, 0].abs().max() < back[:, 0].abs().max()


@pytest.mark.parametrize("harm", ["hole", "flipped", "torn", "doubled", "slivers", "stuck together"])
def test_meshes_that_are_not_closed_still_have_an_inside(tmp_path: Path, harm: str) -> None:
    ball = trimesh.creation.icosphere(3)
    if harm == "hole":
        ball.update_faces(ball.triangles_center[:, 2] < 0.95)
    elif harm == "flipped":
        ball.faces[::2] = ball.faces[::2, ::-1]
    elif harm == "torn":
        ball.update_faces(np.arange(len(ball.faces)) % 29 != 0)
    elif harm == "slivers":
        ball.faces = np.concatenate([ball.faces, ball.faces[:200, [0, 1, 1]], ball.faces[:9, [2, 2, 2]]])
    elif harm == "doubled":
        ball = ball + trimesh.creation.icosphere(3, radius=0.9)
    else:
        ball = ball + trimesh.creation.icosphere(2, radius=0.5).apply_translation([0.2, 0.1, 0.3])
    surface = read_surface(saved(ball, tmp_path))
    inside = torch.from_numpy(inside_cells(framed(surface), SIZE))
    assert overlap(inside, POINTS.norm(dim=-1) < 0.85) > 0.9


def textured(folder: Path) -> Path:
    """A box whose texture is red in its upper half and blue in its lower half, by height."""
    box = trimesh.creation.box().subdivide().subdivide()
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32], pixels[32:] = (220, 30, 20), (10, 40, 200)
    uv = np.stack([box.vertices[:, 0] + 0.5, box.vertices[:, 1] + 0.5], 1)
    box.visual = TextureVisuals(uv, material=PBRMaterial(baseColorTexture=Image.fromarray(pixels)))
    return saved(box, folder, "a.glb")


def test_colours_come_from_the_texture(tmp_path: Path) -> None:
    field = field_of_surface(framed(read_surface(textured(tmp_path))), SIZE)
    for height, colour in ((0.3, (220, 30, 20)), (-0.3, (10, 40, 200))):
        _, seen = field(torch.tensor([[0.0, -0.55, height], [0.55, 0.0, height]]))
        assert (seen - torch.tensor(colour) / 255).abs().max() < 0.02


def test_colours_come_from_vertices_faces_or_clay(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(3)
    point = torch.tensor([[0.0, 0.0, 0.8], [0.0, 0.0, -0.8]])
    colours = np.where(ball.vertices[:, 2:] > 0, [[250, 120, 0, 255]], [[0, 60, 90, 255]])
    ball.visual = ColorVisuals(ball, vertex_colors=colours.astype(np.uint8))
    field = field_of_surface(framed(read_surface(saved(ball, tmp_path, "v.ply"))), SIZE)
    assert (field(point)[1] - torch.tensor([[250, 120, 0], [0, 60, 90]]) / 255).abs().max() < 0.03
    plain = field_of_surface(framed(read_surface(saved(trimesh.creation.icosphere(3), tmp_path))), SIZE)
    assert (plain(point)[1] - 0.8).abs().max() < 0.01


def test_a_mesh_of_another_lift_is_filled_where_it_stands() -> None:
    ball = trimesh.creation.icosphere(3, radius=0.4).apply_translation([0.3, 0, 0])
    mesh = Mesh(
        ball.vertices.astype(np.float32), ball.faces.astype(np.int32), ball.vertex_normals.astype(np.float32)
    )
    found = as_grid(mesh, SIZE).occupancy > 0.5
    assert overlap(found, (POINTS - torch.tensor([0.3, 0, 0])).norm(dim=-1) < 0.4) > 0.95


def test_any_field_of_another_lift_is_read_at_the_cells() -> None:
    grid = as_grid(lambda points: (80 * torch.sigmoid(points[:, 2] * 4), points.abs()), SIZE)
    density, colours = grid(POINTS.reshape(-1, 3))
    assert torch.allclose(density, 80 * torch.sigmoid(POINTS.reshape(-1, 3)[:, 2] * 4), atol=0.01)
    assert torch.allclose(colours, POINTS.reshape(-1, 3).abs(), atol=1e-5)


def test_what_is_beside_a_file_counts_for_its_identity(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    uv = np.zeros((len(box.vertices), 2))
    box.visual = TextureVisuals(uv, image=Image.new("RGB", (4, 4), (200, 10, 10)))
    path = saved(box, tmp_path, "a.obj")
    identity = lift_named("mesh").identity
    before = identity(path)
    assert before == surface_identity(read_surface(path)) == identity(path)
    picture = next(tmp_path.glob("*.png"), None) or next(tmp_path.glob("*.jp*g"))
    Image.new("RGB", (4, 4), (10, 200, 10)).save(picture)
    assert identity(path) != before


def _no_faces(folder: Path) -> Path:
    (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    return folder / "a.obj"


def _nan(folder: Path) -> Path:
    (folder / "a.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return folder / "a.obj"


def _point(folder: Path) -> Path:
    (folder / "a.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    return folder / "a.obj"


def _line(folder: Path) -> Path:
    (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    return folder / "a.obj"


def _garbage(folder: Path) -> Path:
    (folder / "a.glb").write_bytes(b"not a GLB")
    return folder / "a.glb"


def _sheet(folder: Path) -> Path:
    (folder / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return folder / "a.obj"


def _unlit(folder: Path) -> Path:
    (folder / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nusemtl m\n"
        "f 1/1 3/1 2/1\nf 1/1 2/1 4/1\nf 1/1 4/1 3/1\nf 2/1 3/1 4/1\n"
    )
    (folder / "a.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd gone.png\n")
    return folder / "a.obj"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_no_faces, "has no faces"),
        (_nan, "no finite numbers"),
        (_point, "no extent"),
        (_line, "a line or a point"),
        (_garbage, "cannot be read as a mesh"),
        (_sheet, "encloses no cell"),
        (_unlit, "gone.png"),
        (lambda folder: folder / "gone.glb", "there is no mesh"),
        (lambda folder: folder / "a.fbx", "ends in .glb"),
        (lambda folder: folder, "ends in .glb"),
    ],
)
def test_a_mesh_that_is_of_no_use_is_one_sentence(tmp_path: Path, make, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        lift_named("mesh").function(LiftTask([PICTURE], LiftConfig(resolution=16), make(tmp_path)))
    assert "\n" not in str(caught.value)


def test_numbers_of_any_size_are_brought_into_the_frame(tmp_path: Path) -> None:
    for size in (1e-6, 1e12):
        ball = trimesh.creation.icosphere(2, radius=size)
        assert solid(saved(ball, tmp_path, "a.obj")).sum() > 0.9 * (POINTS.norm(dim=-1) < 0.8).sum()
