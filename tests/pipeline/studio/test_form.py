"""The form and a job are two ways to say the same; what cannot be used is told beside its field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.form import FIELDS, filled, more_settings, typed_of
from slipcast.systems.models.known import ALIASES, SHIPPED

FULL = {
    "prompt": "a blue vase",
    "seed": "7",
    "preset": "smoke",
    "base": "sd15",
    "domain": "none",
    "loras": "a.safetensors:0.5\nb.safetensors",
    "strength": "0.5",
    "negative": "red\na wooden table",
    "text_weight": "5",
    "domain_weight": "1.5",
    "candidates": "6",
    "more": "refine.steps=20\nimage.view=from the side: left",
}


def test_every_field_says_its_setting() -> None:
    found = filled(FULL, Path("uploads"), candidates_first=True)
    assert found.errors == {}
    assert found.values == {
        "config": "smoke",
        "prompt": "a blue vase",
        "seed": 7,
        "until": "image",
        "overrides": {
            "base": "sd15",
            "domain": "none",
            "domain_strength": 0.5,
            "image.text_weight": 5,
            "image.domain_weight": 1.5,
            "image.candidates": 6,
            "loras": ["a.safetensors:0.5", "b.safetensors"],
            "image.negative": ["red", "a wooden table"],
            "refine.steps": 20,
            "image.view": "from the side: left",
        },
    }


@pytest.mark.parametrize(
    "typed", [FULL, {"prompt": "a vase"}, {"prompt": "a vase", "strength": "0", "seed": "0"}]
)
def test_a_job_as_a_form_is_that_job_again(typed: dict[str, str]) -> None:
    values = filled(typed, Path("uploads"), candidates_first=True).values
    again = typed_of(values)
    assert set(again) == set(FIELDS)
    assert filled(again, Path("uploads"), candidates_first=True).values == values


def test_a_picked_job_as_a_form_leaves_the_choice_open() -> None:
    values = filled(FULL, Path("uploads"), candidates_first=True).values
    picked = values | {"overrides": values["overrides"] | {"image.pick": 3}}
    assert filled(typed_of(picked), Path("uploads"), candidates_first=True).values == values


def test_an_empty_form_but_for_the_prompt_leaves_all_to_the_preset(desk: Desk) -> None:
    values = filled({"prompt": "a vase"}, Path("uploads"), candidates_first=False).values
    assert values == {"config": "starter", "prompt": "a vase", "seed": 0}
    assert desk.check(values).key == desk.check({"prompt": "a vase"}).key


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("prompt", "", "the prompt is empty"),
        ("prompt", "123", "holds no letters"),
        ("prompt", "a\x07b", "U+0007"),
        ("seed", "-1", "whole number"),
        ("seed", "one", "whole number"),
        ("seed", str(2**63), "whole number"),
        ("preset", "no-such", "there is no preset"),
        ("preset", "../../etc/passwd", "there is no preset"),
        ("strength", "-1", "domain_strength"),
        ("strength", "strong", "domain_strength"),
        ("text_weight", "-2", "image.text_weight"),
        ("domain_weight", "nan", "image.domain_weight"),
        ("candidates", "0", "image.candidates"),
        ("candidates", "1000", "image.candidates"),
        ("more", "refine.stepz=3", "refine.steps"),
        ("more", "refine: {steps: -3}", "refine.steps"),
        ("more", "just words", "expected settings"),
        ("more", "a: [", "cannot be read as YAML"),
        ("more", "x: !!python/object:os.system 3", "tag"),
        ("more", "image.pick=9", "image.pick"),
        ("more", "device=banana\nrefine.t_min=0.9", "refine.t_min"),
    ],
)
def test_what_cannot_be_used_is_told_at_its_field_and_the_rest_is_kept(
    field: str, text: str, told: str
) -> None:
    typed = FULL | {field: text}
    found = filled(typed, Path("uploads"), candidates_first=True)
    assert list(found.errors) == [field], found.errors
    assert told in found.errors[field]
    assert {name: found.typed[name] for name in typed} == typed


def test_several_errors_are_told_at_once() -> None:
    found = filled({"prompt": "", "seed": "x", "candidates": "0"}, Path("uploads"), candidates_first=True)
    assert set(found.errors) == {"prompt", "seed", "candidates"}


def test_settings_that_contradict_each_other_are_told_on_top() -> None:
    typed = {"prompt": "a vase", "candidates": "2", "more": "image.pick=3"}
    found = filled(typed, Path("uploads"), candidates_first=True)
    assert list(found.errors) == [""] or list(found.errors) == ["more"]
    assert "image.pick" in "".join(found.errors.values())


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("refine.steps=3", {"refine.steps": 3}),
        ("image.background=a: b # c", {"image.background": "a: b # c"}),
        ("refine:\n  steps: 3\n  size: 64\ndomain: none", {"refine.steps": 3, "refine.size": 64, "domain": "none"}),
        ("refine.steps: 3", {"refine.steps": 3}),
        ("image.conditions: {gold: {prompt: a gold rim, weight: 2}}",
         {"image.conditions": {"gold": {"prompt": "a gold rim", "weight": 2}}}),
    ],
)  # fmt: skip
def test_more_settings_are_yaml_or_pairs(text: str, settings: dict[str, object]) -> None:
    assert more_settings(text) == settings


def test_suggested_models_are_known() -> None:
    pytest.importorskip("starlette", reason="the extra [ui] is not installed")
    from slipcast.pipeline.studio.make_page import BASES, DOMAINS

    assert all(name in SHIPPED["base"] or name in ALIASES for name in BASES)
    assert all(name in SHIPPED["domain"] or name == "none" for name in DOMAINS)


def test_a_picture_needs_no_prompt_and_has_no_candidates(desk: Desk) -> None:
    found = filled({"picture": "a" * 32 + ".png"}, Path("uploads"), candidates_first=True)
    assert not found.errors and found.values["picture"] == f"uploads/{'a' * 32}.png"
    assert "until" not in found.values and "prompt" not in found.values
    with pytest.raises(BadInput, match=re.escape("there is no picture")):
        desk.check(found.values)
