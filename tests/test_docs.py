"""The examples of docs/extending.md: each block is a module of a package that is installed here, and used."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_pipelines as tiny
from fakes.pipeline_stages import Workshop

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import LiftConfig, RefineConfig
from slipcast.pipeline.exporters.table import check_formats, format_named, paths_of
from slipcast.pipeline.run.stage import StageContext, in_order
from slipcast.pipeline.stages.table import STAGES, all_stages
from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, orbit_camera
from slipcast.systems.guided.recipes import recipe_named
from slipcast.systems.lift.gridding import as_grid
from slipcast.systems.lift.table import LiftTask, lift_named
from slipcast.systems.models.base import load_base
from slipcast.systems.refine.loop import refine_field
from slipcast.systems.types import SubjectImage

PAGE = Path(__file__).resolve().parents[1] / "docs/extending.md"
BLOCKS = re.findall(r"```python (\w+) (\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
OBJECTS = {
    "ShorterTextPipeline": "FAMILY",
    "ball": "LIFT",
    "sphere": "Sphere",
    "xyz": "XYZ",
    "twice": "TWICE",
    "count": "COUNT",
}
PICTURE = SubjectImage(np.full((16, 16, 3), 0.5, np.float32), np.zeros((16, 16), np.float32))


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a module for each block, as an installer leaves it."""
    told = tmp_path / "site" / "potter-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: potter\nVersion: 1.0\n")
    lines = []
    for kind, name, code in BLOCKS:
        (tmp_path / "site" / f"potter_{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, f"potter_{name}", raising=False)
        lines.append(f"[slipcast.{kind}]\n{name} = potter_{name}:{OBJECTS[name]}\n")
    (told / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def test_there_is_an_example_of_every_kind() -> None:
    from slipcast.configs.plugins import KINDS

    assert {kind for kind, _, _ in BLOCKS} == set(KINDS)


def test_the_family_reads_prompts_without_a_layer(tmp_path: Path) -> None:
    pipe = tiny.stable_diffusion(tmp_path)
    pipe.save_pretrained(tmp_path / "base")
    index = tmp_path / "base/model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "ShorterTextPipeline"}))
    text = load_base(tmp_path / "base").condition(["a vase"]).text
    words = pipe.tokenizer(["a vase"], padding="max_length", return_tensors="pt").input_ids
    pipe.text_encoder.encoder.layers = pipe.text_encoder.encoder.layers[:-1]
    told = pipe.text_encoder(words)[0]
    torch.testing.assert_close(text, told, atol=1e-6, rtol=0)
    with pytest.raises(BadInput, match=r"it reads StableDiffusionPipeline, .*, ShorterTextPipeline"):
        index.write_text(json.dumps({"_class_name": "QwenImagePipeline"}))
        load_base(tmp_path / "base")


def test_the_tests_that_lines_about_models_name_are_there() -> None:
    """As `path::name`, or by their names alone where the table's head or text says where they are."""
    page = (PAGE.parent / "models.md").read_text(encoding="utf-8")
    files = {
        path: path.read_text(encoding="utf-8") for path in (PAGE.parents[1] / "tests").rglob("test_*.py")
    }
    named = re.findall(r"`(?:(tests/[\w/.]+)::)?(test_\w+)`", page)
    assert len(named) > 40
    for file, name in named:
        places = [files[PAGE.parents[1] / file]] if file else files.values()
        assert any(f"def {name}(" in text for text in places), (file, name)


def test_the_lift_makes_a_ball(tmp_path: Path) -> None:
    lifted = lift_named("ball").function(LiftTask([PICTURE], LiftConfig(), tmp_path))
    solid = (as_grid(lifted, 32).occupancy > 0.5).float().mean().item()
    assert solid == pytest.approx(4 / 3 * np.pi * 0.6**3 / 8, rel=0.03)


def test_the_field_is_refined_towards_the_picture() -> None:
    """Of nothing: the ball shrinks."""
    config = RefineConfig(
        field="sphere", steps=12, size=16, resolution=16, samples=8, distillation_weight=0.0
    )
    losses: list[dict[str, float]] = []
    ball = lift_named("ball").function(LiftTask([PICTURE], LiftConfig(), Path()))
    options: dict[str, Any] = {
        "denoiser_for": None,
        "encode": None,
        "reference": PICTURE,
        "reference_camera": orbit_camera(0.0, FRONT_ELEVATION_RAD),
        "seed": 0,
    }
    refine_field(
        as_grid(ball, 16),
        config=dataclasses.replace(config, anchor_every=1),
        progress=lambda done, total, values: losses.append(values),
        **options,
    )
    assert losses[-1]["size"] < losses[0]["size"] and len(losses) == 12


def test_the_exporter_writes_its_file(tmp_path: Path) -> None:
    from types import SimpleNamespace

    check_formats(["glb", "xyz"])
    (path,) = paths_of("xyz", tmp_path, "pot")
    writer: Any = format_named("xyz").load()
    writer(SimpleNamespace(mesh=SimpleNamespace(vertices=np.eye(3, dtype=np.float32))), path)
    assert path.read_text() == "1.0 0.0 0.0\n0.0 1.0 0.0\n0.0 0.0 1.0\n"


def test_the_recipe_is_known_by_its_name() -> None:
    assert recipe_named("twice").weights == {"text": 4.0}


def test_the_stage_runs_after_what_it_needs_and_only_when_it_has_to(tmp_path: Path) -> None:
    stages = all_stages()
    assert [stage.name for stage in stages] == ["image", "count", "lift", "refine", "mesh", "paint", "export"]
    workshop = Workshop(tmp_path / "runs")

    def draw(ctx: StageContext) -> None:
        (ctx.folder / "image.png").write_bytes(b"12345")

    workshop.hooks["image"] = draw
    first = dataclasses.replace(workshop.stages[0], gives=("image.txt", "image.png"))
    workshop.stages = in_order((first, *workshop.stages[1:]), [stages[1]])
    made = workshop.make()
    assert made.made == tuple(stage.name for stage in stages) and made.records["count"].facts == {"bytes": 5}
    assert (made.run / "15-count" / "count.txt").read_text() == "5" and made.glb is not None
    assert workshop.make().made == ()


def test_without_other_packages_there_are_our_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [part for part in sys.path if not part.endswith("site")])
    assert all_stages() == STAGES


def test_a_stage_that_leaves_out_what_it_gives_has_failed(tmp_path: Path) -> None:
    from slipcast.configs.errors import SlipcastError

    workshop = Workshop(tmp_path / "runs")
    first = dataclasses.replace(workshop.stages[0], gives=("image.png",))
    workshop.stages = (first, *workshop.stages[1:])
    with pytest.raises(SlipcastError, match=r"stage image left no image\.png, which later stages read"):
        workshop.make()
