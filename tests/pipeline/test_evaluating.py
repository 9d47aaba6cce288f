"""``slipcast eval``: folders of pictures and assets as people have them, judged by a network of others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.pot import made as made_asset
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.pipeline import evaluating
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.pipeline.run.progress import Quiet

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [eval]")
OPTIONS: Any = {"extractors": ["efficientnet-lite0"], "draws": 0, "console": Quiet()}


def pictures(folder: Path, count: int, *, seed: int, tint: tuple[int, int, int] = (0, 0, 0)) -> Path:
    """Blurred noise around a tint, 48 px."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        small = rng.integers(0, 120, (6, 6, 3)) + np.array(tint)
        picture = Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize((48, 48))
        picture.save(folder / f"{number:03d}.png")
    return folder


def test_nearer_pictures_are_nearer_by_every_figure(tmp_path: Path):
    real = pictures(tmp_path / "real", 14, seed=0, tint=(0, 0, 130))
    near = pictures(tmp_path / "near", 12, seed=1, tint=(0, 0, 130))
    far = pictures(tmp_path / "far", 12, seed=2, tint=(130, 60, 0))
    one, other = (evaluating.evaluate_images(folder, real, **OPTIONS) for folder in (near, far))
    a, b = (told["distances"]["efficientnet-lite0"] for told in (one, other))
    assert a["frechet"] < b["frechet"] and a["kid"] < b["kid"]
    assert a["precision"] > b["precision"] and a["coverage"] > b["coverage"]
    assert one["made"]["pictures"] == 12 and one["against"]["pictures"] == 14
    assert abs(one["colours"]["saturation"] - one["colours_against"]["saturation"]) < 0.05
    itself = evaluating.evaluate_images(real, real, **OPTIONS)["distances"]["efficientnet-lite0"]
    assert itself["frechet"] == pytest.approx(0, abs=1e-6) and itself["recall"] == 1


def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path):
    folder = pictures(tmp_path / "some", 3, seed=0)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "notes.txt").write_text("no picture")
    Image.fromarray(np.full((20, 30), 30000, np.uint16)).save(folder / "deep.png")
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(folder / "clear.png")
    files, read, skipped = evaluating.read_pictures(folder)
    assert [path.name for path in files] == ["000.png", "001.png", "002.png", "clear.png", "deep.png"]
    assert list(skipped) == [str(folder / "broken.png")]
    assert {one.mode for one in read} == {"RGB"}
    assert np.asarray(read[3])[0, 0].tolist() == [235, 235, 235]  # transparent: the ground shows
    assert np.asarray(read[4])[0, 0, 0] == round(30000 / 65535 * 255)


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_of_too_few_pictures_is_said(tmp_path: Path, count: int):
    folder = pictures(tmp_path / "few", count, seed=0)
    with pytest.raises(BadInput, match=f"holds {count} readable pictures"):
        evaluating.read_pictures(folder)
    with pytest.raises(BadInput, match="no folder of pictures"):
        evaluating.read_pictures(tmp_path / "none")


def test_edges_are_compared_by_name(tmp_path: Path):
    real = pictures(tmp_path / "real", 3, seed=0)
    wanted = pictures(tmp_path / "wanted", 3, seed=0)
    told = evaluating.evaluate_images(real, real, edges_of=wanted, **OPTIONS)
    assert told["canny_discrepancy"] == 0
    with pytest.raises(BadInput, match="has the name of one"):
        evaluating.evaluate_images(real, real, edges_of=pictures(tmp_path / "x" / "y", 0, seed=0), **OPTIONS)


def test_words_beside_pictures_go_before_the_callers(tmp_path: Path):
    folder = pictures(tmp_path / "p", 2, seed=0)
    (folder / "001.txt").write_text("a teapot\n")
    files, _, _ = evaluating.read_pictures(folder)
    assert evaluating._texts(files, "a vase") == ["a vase", "a teapot"]
    assert evaluating._texts(files, None) == []


def test_assets_are_seen_from_eight_sides(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    write_glb(made_asset(), tmp_path / "runs" / "pot.glb")
    write_glb(made_asset(), tmp_path / "runs" / "pot_lod1.glb")
    (tmp_path / "runs" / "broken.glb").write_bytes(b"glTF")
    real = pictures(tmp_path / "real", 8, seed=0)
    runner = CliRunner()
    arguments = [
        "eval",
        "assets",
        str(tmp_path / "runs"),
        "--against",
        str(real),
        "--draws",
        "0",
        "--prompt",
        "a pot",
    ]
    told = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert told["made"]["assets"] == 1 and told["made"]["pictures"] == 8
    assert list(told["made"]["skipped"]) == [str(tmp_path / "runs" / "broken.glb")]
    assert told["meshes"]["watertight"] == 1 and told["meshes"]["most_pieces"] == 1
    assert 0.5 < told["views"]["consistency"] < 1
    assert "watertight" in runner.invoke(app, arguments).stdout


def test_a_network_that_is_none_is_told_in_a_sentence(tmp_path: Path):
    folder = pictures(tmp_path / "p", 2, seed=0)
    for wrong, told in (("efficientnet-lite9", "did you mean"), (str(tmp_path), "no DINOv2 network")):
        with pytest.raises(BadInput, match=told):
            evaluating.evaluate_images(folder, folder, **OPTIONS | {"extractors": [wrong]})
    with pytest.raises(BadInput, match="there is no device 'gpu'"):
        evaluating.evaluate_images(folder, folder, device="gpu", **OPTIONS)
    with pytest.raises(BadInput, match="no CLIP network"):
        evaluating.evaluate_images(folder, folder, prompt="a vase", clip=str(tmp_path), **OPTIONS)


def test_networks_of_transformers_answer_as_they_do_by_themselves(tmp_path: Path):
    """Tiny CLIP and DINOv2 networks from folders, against their own classes asked directly."""
    import torch
    from fakes.accelerator import ACCELERATOR
    from fakes.tiny_pipelines import tokenizer
    from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

    from slipcast.systems.evaluation.alignment import load_clip
    from slipcast.systems.evaluation.extractors import as_tensor, extractor_named

    torch.manual_seed(0)
    small: Any = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    dino = Dinov2Model(Dinov2Config(image_size=224, patch_size=56, mlp_ratio=2, **small)).eval()
    dino.save_pretrained(tmp_path / "dino")
    read = [Image.new("RGB", (40, 60), colour) for colour in ("red", "teal")]
    extractor = extractor_named(str(tmp_path / "dino"))
    seen = as_tensor(read, 224)
    standardised = (seen - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    with torch.no_grad():
        assert torch.equal(extractor.load("cpu")(seen), dino(standardised).pooler_output)
        there = extractor.load(ACCELERATOR)(seen)
        torch.testing.assert_close(there, dino(standardised).pooler_output, atol=1e-5, rtol=0)

    words = tokenizer(tmp_path / "clip")
    sides = dict(small, intermediate_size=16)
    config = CLIPConfig(
        text_config=dict(
            sides, vocab_size=len(words), max_position_embeddings=16, eos_token_id=words.eos_token_id
        ),
        vision_config=dict(sides, image_size=32, patch_size=16),
        projection_dim=8,
    )
    clip = CLIPModel(config).eval()
    clip.save_pretrained(tmp_path / "clip")
    words.save_pretrained(tmp_path / "clip")
    told = load_clip(str(tmp_path / "clip"))(read, ["a vase", "a"])
    there = load_clip(str(tmp_path / "clip"), ACCELERATOR)(read, ["a vase", "a"])
    assert np.abs(there - told).max() < 1e-6
    pixels = as_tensor(read, 32)
    mean, std = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    with torch.no_grad():
        tokens = words(["a vase", "a"], padding=True, return_tensors="pt")
        answer = clip(**tokens, pixel_values=(pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    expected = answer.logits_per_image.diagonal() / clip.logit_scale.exp()
    assert told == pytest.approx(expected.detach().numpy(), abs=1e-5)
