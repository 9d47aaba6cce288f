"""Checkpoints in one file on the command line: the same pictures as from the folder, and runs that go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import original_files as files
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.pipeline.cli.app import app
from slipcast.systems.models import precision
from slipcast.systems.models.families.sd import SD
from slipcast.systems.models.families.table import FAMILIES


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    pipe = files.pipeline("sd1")
    return {
        "folder": files.save(pipe, "sd1", place / "folder"),
        "file": files.write(pipe, "sd1", place / "anything.safetensors"),
    }


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def drawn(*arguments: object) -> tuple[Any, dict[str, Any]]:
    """The picture, and what it remembers."""
    result = run(
        "image", "a teapot", "--recipe", "cfg", "--size", 64, "--steps", 3, "--count", 1, "--json", *arguments
    )
    assert result.exit_code == 0, result.stderr
    with Image.open(json.loads(result.stdout)["pictures"][0]) as picture:
        return picture.tobytes(), json.loads(picture.text["slipcast"])  # pyright: ignore[reportAttributeAccessIssue]


def test_pictures_are_those_of_the_folder(models) -> None:
    (ours, told), (theirs, _) = drawn("--base", models["file"]), drawn("--base", models["folder"])
    assert ours == theirs
    assert told["models"]["base"].startswith("2:") and told["slipcast"]["base"] == str(models["file"])
    same, told = drawn("--base", models["file"], "--vae", models["folder"] / "vae")
    assert same == ours and told["slipcast"]["vae"] == str(models["folder"] / "vae")


def test_a_checkpoint_as_a_custom_model(models) -> None:
    ours, theirs = (
        drawn("--base", models["folder"], "--model", model, "--recipe", "autoguidance")
        for model in (models["file"], models["folder"])
    )
    assert ours[0] == theirs[0] and set(ours[1]["models"]) == {"base", "model"}


def test_make_draws_from_a_file_and_knows_when_it_changes(models, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tuple(replace(one, latents=dict.fromkeys(one.latents, 8)) for one in SD.originals)
    monkeypatch.setitem(FAMILIES, "StableDiffusionPipeline", replace(SD, originals=small))
    file = shutil.copy(models["file"], "mine.safetensors")
    settings = [
        "image.recipe=cfg",
        "refine.recipe=cfg",
        "image.steps=2",
        "image.candidates=1",
        "dtype=float32",
    ]

    def made(*arguments: object) -> tuple[bool, dict[str, Any]]:
        """Whether the picture was drawn now, and which models it is of."""
        result = run("make", *arguments, "--until", "image")
        assert result.exit_code == 0, result.stderr
        stage = json.loads((folder / "manifest.json").read_text())["stages"]["image"]
        return "kept, it is finished" not in result.stderr, stage["models"]

    folder = Path("runs/a-teapot-0").resolve()
    drawn, told = made("a teapot", f"base={file}", *settings)
    assert drawn and told["base"]["id"] == file and "vae" not in told
    assert made("--resume", folder) == (False, told)
    other = models["folder"] / "vae"
    drawn, with_vae = made("--resume", folder, f"vae={other}")
    assert drawn and with_vae["base"] == told["base"] and with_vae["vae"]["id"] == str(other)
    files.write(files.pipeline("sd1"), "sd1", Path(file), {"modelspec.title": "another file"})
    drawn, changed = made("--resume", folder, "vae=null")
    assert drawn and changed["base"]["revision"] != told["base"]["revision"]


@pytest.mark.parametrize("command", ["image", "make"])
def test_a_truncated_file_is_one_sentence_and_exit_2(models, command: str) -> None:
    Path("half.safetensors").write_bytes(models["file"].read_bytes()[:5000])
    options = ["--base", "half.safetensors"] if command == "image" else ["base=half.safetensors"]
    result = run(command, "a teapot", *options)
    assert result.exit_code == 2 and "half.safetensors cannot be read" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
