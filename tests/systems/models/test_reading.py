"""Folders as they come: the same parts under another name, parts missing, weights missing, files damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from safetensors.torch import load_file, save_file

from slipcast.configs.errors import BadInput
from slipcast.systems.models.base import load_base
from slipcast.systems.models.controlnet import load_controls
from slipcast.systems.models.families.table import family_of
from slipcast.systems.models.reading import read_pipeline
from slipcast.systems.models.weight_files import files_read

UNET = "unet/diffusion_pytorch_model.safetensors"
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "halved": lambda data: data[: len(data) // 2],
    "list": lambda data: b"[" + data + b"]",
    "null": lambda data: b"null",
    "not UTF-8": lambda data: b'{"a": "\xff"}',
    "deep": lambda data: b'{"a":' * 100_000,
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("whole")
    for name, made in (("sd", tiny.stable_diffusion(place)), ("sdxl", tiny.sdxl(place)), ("dit", tiny.dit())):
        made.save_pretrained(place / name)
    return {name: place / name for name in ("sd", "sdxl", "dit")}


@pytest.fixture
def copy(originals, tmp_path) -> Callable[[str], Path]:
    return lambda kind: shutil.copytree(originals[kind], tmp_path / kind)


def read(folder: Path, *names: str) -> Any:
    """A pipeline of which these parts alone are read, which is quicker; the others count as shared."""
    family = family_of(folder)
    others = {path.name: None for path in folder.iterdir() if path.name not in names}
    return read_pipeline(folder, family, others, allow_pickle=False)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("sd", "StableDiffusionImg2ImgPipeline"),
        ("sd", "StableDiffusionInpaintPipeline"),
        ("sd", "StableDiffusionControlNetPipeline"),
        ("sdxl", "StableDiffusionXLImg2ImgPipeline"),
        ("sdxl", "StableDiffusionXLInpaintPipeline"),
    ],
)
def test_other_ways_to_draw_have_the_same_parts(originals, copy, kind, name) -> None:
    folder = copy(kind)
    extra = {"safety_checker": ["stable_diffusion", "SafetyChecker"], "image_encoder": ["transformers", "X"]}
    index = {"_class_name": name, "feature_extractor": ["transformers", "CLIPImageProcessor"], **extra}
    edit(folder / "model_index.json", **index)  # and none of these folders is there
    base, plain = load_base(str(folder)), load_base(originals[kind])
    x, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    made, expected = (b.predictor.predict(x, t, [b.condition(["a vase"])])[0] for b in (base, plain))
    assert torch.equal(made, expected)


def test_an_inpainting_network_is_refused_and_the_plain_model_named(copy) -> None:
    folder = copy("sd")
    tiny.unet(in_channels=9).save_pretrained(folder / "unet")
    edit(folder / "model_index.json", _class_name="StableDiffusionInpaintPipeline")
    with pytest.raises(BadInput, match=r"9 input channels .*give the plain model"):
        load_base(folder)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "dit"])
def test_every_part_that_is_read_must_be_there(originals, copy, kind) -> None:
    folder = copy(kind)
    index = json.loads((folder / "model_index.json").read_text())
    parts = [path.name for path in folder.iterdir() if path.is_dir()]
    assert len(parts) == {"sd": 5, "sdxl": 7, "dit": 3}[kind]
    for part in parts:
        (folder / part).rename(folder / "aside")
        with pytest.raises(BadInput, match=f"lacks its {part};"):
            read(folder, part)
        (folder / "aside").rename(folder / part)
        for entry in ([None, None], None, "CLIPTextModel"):
            edit(folder / "model_index.json", **{part: entry})
            with pytest.raises(BadInput, match=f"lacks its {part};"):
                read(folder, part)
        for entry in (["os", "system"], ["diffusers", "NoSuchClass"], [f"{__name__}", "Path"]):
            edit(folder / "model_index.json", **{part: entry})
            with pytest.raises(
                BadInput, match=f"the {part} .* is a {entry[0]}.{entry[1]}, which slipcast does not"
            ):
                read(folder, part)
        edit(folder / "model_index.json", **{part: index[part]})
    assert load_base(folder).picture_size == 16


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize(
    "file", [UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"]
)
def test_missing_weights_are_not_drawn_at_random(copy, file) -> None:
    folder, part = copy("sd"), file.partition("/")[0]
    whole = (folder / file).read_bytes()
    gone: list[str] = []
    rewrite(folder / file, lambda tensors: gone.extend(key for key in sorted(tensors)[3:5]))
    rewrite(folder / file, lambda tensors: [tensors.pop(key) for key in gone])
    with pytest.raises(BadInput, match=f"{part} .* lacks 2 of the weights .* such as .*{gone[0][-12:]}"):
        read(folder, part)
    (folder / file).write_bytes(whole)
    rewrite(folder / file, lambda tensors: tensors.update({gone[0]: torch.zeros(3, 3)}))
    with pytest.raises(BadInput, match=f"{part} .* cannot be read"):
        read(folder, part)
    if part != "text_encoder":
        (folder / file).write_bytes(whole)
        rewrite(folder / file, lambda tensors: tensors.update({"more.weight": torch.zeros(3)}))
        with pytest.raises(BadInput, match=f"{part} .* has too many: 1 .* more.weight"):
            read(folder, part)


def test_the_other_half_of_a_clip_does_no_harm(originals, copy) -> None:
    folder = copy("sd")
    more = {"vision_model.x": torch.zeros(3), "text_model.embeddings.position_ids": torch.arange(16)[None]}
    rewrite(folder / "text_encoder/model.safetensors", lambda tensors: tensors.update(more))
    made, expected = (load_base(f).encode_text(["a vase"]) for f in (folder, originals["sd"]))
    assert torch.equal(made, expected)


@pytest.mark.parametrize("kind", ["sd", "dit"])
@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damaged_json_is_named(copy, kind, damage) -> None:
    folder = copy(kind)
    for path in [path for path in files_read(folder) if path.suffix == ".json"]:
        whole = path.read_bytes()
        path.write_bytes(DAMAGE[damage](whole))
        with pytest.raises(BadInput) as told:
            read(folder, path.parent.name)
        assert f"{path} cannot be read as" in str(told.value)
        path.write_bytes(whole)


def test_flipped_bits_are_a_sentence_or_a_model(copy) -> None:
    folder = copy("sd")
    for name in ("tokenizer/tokenizer.json", "text_encoder/config.json", "scheduler/scheduler_config.json"):
        path = folder / name
        whole = path.read_bytes()
        for place in torch.randint(
            8 * len(whole), (12,), generator=torch.Generator().manual_seed(3)
        ).tolist():
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            try:
                read(folder, path.parent.name)
            except BadInput as error:
                assert str(folder) in str(error)
                assert "\n" not in str(error)
        path.write_bytes(whole)
    # In the header of weights: its length, a name, an offset.
    whole = (folder / UNET).read_bytes()
    for place in (3, 40, 61, 70):
        (folder / UNET).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(BadInput, match="the unet in"):
            read(folder, "unet")


def test_a_schedule_or_prediction_type_that_there_is_not(copy) -> None:
    folder = copy("sd")
    config = folder / "scheduler/scheduler_config.json"
    whole = config.read_text()
    edit(config, prediction_type="velocity")
    with pytest.raises(BadInput, match="no prediction_type 'velocity'"):
        load_base(folder)
    config.write_text(whole)
    edit(config, trained_betas=[0.1, -0.2])
    with pytest.raises(BadInput, match="noise schedule of DDIMScheduler cannot be used"):
        load_base(folder)


def test_classes_follow_no_control(originals) -> None:
    with pytest.raises(BadInput, match="draws classes, and there are no ControlNets"):
        load_controls(["canny:edges.png"], load_base(originals["dit"]), size=16)


@pytest.mark.parametrize("name", ["~nouser-of-this-machine/x", "n" * 300, "a/" + "n" * 300, "nul\0l"])
def test_names_that_are_no_paths(name) -> None:
    with pytest.raises(BadInput, match=r"a model cannot be|cannot be a hub id"):
        load_base(name)


@pytest.mark.parametrize(
    "entry", [[{}, "AutoencoderKL"], ["diffusers", ["x"]], [[], []], ["", "x"], 3, {"a": 1}]
)
def test_a_part_that_is_no_pair_of_names_is_a_sentence(copy, entry: Any) -> None:
    folder = copy("sd")
    edit(folder / "model_index.json", vae=entry)
    with pytest.raises(BadInput, match="lacks its vae"):
        read(folder, "vae")


@pytest.mark.parametrize("name", ["x" * 70_000, "a\x1b[31mb", ["y"] * 1000])
def test_a_kind_of_any_name_is_a_short_line(copy, name: Any) -> None:
    folder = copy("sd")
    edit(folder / "model_index.json", _class_name=name)
    with pytest.raises(BadInput) as caught:
        family_of(folder)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()
