"""The paint stage on models that cannot paint: a sentence, and the mesh as it was; and the same paint again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes.pot import pot

from slipcast.configs.loading import load_config
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages import paint as paint_stage
from slipcast.systems.guided.settled import settled
from slipcast.systems.types import Mesh, SubjectImage


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(load_config("starter"))


def context(folder: Path, models: Any, *settings: str, mesh: Mesh | None = None) -> StageContext:
    for name in ("image", "mesh", "paint"):
        (folder / name).mkdir(parents=True)
    inputs = {name: folder / name for name in ("image/image.png", "mesh/mesh.safetensors")}
    (mesh or pot(size=64)).save(inputs["mesh/mesh.safetensors"])
    ones = np.ones((32, 32), np.float32)
    SubjectImage(np.stack([ones * 0.5] * 3, -1), ones).save(inputs["image/image.png"])
    config = load_config("smoke", [*settings])
    if isinstance(models, ModelStore):
        config = settled(config, models.uses())
    return StageContext("a porcelain bowl", config, folder / "paint", inputs, 3, "paint", Quiet(), models)


def painted(ctx: StageContext) -> Mesh:
    return Mesh.load(ctx.folder / "mesh.safetensors")


def base_that(reads: str, vae: object) -> Any:
    family, pipeline = SimpleNamespace(reads=reads), SimpleNamespace(vae=vae)
    return SimpleNamespace(base=SimpleNamespace(name="other", family=family, pipeline=pipeline))


@pytest.mark.parametrize(
    ("models", "settings", "mesh", "said"),
    [
        (base_that("classes", None), (), None, "draws classes and cannot be told which side it sees"),
        (base_that("text", object()), (), None, "has no encoder, which painting needs"),
        (None, ("paint.size=100",), None, "paint.size must be a multiple of 8 for 'starter', not 100"),
        (None, (), pot().with_(uv=None, texture=None, normal_map=None, orm=None), "needs a mesh with uv"),
        (None, (), pot(size=64).with_(normals=-pot().normals), "none of the 3 views sees the mesh's surface"),
    ],
)
def test_what_cannot_paint_is_told_and_the_mesh_is_kept(
    store: ModelStore, tmp_path: Path, models: Any, settings: tuple[str, ...], mesh: Mesh | None, said: str
) -> None:
    ctx = context(tmp_path, models or store, *settings, mesh=mesh)
    facts: Any = paint_stage.run(ctx)
    assert not facts["painted"] and said in facts["why"] and "\n" not in facts["why"]
    assert isinstance(ctx.progress, Quiet) and ctx.progress.notices == [
        f"the mesh keeps its paint: {facts['why']}"
    ]
    kept = ctx.folder / "mesh.safetensors"
    assert kept.read_bytes() == ctx.inputs["mesh/mesh.safetensors"].read_bytes()


def test_no_steps_load_no_model(tmp_path: Path) -> None:
    ctx = context(tmp_path, None, "paint.steps=0")
    assert paint_stage.run(ctx) == {"painted": False, "why": "paint.steps=0 leaves the paint of the mesh"}
    assert isinstance(ctx.progress, Quiet) and ctx.progress.notices == []


def test_the_same_seed_paints_the_same_again(store: ModelStore, tmp_path: Path) -> None:
    first, again = context(tmp_path / "a", store), context(tmp_path / "b", store)
    other = dataclasses.replace(context(tmp_path / "c", store), seed=4)
    facts = [paint_stage.run(ctx) for ctx in (first, again, other)]
    assert all(one["painted"] for one in facts)
    one, two, three = (painted(ctx).texture for ctx in (first, again, other))
    assert one is not None and two is not None and three is not None
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


def test_guidance_weighs_what_the_picture_was_drawn_with(store: ModelStore, tmp_path: Path) -> None:
    """Without guidance nobody asks text or domain: other words and another prompt paint the same."""
    textures = list[Any]()
    for name, factor in (("a", 0.0), ("b", 0.0), ("c", 1.0)):
        ctx = context(tmp_path / name, store, f"paint.guidance={factor}")
        ctx = dataclasses.replace(ctx, prompt="a red chair" if name == "b" else ctx.prompt)
        assert paint_stage.run(ctx)["painted"]
        textures.append(painted(ctx).texture)
    np.testing.assert_array_equal(textures[0], textures[1])
    assert (textures[0] != textures[2]).any()
