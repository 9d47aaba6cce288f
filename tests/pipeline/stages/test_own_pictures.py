"""Pictures of people's own instead of drawn ones: cut out, squared, named after, and a whole asset without a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import make
from slipcast.pipeline.run.manifest import read_manifest
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.lift import run as lift_stage
from slipcast.pipeline.stages.own_pictures import subject_of
from slipcast.systems.images.files import read_subject


def drawn(
    path: Path,
    *,
    shape: tuple[int, int] = (120, 90),
    middle: tuple[float, float] = (0.5, 0.5),
    alpha: bool = False,
    noise: float = 0.0,
) -> np.ndarray:
    """Save a blue disc before an orange ground; the truth [H, W] of what is disc."""
    height, width = shape
    rows, columns = np.mgrid[0:height, 0:width]
    inside = np.hypot(rows - middle[0] * height, columns - middle[1] * width) < 30
    rgb = np.where(inside[..., None], [40, 60, 160], [230, 140, 40]).astype(np.float64)
    rgb += np.random.default_rng(0).normal(0, noise, rgb.shape)
    levels = rgb.clip(0, 255).astype(np.uint8)
    if alpha:
        levels = np.dstack([levels, np.where(inside, 255, 0).astype(np.uint8)])
    Image.fromarray(levels).save(path)
    return inside


@pytest.mark.parametrize("alpha", [False, True])
def test_the_subject_is_cut_out_by_its_transparency_or_its_plain_ground(tmp_path: Path, alpha: bool) -> None:
    truth = drawn(tmp_path / "cup.png", alpha=alpha, noise=0 if alpha else 3)
    subject = subject_of(tmp_path / "cup.png", None)
    assert ((subject.alpha > 0.5) == truth).mean() > 0.995
    assert np.abs(subject.rgb[truth] - np.array([40, 60, 160]) / 255).max() < 0.1  # no orange in the rim


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("plain", "shows no subject before its background"),
        ("busy", r"the background of .* is not plain.* image\.matting=FILE\.onnx"),
        ("clear", "is transparent all over"),
        ("text", "is no picture that can be read"),
        ("gone", "there is no picture"),
    ],
)
def test_a_photo_of_nothing_is_one_sentence(tmp_path: Path, kind: str, said: str) -> None:
    path = tmp_path / "cup.png"
    if kind == "text":
        path.write_text("no picture")
    elif kind != "gone":
        shape = (64, 64, 4 if kind == "clear" else 3)
        levels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        if kind == "clear":
            levels[..., 3] = 0
        Image.fromarray(np.full(shape, 128, np.uint8) if kind == "plain" else levels).save(path)
    with pytest.raises(BadInput, match=said) as caught:
        subject_of(path, None)
    assert "\n" not in str(caught.value)


def test_several_pictures_are_squared_and_the_first_goes_to_a_lift_of_one(tmp_path: Path) -> None:
    for name, shape in (("front.png", (120, 90)), ("left.png", (80, 130))):
        drawn(tmp_path / name, shape=shape)
    config = load_config("smoke", [f"image.picture=[{tmp_path}/front.png, {tmp_path}/left.png]"])
    console = Quiet()
    run = make("a blue disc", config, out=tmp_path / "runs", until_stage="lift", console=console).run
    assert run.name == "front-0"
    front, left = (read_subject(run / "10-image" / name) for name in ("image.png", "image-2.png"))
    for subject in (front, left):
        rows, columns = np.nonzero(subject.alpha > 0.5)
        side = len(subject.alpha)
        assert subject.alpha.shape == (side, side) and abs(np.ptp(columns) / side - 0.7) < 0.03
        assert all(abs(one.min() + one.max() - side) <= 2 for one in (rows, columns))  # in the middle
    assert console.notices == ["the lift starter looks at the first of the 2 pictures alone"]


def test_a_lift_of_several_is_given_all_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipcast.pipeline.stages import lift as stage
    from slipcast.systems.lift.table import Lift

    seen: list[float] = []

    def field(points):  # type: ignore[no-untyped-def]
        return 80.0 * (points.norm(dim=-1) < 0.5), points.new_full((len(points), 3), 0.5)

    def lifted(task):  # type: ignore[no-untyped-def]
        seen.extend(round(float(one.alpha.mean()), 2) for one in task.pictures)
        return field

    monkeypatch.setattr(stage, "lift_named", lambda name: Lift(lifted, several=True))
    inputs = {}
    for number in (1, 2, 10):
        name = "image.png" if number == 1 else f"image-{number}.png"
        Image.new("RGBA", (8, 8), (9, 9, 9, 25 * number)).save(tmp_path / name)
        inputs[f"image/{name}"] = tmp_path / name
    shuffled = dict(sorted(inputs.items()))
    assert list(shuffled) == ["image/image-10.png", "image/image-2.png", "image/image.png"]

    config, console = load_config("smoke"), Quiet()
    lift_stage(StageContext("", config, tmp_path, shuffled, 0, "lift", console, ModelStore(config)))
    assert seen == [0.1, 0.2, 0.98] and console.notices == []


def test_what_touches_the_border_is_warned_of(tmp_path: Path) -> None:
    drawn(tmp_path / "cut.png", middle=(0.5, 0.98))
    console = Quiet()
    config = load_config("smoke", [f"image.picture=[{tmp_path / 'cut.png'}]"])
    make("a disc", config, out=tmp_path / "runs", until_stage="image", console=console)
    (said,) = console.notices
    assert said.startswith(f"the subject of {tmp_path / 'cut.png'} runs out of the picture at its right side")


def test_the_content_of_the_picture_counts_and_not_its_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        drawn(folder / "cup.png")

    def again(folder: Path) -> tuple[str, ...]:
        config = load_config("smoke", [f"image.picture=[{folder / 'cup.png'}]"])
        return make("", config, out=tmp_path / "runs", until_stage="lift").made

    assert again(tmp_path) == ("image", "lift")
    assert again(tmp_path) == () and again(tmp_path / "elsewhere") == ()
    drawn(tmp_path / "cup.png", middle=(0.45, 0.5))
    assert again(tmp_path) == ("image",)  # somewhere else in the photo, it is framed as it was
    drawn(tmp_path / "cup.png", noise=5)
    assert again(tmp_path) == ("image", "lift")


def test_a_photo_becomes_an_asset_without_a_prompt_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn(tmp_path / "my cup.png")
    asked = ["make", "--picture", "my cup.png", "--config", "smoke", "refine.steps=1", "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert Path(told["glb"]) == Path("runs/my-cup-0/50-export/my-cup.glb")
    assert "refinement hears the empty text" in " ".join(result.stderr.split())
    mesh, extras = read_glb(Path(told["glb"]))
    assert extras["prompt"] == "" and mesh.texture is not None
    monkeypatch.chdir("/")
    resumed = CliRunner().invoke(app, ["make", "--resume", str(tmp_path / "runs/my-cup-0"), "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    assert not any(stage["made"] for stage in json.loads(resumed.stdout)["stages"].values())


def test_a_run_without_a_domain_says_so_once_and_has_keys_and_a_manifest(tmp_path: Path) -> None:
    """Through picture and refinement; its files carry the licences of what was used and of nothing else."""
    asked = ["domain=none", "image.steps=2", "refine.steps=1", "image.size=136x120"]
    console = Quiet()
    config = load_config("smoke", asked)
    made = make("a porcelain vase", config, out=tmp_path, until_stage="refine", console=console)
    assert made.made == ("image", "lift", "refine")
    (said,) = [sentence for sentence in console.notices if "no domain beside" in sentence]
    assert said.startswith("there is no domain beside the base 'starter', so the recipe is cfg")
    manifest = read_manifest(made.run)
    assert list(manifest.models()) == ["base", "lift_model"]
    assert manifest.settled is not None and manifest.config is not None
    assert (manifest.settled["domain"], manifest.settled["refine"]["recipe"]) == ("none", "cfg")
    assert (manifest.config["domain"], manifest.config["refine"]["recipe"]) == ("none", "in_domain")
    assert read_subject(made.run / "10-image" / "image.png").alpha.shape == (136, 136)  # squared for the lift
    assert make("a porcelain vase", config, out=tmp_path, until_stage="refine").made == ()


def test_a_matting_network_that_was_fetched_is_fed_as_its_name_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of pixels would do for it, so that its file alone does not say which it is."""
    onnx: Any = pytest.importorskip("onnx", reason="needs the extra [dev]")
    pytest.importorskip("onnxruntime", reason="needs the extra [matting]")
    helper = onnx.helper
    nodes = [
        helper.make_node("Slice", ["picture", "one", "two", "axis"], ["green"]),
        helper.make_node("Mul", ["green", "five"], ["logits"]),
    ]
    numbers = {"one": np.array([1]), "two": np.array([2]), "axis": np.array([1]), "five": np.float32(5)}
    graph = helper.make_graph(
        nodes,
        "green",
        [helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()],
    )
    cache = tmp_path / "hub/models--onnx-community--BiRefNet-ONNX"
    network = cache / "snapshots/0123/onnx/model.onnx"
    network.parent.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("0123")
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(network)
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    grain = np.random.default_rng(0).integers(0, 90, (96, 96, 3), np.uint8)
    grain[30:60, 40:70, 1] = 255
    Image.fromarray(grain).save(tmp_path / "photo.png")
    config = load_config("smoke", [f"image.picture=[{tmp_path}/photo.png]", "image.matting=birefnet"])
    run = make("a green thing", config, out=tmp_path / "runs", until_stage="image", console=Quiet()).run
    subject = read_subject(run / "10-image" / "image.png")
    assert 0.3 < float((subject.alpha > 0.5).mean()) < 0.7  # the square, framed
