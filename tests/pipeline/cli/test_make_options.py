"""What ``slipcast make``'s options come to: settings of the same names as in ``slipcast image``, presets and YAML."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from slipcast.configs.picture import OF_MODELS, PictureConfig, make_settings, parse_size
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline import make as make_module
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.cli.image import image
from slipcast.pipeline.cli.make import make
from slipcast.pipeline.make import MakeResult


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the command asks of ``make``, which makes nothing here."""
    told: dict[str, Any] = {}

    def make(prompt: str, config: Any, **options: Any) -> MakeResult:
        told.update(options, prompt=prompt, config=config)
        return MakeResult(tmp_path, tmp_path, None, (), {})

    monkeypatch.setattr(make_module, "make", make)
    monkeypatch.chdir(tmp_path)
    return told


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["make", *arguments])
    assert result.exit_code == 0, result.stderr


def test_options_are_settings_and_key_value_goes_over_them(asked: dict[str, Any]) -> None:
    run("a cup", "--base", "sd15", "--domain", "none", "--model", "a.safetensors", "--lora-scale", "0.5",
        "--device", "cpu", "--dtype", "float16", "dtype=float32")  # fmt: skip
    config = asked["config"]
    assert (config.base, config.domain, config.model, config.lora_scale) == (
        "sd15",
        "none",
        "a.safetensors",
        0.5,
    )
    assert (config.device, config.dtype, asked["prompt"]) == ("cpu", "float32", "a cup")
    assert "open_models" not in asked


def test_pictures_need_no_prompt_and_are_remembered_by_their_whole_path(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    run("--picture", "a.png", "--picture", "b.png", "refine.steps=7")
    assert (asked["prompt"], asked["config"].refine.steps) == ("", 7)
    assert asked["config"].image.picture == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    run("a = b is no setting", "--picture", "a.png")
    assert asked["prompt"] == "a = b is no setting"
    run("image.picture=[a.png]")
    assert (asked["prompt"], asked["config"].image.picture) == ("", ["a.png"])


def test_a_spec_of_slipcast_image_draws_the_picture(asked: dict[str, Any]) -> None:
    Path("spec.yaml").write_text(
        "prompt: a chair\nseed: 5\nbase: sd15\ncount: 3\nsize: 64x32\ncontrol: [canny:a.png]\nas_make: true\n"
        "conditions: {red: {prompt: a red thing, weight: 2}}\nweights: {text: 3}\n"
    )
    run("--spec", "spec.yaml", "--base", "starter", "image.weights={domain: 1}")
    config, image = asked["config"], asked["config"].image
    assert (asked["prompt"], asked["seed"], config.base) == ("a chair", 5, "starter")
    assert (image.candidates, image.size, image.control) == (3, "64x32", ["canny:a.png"])
    assert (image.conditions["red"].prompt, image.conditions["red"].weight) == ("a red thing", 2.0)
    assert image.weights == {"text": 3.0, "domain": 1.0}
    run("a table", "--spec", "spec.yaml", "--seed", "6")
    assert (asked["prompt"], asked["seed"]) == ("a table", 6)
    settings, prompt, seed = make_settings(Path("spec.yaml"))
    assert (prompt, seed, set(settings)) == ("a chair", 5, {"base", "image"})


def test_trust_and_a_small_device_are_no_settings_of_a_run(asked: dict[str, Any]) -> None:
    run("a cup", "--allow-pickle", "--low-memory", "--device", "cpu")
    store = asked["open_models"](asked["config"])
    assert store.allow_pickle and store.offload is not None
    assert not hasattr(asked["config"], "allow_pickle")


def test_width_comes_first() -> None:
    assert parse_size("512x768") == (768, 512) == parse_size("512X768")
    assert parse_size("64") == (64, 64)


def test_the_options_of_an_export_are_those_of_slipcast_export(asked: dict[str, Any]) -> None:
    run("a cup", "--height", "0.2", "--roughness", "0.4", "--faces", "500", "--lods")
    export = asked["config"].export
    assert (export.height_m, export.roughness, export.faces) == (0.2, 0.4, 500)
    assert export.lods == [0.5, 0.25, 0.1]
    run("a cup", "--lods", "export.lods=[0.3]")
    assert asked["config"].export.lods == [0.3]


def test_every_setting_of_models_may_stand_in_a_yaml_file_of_image(asked: dict[str, Any]) -> None:
    Path("spec.yaml").write_text(
        "base: sd15\nvae: own\ndomain: none\nmodel: m\nlora_scale: 0.5\nloras: [a.safetensors:0.5]\n"
        "embeddings: [cat.safetensors]\nimage_prompt: [cup.png:net]\nimage_encoder: enc\nembedded_guidance: 7\n"
        "domain_strength: 0.5\ndevice: cpu\ndtype: float32\nsince: {text: 0.1}\nguidance_rescale: 0.2\n"
    )
    run("a cup", "--spec", "spec.yaml")
    config = asked["config"]
    assert {name: getattr(config, name) for name in OF_MODELS} == {
        "base": "sd15", "vae": "own", "domain": "none", "model": "m", "lora_scale": 0.5,
        "loras": ["a.safetensors:0.5"], "embeddings": ["cat.safetensors"], "image_prompt": ["cup.png:net"],
        "image_encoder": "enc", "embedded_guidance": 7.0, "domain_strength": 0.5, "device": "cpu", "dtype": "float32",
    }  # fmt: skip
    assert (config.image.since, config.image.guidance_rescale) == ({"text": 0.1}, 0.2)


def test_what_image_and_make_call_a_setting_of_models_is_one_name() -> None:
    """Options of both commands, fields of both schemas."""
    of_image, of_make = (
        {one.name for one in inspect.signature(command).parameters.values()} for command in (image, make)
    )
    named = {"loras": "lora", "embeddings": "embedding"}
    options = {named.get(name, name) for name in OF_MODELS}
    assert options <= of_image and options <= of_make
    for schema in (PictureConfig, MakeConfig):
        assert {*OF_MODELS} <= {one.name for one in fields(schema)}
