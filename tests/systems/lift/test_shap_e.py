"""Shap-E by diffusers: the field that its latents stand for comes out, in its place, size and yaw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import shap_e as fake

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import LiftConfig
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, cell_centres
from slipcast.systems.lift.facing import faced, facing_yaw
from slipcast.systems.lift.gridding import as_grid
from slipcast.systems.lift.shap_e import ShapEField, load, on_white
from slipcast.systems.lift.table import LiftTask, lift_named
from slipcast.systems.lift.turned import Turned
from slipcast.systems.types import SubjectImage

FRAMED = 0.85  # the radius that a ball has in the common framing


def truth(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The fake's ball as it is to come out: framed, and turned back."""
    return fake.ball(points, centre=(0.0, 0.0, 0.0), radius=FRAMED, yaw_deg=0.0)


def picture_of(field=truth, *, azimuth: float = 0.0, elevation: float = np.radians(15), size: int = 96):
    rgb, alpha, _ = render_image(field, orbit_camera(azimuth, elevation), size)
    straight = (rgb / alpha[..., None].clamp_min(1e-3)).clamp(0, 1)
    return SubjectImage(straight.numpy(), alpha.numpy().astype(np.float32))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.save_shap_e(tmp_path_factory.mktemp("shap-e"))


def task(folder: Path, picture: SubjectImage, **settings) -> LiftTask:
    return LiftTask([picture], LiftConfig(**{"steps": 2, "resolution": 48, **settings}), folder)


def overlap(grid: FrozenGrid, field) -> float:
    theirs = as_grid(field, grid.resolution)
    one, two = grid.occupancy > 0.5, theirs.occupancy > 0.5
    return float((one & two).sum() / (one | two).sum())


def test_the_field_is_the_network_that_the_latents_stand_for(folder: Path) -> None:
    renderer = load(folder).shap_e_renderer
    before = {name: value.clone() for name, value in renderer.state_dict().items()}
    field = ShapEField(renderer, torch.randn(1, 4 * fake.HIDDEN, fake.WIDTH))
    points = torch.rand(500, 3) * 2 - 1
    for one, two, scale in zip(field(points), fake.ball(points), (fake._DENSITY, 1.0), strict=True):
        assert float((one - two).abs().max()) < 0.01 * scale
    assert all(torch.equal(value, before[name]) for name, value in renderer.state_dict().items())


def test_a_picture_becomes_the_known_field_in_its_place_size_and_yaw(folder: Path) -> None:
    grid = as_grid(lift_named("shap-e").function(task(folder, picture_of())), 48)
    assert overlap(grid, truth) > 0.93
    solid = (grid.occupancy > 0.5).reshape(-1)
    near = solid & (cell_centres(48)[:, :2].abs().min(1).values > 0.1)  # away from where colours change
    wanted = truth(cell_centres(48))[1][near]
    assert float((grid.colours.reshape(-1, 3)[near] - wanted).abs().mean()) < 0.02


@pytest.mark.parametrize("yaw_deg", [0.0, 47.0, 180.0, 301.0])
@pytest.mark.parametrize("elevation_deg", [0.0, 15.0, 30.0])
def test_law_a_field_is_turned_until_it_looks_like_the_picture(yaw_deg: float, elevation_deg: float) -> None:
    turned = Turned(truth, np.radians(yaw_deg), torch.zeros(3), 1.0)
    found = np.degrees(facing_yaw(turned, picture_of(elevation=np.radians(elevation_deg))))
    assert (found + yaw_deg + 180) % 360 - 180 == pytest.approx(0, abs=4)


def test_place_and_size_in_the_picture_say_nothing_of_the_yaw() -> None:
    whole = picture_of(size=64)
    rgb, alpha = np.zeros((160, 160, 3), np.float32), np.zeros((160, 160), np.float32)
    rgb[90:154, 5:69], alpha[90:154, 5:69] = whole.rgb, whole.alpha
    turned = Turned(truth, np.radians(100), torch.zeros(3), 0.5)
    assert np.degrees(facing_yaw(turned, SubjectImage(rgb, alpha))) % 360 == pytest.approx(260, abs=4)


def test_law_what_is_seen_through_a_field_does_not_change_with_its_scale() -> None:
    def haze(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2.0 * (points.norm(dim=1) < 0.3), torch.full((len(points), 3), 0.5)

    def middle_opacity(field) -> float:
        return float(render_image(field, orbit_camera(0, 0), 33, samples=400)[1][16, 16])

    grown = Turned(haze, 0.0, torch.zeros(3), 2.0)
    assert middle_opacity(haze) == pytest.approx(1 - np.exp(-2 * 0.6), rel=0.03)
    assert middle_opacity(grown) == pytest.approx(middle_opacity(haze), rel=0.03)


def test_nothing_solid_is_a_sentence() -> None:
    def empty(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(points)), torch.zeros(len(points), 3)

    with pytest.raises(SlipcastError, match=r"made nothing solid; try another lift\.seed"):
        faced(empty, picture_of(), np.radians(15))


def test_fog_gives_way_to_the_surface_head(folder: Path, tmp_path: Path) -> None:
    import shutil

    from diffusers.pipelines.shap_e.renderer import ShapERenderer

    foggy = tmp_path / "foggy"
    shutil.copytree(folder, foggy)
    renderer: Any = ShapERenderer.from_pretrained(foggy / "shap_e_renderer")
    with torch.no_grad():
        renderer.mlp.mlp[6].weight[2] *= 1e-5
        renderer.mlp.mlp[6].bias[2] *= 1e-5
    renderer.save_pretrained(foggy / "shap_e_renderer")
    told: list[str] = []
    made = LiftTask([picture_of()], LiftConfig(steps=1), foggy, notice=told.append)
    assert overlap(as_grid(lift_named("shap-e").function(made), 48), truth) > 0.9
    assert len(told) == 1 and "fog" in told[0]


def test_the_subject_stands_on_white_and_fills_what_shap_e_was_trained_with() -> None:
    rgb, alpha = np.zeros((100, 60, 3), np.float32), np.zeros((100, 60), np.float32)
    alpha[10:60, 20:30] = 1.0
    shown = np.asarray(on_white(SubjectImage(rgb, alpha)))
    rows, columns = np.nonzero(shown[..., 0] < 128)
    assert shown.shape == (256, 256, 3) and (shown[0, 0] == 255).all()
    assert rows.max() + 1 - rows.min() == pytest.approx(0.85 * 256, abs=2)
    assert (rows.max() + rows.min()) / 2 == pytest.approx(127.5, abs=3)
    assert (columns.max() + columns.min()) / 2 == pytest.approx(127.5, abs=3)
    with pytest.raises(BadInput, match="shows no subject"):
        on_white(SubjectImage(rgb, np.zeros_like(alpha)))


def test_other_folders_and_damaged_ones_are_sentences(folder: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(BadInput, match="index"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(BadInput, match="expects a folder of ShapEImg2ImgPipeline, not of 'StableDiff"):
        load(tmp_path)
    for part in ("prior", "image_encoder", "shap_e_renderer", "image_processor", "scheduler"):
        damaged = tmp_path / f"without-{part}"
        shutil.copytree(folder, damaged)
        shutil.rmtree(damaged / part)
        with pytest.raises(BadInput, match="Shap-E") as caught:
            load(damaged)
        assert "\n" not in str(caught.value)
