"""Controls as they are written: parts, drives, colons, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipcast.configs.controls import ControlText, control_text
from slipcast.configs.errors import BadInput
from slipcast.configs.image_prompts import ImagePromptText, image_prompt_text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("canny:edges.png", ("canny", "edges.png", "", 1.0)),
        ("canny:edges.png:0.8", ("canny", "edges.png", "", 0.8)),
        ("file:map.png:some/net", ("file", "map.png", "some/net", 1.0)),
        ("file:map.png:some/net:1e-1", ("file", "map.png", "some/net", 0.1)),
        ("depth:C:\\maps\\a.png", ("depth", "C:\\maps\\a.png", "", 1.0)),
        ("depth:C:\\a.png:d:/nets/own:0.5", ("depth", "C:\\a.png", "d:/nets/own", 0.5)),
        ("depth:a.png:./0.5", ("depth", "a.png", "./0.5", 1.0)),
    ],
)
def test_parts_and_back(text: str, parts: tuple[str, str, str, float]) -> None:
    told = control_text(text)
    assert told == ControlText(*parts)
    assert control_text(str(told)) == told


def test_a_picture_whose_name_holds_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12:30:0.5").write_bytes(b"")
    assert control_text("tile:12:30:0.5") == ControlText("tile", "12:30:0.5")


@pytest.mark.parametrize(
    "text", ["canny", "canny:", ":a.png", "", "canny::net", "file:a.png:b:c", "canny:a.png:1e999"]
)
def test_what_is_no_control_is_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match="--control expects kind:picture"):
        control_text(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("canny:a.png:0.8:end=0.6", ControlText("canny", "a.png", scale=0.8, end=0.6)),
        ("depth:a.png:net:start=0.2:end=1", ControlText("depth", "a.png", "net", start=0.2, end=1.0)),
        ("tile:a.png:branches=all", ControlText("tile", "a.png", branches="all")),
        ("lineart:C:\\a.png:find=yes", ControlText("lineart", "C:\\a.png", find="yes")),
        (
            "depth:a.png:find=D:\\nets\\d.onnx:start=.1",
            ControlText("depth", "a.png", start=0.1, find="D:\\nets\\d.onnx"),
        ),
    ],
)
def test_options_of_one_control_and_back(text: str, wanted: ControlText) -> None:
    assert control_text(text) == wanted
    assert control_text(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("canny:a.png:end=1.5", "end of --control canny is a share of the steps, from 0 to 1, not '1.5'"),
        ("canny:a.png:start=soon", "not 'soon'"),
        ("canny:a.png:start=nan", "not 'nan'"),
        ("canny:a.png:ends=0.5", "'ends'.*end"),
        ("canny:a.png:branches=null", "are text or all, not 'null'"),
    ],
)
def test_options_that_cannot_be_are_a_sentence(text: str, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        control_text(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cup.png", ImagePromptText("cup.png")),
        ("cup.png:0.5", ImagePromptText("cup.png", "", 0.5)),
        ("C:\\cup.png:D:\\ip.safetensors:1.2", ImagePromptText("C:\\cup.png", "D:\\ip.safetensors", 1.2)),
        ("cup.png:owner/net", ImagePromptText("cup.png", "owner/net")),
    ],
)
def test_image_prompts_and_back(text: str, wanted: ImagePromptText) -> None:
    assert image_prompt_text(text) == wanted
    assert image_prompt_text(str(wanted)) == wanted


@pytest.mark.parametrize("text", ["", ":net", "a.png:b:c", "a.png:1e999"])
def test_what_is_no_image_prompt_is_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match=r"--image-prompt expects a picture, such as cup.png"):
        image_prompt_text(text)
