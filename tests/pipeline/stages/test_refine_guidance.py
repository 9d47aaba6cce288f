"""Terms over the steps, by views and put together, as settings of the one guidance that refinement asks."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.schema import MakeConfig, RefineConfig
from slipcast.guidance.combining import COMBINATIONS
from slipcast.guidance.conditioning import Conditioning
from slipcast.guidance.predictors import GaussianPredictor
from slipcast.guidance.view_negatives import view_negatives
from slipcast.pipeline.stages.guided_views import GuidedViews
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.field.cameras import VIEW_WORDS, view_word
from slipcast.systems.guided.branches import Extra, Ingredients
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.uses import Uses
from slipcast.systems.refine.step import ChangesOverSteps
from slipcast.systems.refine.views import BACKGROUNDS

VIEWS = ["front view", "side view", "back view"]
GROUNDS = [BACKGROUNDS[0]] * 3


class Model:
    """One network without weights: an answer for each prompt."""

    def __init__(self, schedule: Any) -> None:
        self.predictor = GaussianPredictor(0.0, 0.3, schedule)
        self.told: dict[tuple[str, ...], Conditioning] = {}

    def condition(self, prompts: Any, size: Any = None) -> Conditioning:
        return self.told.setdefault(tuple(prompts), Conditioning(text=torch.zeros(len(prompts), 1, 1)))


@pytest.fixture
def views() -> Any:
    from fakes.refinements import SCHEDULE

    def make(group: RefineConfig, **weights: float) -> GuidedViews:
        model: Any = Model(SCHEDULE)
        extras = {name: Extra(one.prompt, one.weight) for name, one in group.conditions.items()}
        made = Ingredients(model, "a vase", extras=extras, negatives=tuple(group.negative))
        return GuidedViews(made, weights or {"text": 4.0}, group, 1.0)

    return make


def config(*overrides: str) -> RefineConfig:
    return load_config("starter", ["refine.recipe=composable", *overrides]).refine


def weights(noise_for: GuidedViews, t: float = 0.5) -> dict[str, list[float]]:
    terms = noise_for(VIEWS, GROUNDS).guidance.terms
    return {term.positive.name: term.weights_at([t] * 3) for term in terms}


CONDITION = "refine.conditions={glass: {prompt: a glass thing, weight: 2}}"


def test_weights_follow_their_schedules_by_name(views) -> None:
    asked = config(CONDITION, "refine.weights_over_steps={text: [0, 1, 5, 4], glass: [2, 0, 4]}")
    guided = views(asked)
    assert isinstance(guided, ChangesOverSteps)
    found = [weights(cast("GuidedViews", guided.at(step))) for step in (0, 2, 4, 9)]
    assert [one["text"][0] for one in found] == [1.0, 3.0, 5.0, 5.0]
    assert [one["glass"][0] for one in found] == [2.0, 1.0, 0.0, 0.0]


def test_intervals_follow_their_schedules_in_the_place_of_their_numbers(views) -> None:
    asked = config(
        "refine.until={text: 0.1}",
        "refine.until_over_steps={text: [2, 0.5, 1.0, 6]}",
        "refine.since_over_steps={text: [0.4, 0.0, 4]}",
    )
    guided = views(asked)

    def on(step: int) -> list[float]:
        return [t for t in (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 0.95) if weights(guided.at(step), t)["text"][0]]

    assert on(0) == [0.45] and on(2) == [0.3, 0.45]
    assert on(4) == [0.0, 0.15, 0.3, 0.45, 0.6] and on(6) == on(99) == [0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 0.95]


def test_an_interval_that_turns_round_is_refused_with_its_step() -> None:
    asked = ["domain=none", "refine.since_over_steps={text: [3, 0.2, 0.9, 7]}"]
    assert settled(load_config("starter", asked), Uses())
    with pytest.raises(
        BadInput, match="since_over_steps: the term text is never on at step 7, since lies above"
    ):
        settled(load_config("starter", [*asked, "refine.until={text: 0.5}"]), Uses())


def test_a_term_is_heard_from_the_views_that_are_named_alone(views) -> None:
    asked = config(CONDITION, "refine.heard_from={text: [front, side], glass: [back]}")
    assert weights(views(asked)) == {"text": [4.0, 4.0, 0.0], "glass": [0.0, 0.0, 2.0]}
    everywhere = config(CONDITION, "refine.heard_from={text: [front, three-quarter, side, back, above]}")
    assert weights(views(everywhere)) == weights(views(config(CONDITION)))
    nowhere = views(config(CONDITION, "refine.heard_from={glass: [above]}"))(VIEWS, GROUNDS).guidance
    assert "glass" not in {branch.name for branch in nowhere.needed([0.5] * 3)}


def test_terms_are_put_together_as_asked(views) -> None:
    for name in COMBINATIONS:
        guidance = views(config(f"refine.combine={name}"))(VIEWS, GROUNDS).guidance
        assert guidance.combination is COMBINATIONS[name]
    assert views(config())(VIEWS, GROUNDS).guidance.combination is None
    turns = views(config(CONDITION, "refine.combine=alternate"))
    assert [list(weights(turns.at(step))) for step in range(3)] == [["text"], ["glass"], ["text"]]


def test_guidance_at_low_noise_follows_its_schedule(views) -> None:
    guided = views(config("refine.guidance_at_0=[1.0, 0.0, 10]", "refine.t_max=0.5"))
    assert [weights(guided.at(step), t=0.25)["text"][0] for step in (0, 5, 10)] == pytest.approx(
        [4.0, 3.0, 2.0]
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("refine.heard_from={text: [top]}", "heard_from.text knows front, three-quarter, side, back, above"),
        ("refine.heard_from={text: front}", "expects a list for each name|expects .*not 'front'"),
        (
            "refine.weights_over_steps={text: [1, 2]}",
            "weights_over_steps.text expects a number or a schedule",
        ),
        ("refine.weights_over_steps={text: 3}", "expects .*not 3"),
        ("refine.until_over_steps={text: [1, 2]}", "until_over_steps.text expects a number or a schedule"),
        ("refine.since_over_steps={text: [0, 1.5, 9]}", "since_over_steps.text goes through noise fractions"),
        (
            "refine.until_over_steps={txet: [0, 1, 9]}",
            r"term \(refine.until_over_steps\) .*'txet'.*mean text",
        ),
        (
            "refine.since_over_steps={text: [3, 0.2, 0.9, 7], domain: [0, 1, 5]}",
            r"no term \(refine.since_over_steps\) 'domain'",
        ),
        ("refine.combine=mean", "refine.combine knows sum, alternate, balance, project"),
        ("refine.timesteps=cosine", "refine.timesteps knows random, sqrt"),
        ("refine.heard_from={txet: [front]}", "no term or condition .*'txet'; did you mean text"),
        (
            "refine.weights_over_steps={glas: [0, 1, 5]}",
            r"no term or condition \(refine.weights_over_steps\)",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_made(override, sentence) -> None:
    with pytest.raises(BadInput, match=sentence):
        settled(load_config("starter", ["domain=none", override]), Uses())


def test_the_square_root_reads_no_last_t_max() -> None:
    assert load_config("starter", ["refine.timesteps=sqrt", "refine.t_min=0.3", "refine.t_max=0.9"])


def test_view_words_are_those_of_views() -> None:
    from dataclasses import fields

    (choices,) = (one.metadata["choices"] for one in fields(RefineConfig) if one.name == "heard_from")
    assert choices == tuple(VIEW_WORDS)
    found = {view_word(azimuth / 10, elevation) for azimuth in range(32) for elevation in (0.1, 1.2)}
    assert found == set(VIEW_WORDS.values())


def test_keys_of_runs_without_any_of_this_are_as_before() -> None:
    (stage,) = (stage for stage in STAGES if stage.name == "refine")
    names = {
        "weights_over_steps",
        "until_over_steps",
        "since_over_steps",
        "heard_from",
        "combine",
        "timesteps",
    }
    assert not names & set(stage.settings(MakeConfig()))


def perp_neg(*overrides: str) -> RefineConfig:
    return load_config("starter", ["refine.recipe=perp_neg", *overrides]).refine


def test_other_views_are_negatives_by_the_law_of_the_view(views) -> None:
    """Front, side and back: what each is to stay away from, and in whose words."""
    turns = (0.0, math.pi / 2, math.pi)
    guided = views(perp_neg("refine.view_negatives=0.5"), text=4.0, negative=1.0)
    guidance = guided.at(0, turns)(VIEWS, GROUNDS).guidance
    found = {term.positive.name: term.weights_at([0.5] * 3) for term in guidance.terms}
    assert found["text"] == [4.0] * 3
    for name in ("front", "side"):
        expected = [-4.0 * 0.5 * view_negatives(turn)[name] for turn in turns]
        assert found[f"not {name} view"] == pytest.approx(expected)
    assert all(term.transform is not None for term in guidance.terms[1:]), (
        "across the prompt's own difference"
    )
    asked = set(guided.made.base.told)
    ground = "grey background"
    assert tuple(f"a vase, {view}, {ground}" for view in VIEWS) in asked
    assert (f"a vase, front view, {ground}",) * 3 in asked


def test_from_above_no_view_is_a_negative(views) -> None:
    guided = views(perp_neg("refine.view_negatives=1"), text=4.0, negative=1.0)
    guidance = guided.at(0, (1.0,))([VIEW_WORDS["above"]], GROUNDS[:1]).guidance
    assert [term.weights_at([0.5]) for term in guidance.terms[1:]] == [[0.0], [0.0]]
    assert {branch.name for branch in guidance.needed([0.5])} == {"null", "text"}


def test_negatives_of_views_stand_beside_those_of_words(views) -> None:
    asked = perp_neg("refine.view_negatives=1", "refine.negative=[red]")
    guidance = views(asked, text=4.0, negative=1.0).at(0, (0.0, 1.0, 2.0))(VIEWS, GROUNDS).guidance
    names = [term.positive.name for term in guidance.terms]
    assert names == ["text", "negative 1", "not front view", "not side view"]


def test_another_recipe_has_no_use_for_views_as_negatives() -> None:
    with pytest.raises(BadInput, match=r"recipe cfg does not use refine\.view_negatives; choose perp_neg"):
        settled(
            load_config("starter", ["domain=none", "refine.recipe=cfg", "refine.view_negatives=1"]), Uses()
        )
