"""Controls as they are written: parts, drives, colons, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipcast.configs.controls import ControlText, control_text
from slipcast.configs.errors import BadInput


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
