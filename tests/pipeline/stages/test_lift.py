"""The lift stage with a mesh of the user's: from settings to the field that refinement reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.lift import run
from slipcast.systems.field.voxels import FrozenGrid
from slipcast.systems.types import SubjectImage


@dataclass
class Place:
    """A run's folders and a ball in a file."""

    folder: Path

    def mesh(self, radius: float = 2.0) -> Path:
        path = self.folder / "ball.glb"
        trimesh.creation.icosphere(3, radius=radius).export(path)
        return path

    def lift(self, *settings: str) -> FrozenGrid:
        picture, out = self.folder / "10-image", self.folder / "20-lift"
        for one in (picture, out):
            one.mkdir(exist_ok=True)
        blank = np.zeros((8, 8, 3), np.float32)
        SubjectImage(blank, blank[..., 0]).save(picture / "image.png")
        config = load_config("starter", ["lift.resolution=32", *settings])
        models = ModelStore(config)
        facts = run(
            StageContext(
                "a cup", config, out, {"image/image.png": picture / "image.png"}, 0, "lift", Quiet(), models
            )
        )
        field = FrozenGrid.load(out / "field.safetensors")
        solid = round(float((field.occupancy > 0.5).float().mean()), 5)
        assert facts == {"solid_fraction": solid}
        return field


def test_a_mesh_takes_the_place_of_the_network(tmp_path: Path) -> None:
    place = Place(tmp_path)
    field = place.lift("lift_model=mesh", f"lift.source={place.mesh()}")
    assert field.resolution == 32
    assert (field.occupancy > 0.5).float().mean().item() == pytest.approx(
        4 / 3 * np.pi * 0.85**3 / 8, rel=0.04
    )


def test_another_mesh_in_the_same_file_is_noticed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings = ["lift_model=mesh", f"lift.source={place.mesh()}"]
    told = [
        ModelStore(load_config("starter", settings)).identities(["lift_model"])["lift_model"]
        for _ in range(2)
    ]
    place.mesh(radius=3.0)
    other = ModelStore(load_config("starter", settings)).identities(["lift_model"])["lift_model"]
    assert told[0] == told[1] and told[0]["id"] == "mesh" and told[0]["licence"] == "unknown"
    assert other["revision"] != told[0]["revision"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["lift_model=mesh"], "lift_model=mesh needs lift.source, a mesh of yours"),
        (["lift_model=mesh", "lift.source=gone.glb"], "lift.source=gone.glb is not there"),
        (["lift_model=mehs"], "'mehs' is no model folder"),
    ],
)
def test_a_lift_without_what_it_reads_is_told_before_any_work(settings: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        ModelStore(load_config("starter", settings)).identities(["lift_model"])
    assert sentence in str(caught.value)
