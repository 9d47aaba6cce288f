"""FILE:strength, with paths that hold colons of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput
from slipcast.configs.picture import picture_config
from slipcast.configs.strengths import path_and_strength


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("style.safetensors", ("style.safetensors", 1.0)),
        ("style.safetensors:0.8", ("style.safetensors", 0.8)),
        ("style.safetensors:-.5", ("style.safetensors", -0.5)),
        ("style.safetensors:1e-1", ("style.safetensors", 0.1)),
        (r"C:\loras\style.safetensors", (r"C:\loras\style.safetensors", 1.0)),
        (r"C:\loras\style.safetensors:0", (r"C:\loras\style.safetensors", 0.0)),
        ("style:v2.safetensors:0.5", ("style:v2.safetensors", 0.5)),
        ("style:v2", ("style:v2", 1.0)),
        ("style:nan", ("style:nan", 1.0)),
    ],
)
def test_the_number_behind_the_last_colon_is_the_strength(text: str, meant: tuple[str, float]) -> None:
    assert path_and_strength(text, "--lora") == meant


def test_what_is_there_under_the_whole_text_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "style:2").mkdir()
    assert path_and_strength(f"{tmp_path}/style:2", "--lora") == (f"{tmp_path}/style:2", 1.0)
    assert path_and_strength(f"{tmp_path}/style:2:3", "--lora") == (f"{tmp_path}/style:2", 3.0)


@pytest.mark.parametrize("text", ["", " ", ":0.5", "a.safetensors:1e999"])
def test_no_path_and_no_finite_number_are_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match="--lora expects FILE or FILE:strength"):
        path_and_strength(text, "--lora")


def test_the_home_folder_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = picture_config(None, {"loras": ["~/a.safetensors:0.5", "~/b.safetensors", "c:1"]})
    assert config.loras == [f"{tmp_path}/a.safetensors:0.5", f"{tmp_path}/b.safetensors", "c:1"]
