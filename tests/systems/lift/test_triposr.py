"""TripoSR: a known field comes out in its place, size and yaw, and the network is theirs, number for number."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fakes import triposr as fake

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import LiftConfig
from slipcast.systems.field.voxels import cell_centres
from slipcast.systems.lift.gridding import as_grid
from slipcast.systems.lift.table import LIFTS, LiftTask, lift_named
from slipcast.systems.lift.triposr import TripoSRField, load
from slipcast.systems.types import SubjectImage

from .test_shap_e import overlap, picture_of, truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake.save_ball(tmp_path_factory.mktemp("triposr"))


def test_a_picture_becomes_the_known_field_in_its_place_size_and_yaw(folder: Path) -> None:
    task = LiftTask([picture_of()], LiftConfig(resolution=48), folder)
    grid = as_grid(lift_named("triposr").function(task), 48)
    assert overlap(grid, truth) > 0.93
    solid = (grid.occupancy > 0.5).reshape(-1)
    near = solid & (cell_centres(48)[:, :2].abs().min(1).values > 0.15)  # away from where colours change
    wanted = truth(cell_centres(48))[1][near]
    assert float((grid.colours.reshape(-1, 3)[near] - wanted)[:, :2].abs().mean()) < 0.03


def test_the_picture_stands_on_grey_and_where_the_alias_points_is_a_file_of_it(folder: Path) -> None:
    seen: list[torch.Tensor] = []
    network = load(folder / "config.yaml")
    network.register_forward_pre_hook(lambda module, told: seen.append(told[0]))
    picture = picture_of()
    import slipcast.systems.lift.triposr as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load", lambda source: network)
        module.lift_picture(LiftTask([picture], LiftConfig(resolution=24), folder))
    shown = seen[0][0]
    assert shown.shape == (3, 64, 64) and torch.allclose(shown[:, 0, 0], torch.tensor(0.5), atol=0.01)
    off = (shown - 0.5).abs().amax(0) > 0.05
    assert int(off.any(0).sum()) == pytest.approx(0.85 * 64, abs=2)
    assert LIFTS["triposr"].identity(folder) == LIFTS["triposr"].identity(folder / "config.yaml")


def test_names_of_both_versions_of_transformers_are_read(tmp_path: Path) -> None:
    made, picture = fake.network(1), torch.rand(1, 3, 64, 64)
    for old in (True, False):
        network = load(fake.save(tmp_path / str(old), made, old_names=old))
        assert torch.equal(network(picture), made(picture))


def test_the_density_is_per_unit_of_our_box(folder: Path) -> None:
    """Along an axis their 128 samples cover the box: the optical depth is the mean of what the network says."""
    made = fake.network(2)
    planes = made(torch.rand(1, 3, 64, 64))[0]
    steps = (torch.arange(128) + 0.5) / 128 * 2 - 1
    line = torch.stack([torch.full((128,), 0.1), steps, torch.full((128,), -0.2)], dim=1)
    density, _ = TripoSRField(made, planes)(line)
    theirs = torch.stack([-line[:, 1], line[:, 0], line[:, 2]], dim=1)
    stands_for, _ = made.query(planes, theirs)
    assert float((density * 2 / 128).sum()) == pytest.approx(float(stands_for.mean()), rel=1e-5)


def test_what_is_no_triposr_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="`slipcast fetch triposr` downloads one"):
        load(tmp_path)
    other = fake.save(tmp_path / "other", fake.network())
    told = {**fake.CONFIG, "decoder": {**fake.CONFIG["decoder"], "n_neurons": 8}}
    (other / "config.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(BadInput, match=r"TripoSR in .* cannot be read"):
        load(other)
    told["backbone"] = {**fake.CONFIG["backbone"], "in_channels": "${tokenizer.gone}"}
    (other / "config.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(BadInput, match=r"refers to 'gone'"):
        load(other)
    (other / "config.yaml").write_text(yaml.safe_dump(fake.CONFIG))
    (other / "model.ckpt").write_bytes(b"no weights")
    with pytest.raises(BadInput, match="cannot be read"):
        load(other)
    blank = SubjectImage(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32))
    with pytest.raises(BadInput, match="shows no subject"):
        lift_named("triposr").function(LiftTask([blank], LiftConfig(), folder))


def _theirs(clone: Path, vit: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class TSR of a clone; what it imports and does not need here is stood in for."""
    for name in ("rembg", "torchmcubes"):
        stand_in = types.ModuleType(name)
        stand_in.marching_cubes = None  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.syspath_prepend(str(clone))
    image = importlib.import_module("tsr.models.tokenizers.image")
    monkeypatch.setattr(image, "hf_hub_download", lambda repo_id, filename: str(vit))
    return importlib.import_module("tsr.system").TSR


@pytest.mark.skipif("SLIPCAST_TRIPOSR" not in os.environ, reason="SLIPCAST_TRIPOSR names no clone of TripoSR")
def test_equal_to_the_code_of_its_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("einops", "omegaconf"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"TripoSR's code needs {name}")
    OmegaConf = importlib.import_module("omegaconf").OmegaConf

    made = fake.network(3)
    made.image_tokenizer["model"].config.save_pretrained(tmp_path)
    config = OmegaConf.create(fake.CONFIG)
    OmegaConf.resolve(config)
    theirs = _theirs(Path(os.environ["SLIPCAST_TRIPOSR"]), tmp_path, monkeypatch)(config).eval()
    theirs.load_state_dict(made.state_dict())
    picture, points = torch.rand(64, 64, 3), torch.rand(500, 3) * 2 - 1
    with torch.no_grad():
        planes = theirs([picture], "cpu")
        assert torch.equal(planes, made(picture.permute(2, 0, 1)[None]))
        told = theirs.renderer.query_triplane(theirs.decoder, 0.87 * points, planes[0])
    density, colour = made.query(planes[0], points)
    assert torch.allclose(told["density_act"][:, 0], density, atol=1e-6)
    assert torch.allclose(told["color"], colour, atol=1e-6)
