"""What is a prompt, and which folder it gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput
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
        ("vase " * 201, "at most 1000"),
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


def test_slugs_of_plain_prompts_are_readable() -> None:
    assert slug("A blue and white porcelain teapot!") == "a-blue-and-white-porcelain-teapot"


@given(PROMPTS)
def test_a_slug_is_a_safe_and_short_folder_name(prompt: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(prompt)) and len(slug(prompt)) <= 70


def test_prompts_that_lose_letters_in_their_slug_stay_apart() -> None:
    long = "a vase with " + "very " * 20
    assert slug("青花瓷 茶壶") != slug("青花瓷 花瓶")
    assert slug(long + "small feet") != slug(long + "large feet")
