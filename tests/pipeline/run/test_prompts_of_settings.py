"""Prompts inside settings pass the same checks as the prompt itself, wherever they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.run.prompt_syntax import notes_on
from slipcast.pipeline.run.prompts import prompts_of, with_checked_prompts
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS


@pytest.mark.parametrize("place", ["image", "refine"])
def test_what_stages_are_given_is_the_checked_prompt(place: str, tmp_path: Path) -> None:
    workshop, seen = Workshop(tmp_path / "runs"), list[MakeConfig]()
    workshop.hooks[place] = lambda ctx: seen.append(ctx.config)
    asked = [
        f"{place}.recipe=composable",
        f"{place}.wanted={{'  a   glass\tvase ': 2}}",
        f"{place}.unwanted={{'red  paint': 1}}",
        f"{place}.conditions={{blue: {{prompt: ' a  blue thing', weight: 3}}}}",
    ]
    run = workshop.make(load_config("starter", asked)).run
    group = getattr(seen[0], place)
    assert group.wanted == {"a glass vase": 2.0} and group.unwanted == {"red paint": 1.0}
    assert (group.conditions["blue"].prompt, group.conditions["blue"].weight) == ("a blue thing", 3.0)
    assert prompts_of(group) == ["a glass vase", "red paint", "a blue thing"]
    told = json.loads((run / "manifest.json").read_text())["config"][place]
    assert told["wanted"] == {"a glass vase": 2.0}


@pytest.mark.parametrize("place", ["image", "refine"])
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("negative", '["!!!"]', "negative '!!!' holds no letters"),
        ("negative", f'["{"very " * 900}red"]', "negative has 4503 characters"),
        ("wanted", '{"\u200b\ue000": 1}', "wanted holds the character U+E000"),
        ("unwanted", "{'...': 1}", "unwanted '...' holds no letters"),
        ("conditions", "{a: {prompt: '?'}}", "conditions.a '?' holds no letters"),
    ],
)
def test_what_is_no_prompt_is_told_by_its_setting_before_anything_is_made(
    place: str, setting: str, value: str, said: str, tmp_path: Path
) -> None:
    workshop = Workshop(tmp_path / "runs")
    with pytest.raises(BadInput) as caught:
        workshop.make(load_config("starter", [f"{place}.{setting}={value}"]))
    assert str(caught.value).startswith(f"{place}.{said}")
    assert workshop.ran == [] and not workshop.out.exists()


def test_an_empty_one_is_the_unconditional_prompt() -> None:
    group = load_config("starter", ["refine.negative=['', '7']"]).refine
    assert with_checked_prompts(group, "refine.") == group


def test_what_a_base_does_not_read_is_said_of_each() -> None:
    base = load_base(WEIGHTS / "prior", name="starter")
    (syntax, *_) = notes_on("(red:1.3) paint", base)
    assert syntax == (
        "the base 'starter' reads whole words, each alike: weights and BREAK in '(red:1.3) paint' are left out"
    )
    assert notes_on("a red vaze", base)[0].startswith(
        "the base model 'starter' does not know the word 'vaze'"
    )
    assert notes_on("a red vase", base) == []
    long = "a red vase " * 40
    assert any("does not read the end of the prompt" in note for note in notes_on(long, base, "front view"))
    with pytest.raises(BadInput, match="holds no letters"):
        notes_on("7", base)
