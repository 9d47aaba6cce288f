"""What is a prompt, and which folder it gets."""

from __future__ import annotations

import re
import shlex
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput
from slipcast.pipeline.run.commands import command
from slipcast.pipeline.run.prompts import LONGEST, check_prompt, slug

PROMPTS = st.text(min_size=1, max_size=80).filter(
    lambda text: any(c.isalpha() for c in text) and all(c.isprintable() or c.isspace() for c in text)
)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "empty"),
        (" \t\n ", "empty"),
        ("12345 !?", "no letters"),
        ("a vase\x00", r"U\+0000"),
        ("a \x1b[31mvase", r"U\+001B"),
        ("a vase \udcff", r"U\+DCFF"),
        ("vase " * 801, "at most 4000"),
    ],
)
def test_what_is_no_prompt_is_refused_with_the_reason(prompt: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        check_prompt(prompt)


def test_other_scripts_are_prompts() -> None:
    assert check_prompt("  青花瓷\n茶壶 ") == "青花瓷 茶壶"
    assert check_prompt("a" * LONGEST) == "a" * LONGEST


@given(PROMPTS)
def test_a_checked_prompt_is_left_alone(prompt: str) -> None:
    try:
        checked = check_prompt(prompt)
    except BadInput:
        return
    assert check_prompt(checked) == checked


def test_numbers_are_prompts_for_models_of_classes_alone() -> None:
    assert check_prompt(" 207 ", digits=True) == "207"
    with pytest.raises(BadInput, match="no letters"):
        check_prompt("207")
    with pytest.raises(BadInput, match="no letters"):
        check_prompt("!?", digits=True)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a blue vase", "a-blue-vase"),
        ("花瓶", "花瓶"),
        ("青花瓷 茶壶", "青花瓷-茶壶"),
        ("a café cup 2", "a-café-cup-2"),
        ("नीला फूलदान", "नीला-फूलदान"),  # vowel signs are marks, no letters
    ],
)
def test_a_plain_prompt_gets_its_own_words_as_name(prompt: str, name: str) -> None:
    assert slug(prompt) == name


@pytest.mark.parametrize(
    ("prompt", "readable"),
    [
        ("A blue vase", "a-blue-vase"),
        ("a blue vase!", "a-blue-vase"),
        ("a blue-vase", "a-blue-vase"),
        ("a/../../blue vase", "a-blue-vase"),
        ("Ein Krug", "ein-krug"),
        ("cafe\u0301", "café"),  # two characters where the plain name has one
        ("nul", "nul"),
        ("com¹", "com¹"),
        ("a vase 12345678", "a-vase-12345678"),
    ],
)
def test_what_a_name_loses_a_fingerprint_tells_apart(prompt: str, readable: str) -> None:
    assert re.fullmatch(re.escape(readable) + "-[0-9a-f]{8}", slug(prompt))


@given(PROMPTS)
def test_a_slug_is_a_safe_short_name_and_plain_only_where_nothing_is_lost(prompt: str) -> None:
    name = slug(prompt)
    assert all(unicodedata.category(c)[0] in "LMN" or c == "-" for c in name)
    assert name and not name.startswith("-") and not name.endswith("-") and "--" not in name
    assert len(name.encode()) <= 69 and unicodedata.is_normalized("NFC", name)
    assert name.replace("-", " ") == prompt or re.search("-[0-9a-f]{8}$", name)


@given(
    st.lists(st.text("aA -!é茶", min_size=1, max_size=6).filter(lambda t: re.search(r"\w", t)), min_size=2)
)
def test_different_prompts_have_different_names(prompts: list[str]) -> None:
    """Also where a prompt is itself the name of another one, with its fingerprint."""
    prompts += [slug(prompt).replace("-", " ") for prompt in prompts]
    assert len({slug(prompt) for prompt in prompts}) == len(set(prompts))


def test_long_prompts_stay_apart_and_are_cut_between_characters() -> None:
    long = "a vase with " + "very " * 20
    assert slug(long + "small feet") != slug(long + "large feet")
    assert slug("茶" * 30).rpartition("-")[0] == "茶" * 20  # three bytes each
    assert slug("茶" * 20) == "茶" * 20


@pytest.mark.parametrize("words", [("make", "--resume", "q q"), ("a", "it's", '"$HOME"', "`x`", "\n", "茶")])
def test_a_told_command_is_read_by_a_shell_as_it_was_meant(words: tuple[str, ...]) -> None:
    assert shlex.split(command(*words)) == ["slipcast", *words]
    script = f"slipcast() {{ printf '%s\\0' \"$@\"; }}; {command(*words)}"
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split("\0")[:-1] == list(words)


def test_a_path_in_a_told_command_is_never_an_option() -> None:
    assert command("export", Path("-x/a b"), "--out", Path("q")) == "slipcast export './-x/a b' --out q"
