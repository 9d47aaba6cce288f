"""``slipcast domain`` from the outside: what it prints, its exit codes, and that a name is enough afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import tiny_pipelines
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.pipeline.cli.app import app


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPCAST_DOMAINS", raising=False)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["domain", *arguments])


def test_from_a_folder_of_pictures_to_a_packed_domain(tmp_path: Path) -> None:
    tiny_pipelines.stable_diffusion(tmp_path).save_pretrained("base")
    Path("set").mkdir()
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((40, 40)).save(f"set/{seed}.png")
    Path("set/notes.txt").write_text("words")
    asked = ["--name", "reds", "--base", "base", "--licence", "CC0-1.0", "--steps", "2", "--batch", "2"]
    asked += [
        "--samples",
        "0",
        "--feature-steps",
        "1",
        "--evaluate-every",
        "1",
        "--workers",
        "1",
        "--device",
        "cpu",
    ]
    asked += ["--word", "pot"]
    trained = _run("train", "set", *asked)
    assert trained.exit_code == 0, trained.output
    assert trained.stdout.splitlines() == ["domains/reds"]
    assert "left out 1: no picture by its name (notes.txt)" in trained.stderr
    assert "held-out loss" in trained.stderr and "6 pictures are few" in trained.stderr

    again = _run("train", "set", *asked, "--json")
    assert again.exit_code == 2
    assert "is there already, and is never overwritten" in json.loads(again.stdout)["error"]
    resumed = _run("resume", "reds", "--json", "--device", "cpu")
    told = json.loads(resumed.stdout)
    assert (resumed.exit_code, told["steps"], told["finished"]) == (0, 2, True)
    assert "finished already" in resumed.stderr

    listed = {one["name"]: one for one in json.loads(_run("list", "--json").stdout)["domains"]}
    assert listed["reds"]["licence"] == "CC0-1.0" and "starter" in listed
    info = _run("info", "reds")
    assert info.exit_code == 0 and "CC0-1.0" in info.stdout and "held_out_gain" in info.stdout
    balanced = _run("balance", "reds", "--prompt", "a pot", "--json", "--device", "cpu")
    assert balanced.exit_code == 0, balanced.output
    weights = json.loads(balanced.stdout)["weights"]
    assert weights["text"] == 3.5
    kept = json.loads(Path("domains/reds/domain.json").read_text())["weights"]
    assert kept["picture"] == weights and set(kept["refine"]) == {"domain"}

    assert _run("pack", "reds").stdout.strip() == "reds.domain.zip"
    assert _run("unpack", "reds.domain.zip", "--name", "back").stdout.strip() == "domains/back"
    assert _run("info", "back").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "set", "--name", "x"], "--licence says"),
        (["train", "set", "--name", "x", "--licence", "MIT"], "set is not there"),
        (["train", "set", "--name", "a/b", "--licence", "MIT"], "--name expects"),
        (["train", "set", "--name", "x", "--licence", "MIT", "--base", "sdx"], "did you mean sdxl"),
        (
            ["train", "set", "--name", "x", "--licence", "MIT", "--size-budget", "12 apples"],
            "a size such as 12GB",
        ),
        (["resume", "gone"], "there is no training of a domain 'gone'"),
        (["extend", "gone", "--steps", "3"], "there is no training of a domain 'gone'"),
        (["info", "startr"], "did you mean starter"),
        (["pack", "gone"], "there is no domain 'gone'"),
        (["balance", "gone"], "there is no domain 'gone'"),
        (["unpack", "gone.zip"], "there is no file gone.zip"),
    ],
)
def test_bad_input_is_one_sentence_and_two(arguments: list[str], sentence: str) -> None:
    found = _run(*arguments)
    assert found.exit_code == 2
    assert sentence in found.stderr and "Traceback" not in found.stderr
    assert not [path for path in Path().iterdir() if path.name != "domains"]
