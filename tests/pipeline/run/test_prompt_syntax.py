"""Syntax of other programs is told apart from plain language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.pipeline.run.prompt_syntax import unread_syntax


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a vase <lora:porcelain:0.8>", ["<lora:porcelain:0.8>"]),
        ("a vase <lyco:x:1> <hypernet:y:1>", ["<lyco:x:1>", "<hypernet:y:1>"]),
        ("a vase in the style of <my-cat>", ["<my-cat>"]),
        ("a vase, embedding:EasyNegative", ["embedding:EasyNegative"]),
        ("a vase AND a table", ["AND"]),
        ("a [red:blue:0.4] vase", ["[red:blue:0.4]"]),
        ("a [red|blue] vase", ["[red|blue]"]),
        ("a {blue|green} vase", ["{blue|green}"]),
        ("a blue++ vase", ["blue++"]),
        ("a (blue vase)1.4", ["(blue vase)1.4"]),
        ("a (blue vase)-", ["(blue vase)-"]),
        ("a __colour__ vase, __shapes/pot__", ["__colour__", "__shapes/pot__"]),
        ("a vase --ar 3:2 --no", ["--ar 3:2", "--no"]),
        ("a vase::2 a plate:: -1", ["::2", ":: -1"]),
    ],
)
def test_commands_of_other_programs(prompt: str, pieces: list[str]) -> None:
    said = unread_syntax(prompt)
    assert [sentence.partition(" in the prompt")[0] for sentence in said] == [repr(piece) for piece in pieces]


@pytest.mark.parametrize(
    "prompt",
    [
        "a blue and white vase (porcelain)",
        r"a vase \(ming\), \[detail\]",
        "a (blue:1.3) ((vase)) [grey] BREAK (a table: 0.5)",
        "a well-made bread-and-butter plate, 16:9, 1.5 m tall",
        "A VASE AND A TABLE, DO NOT BREAK",
        "3 < 4 and 5 > 2",
        "a vase -- blue, as in 1999--2001 - snake_case and __init",
        "time: 10:30 (noon)",
        "an android and a BREAKFAST set",
    ],
)
def test_plain_language_and_weights(prompt: str) -> None:
    assert unread_syntax(prompt) == []


@given(st.text(max_size=60))
def test_any_text_is_answered(prompt: str) -> None:
    assert all(" is read as plain words; " in sentence for sentence in unread_syntax(prompt))
