"""What is left open is what base and domain say; what was asked stays; what nobody would listen to is refused."""

from dataclasses import replace

import pytest

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.systems.guided.recipes import PICTURE_RECIPES
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.known import SHIPPED
from slipcast.systems.models.uses import GENERAL, PICTURE, REFINE, Uses

STARTER = SHIPPED["base"]["starter"].uses.over(GENERAL)


def config(*overrides: str):
    return load_config("starter", overrides)


def test_the_starters_numbers_are_those_that_its_runs_always_had():
    made = settled(config(), STARTER)
    assert (made.image.view, made.image.background) == ("front view", "orange background")
    assert made.image.weights == {"domain": 1.5, "text": 3.0}
    assert made.refine.weights == {"domain": 8.0, "text": 12.0}
    assert made.image.scheduler == "euler-a"


def test_a_model_that_says_nothing_is_used_in_the_general_way():
    made = settled(config(), GENERAL)
    assert (made.image.view, made.image.background) == ("front view", "plain light grey background")
    assert (made.image.domain_weight, made.image.text_weight) == (3.5, 3.5)
    assert (made.refine.domain_weight, made.refine.text_weight) == (3.0, 5.0)
    assert made.image.scheduler == "dpm++"
    assert settled(config("image.recipe=cfg"), GENERAL).image.weights == {"text": 7.5}


def test_the_nearer_voice_goes_over_the_farther_one_number_by_number():
    base = Uses(view="from the front", weights={PICTURE: {"text": 4.0, "domain": 2.0}})
    domain = Uses(background="blue background", weights={PICTURE: {"domain": 1.0}, REFINE: {"text": 9.0}})
    said = domain.over(base.over(GENERAL))
    assert (said.view, said.background, said.scheduler) == ("from the front", "blue background", "dpm++")
    assert said.weights == {PICTURE: {"text": 4.0, "domain": 1.0}, REFINE: {"domain": 3.0, "text": 9.0}}
    assert domain.over(Uses(background="")).background == "blue background"
    assert Uses(background="").over(domain).background == ""  # empty says: no words


@pytest.mark.parametrize(
    ("override", "weights"),
    [
        ("image.domain_weight=3", {"domain": 3.0, "text": 3.0}),
        ("image.weights={text: 1}", {"domain": 1.5, "text": 1.0}),
        ("image.recipe=cfg", {"text": 3.0}),
        ("image.recipe=frequency_decoupled", {"low": 5.0, "high": 10.0}),
    ],
)
def test_what_was_asked_stays(override, weights):
    assert settled(config(override), STARTER).image.weights == weights


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_every_recipe_can_be_asked_for_in_both_places_and_is_settled_once_and_for_all(name):
    once = settled(config(f"image.recipe={name}", f"refine.recipe={name}"), STARTER)
    assert set(once.image.weights) == set(once.refine.weights) == set(PICTURE_RECIPES[name].weights)
    assert settled(once, GENERAL) == once


def test_empty_words_are_words():
    made = settled(config("image.background=", "image.view=null"), STARTER)
    assert (made.image.view, made.image.background) == ("front view", "")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["image.recipe=cgf"], "did you mean cfg"),
        (["refine.recipe=cgf"], "did you mean cfg"),
        (["image.weights={domian: 1}"], "did you mean domain"),
        (["image.recipe=cfg", "image.domain_weight=2"], "no weight of the recipe cfg 'domain'"),
        (["image.domain_weight=2", "image.weights={domain: 3}"], "say two things"),
        (["refine.recipe=cfg", "refine.domain_until=0.5"], "refine.domain_until=0.5 changes nothing"),
        (["image.recipe=composable", "image.negative=[red]"], "does not use image.negative; choose cfg or"),
        (["refine.wanted={red: 1}"], "does not use refine.wanted; choose composable"),
        (["model=/some/lora"], "does not use model=/some/lora; choose rectified"),
        (["refine.recipe=cfg", "refine.conditions={a: {prompt: red}}"], "does not use refine.conditions"),
        (["refine.conditions={a: {control: [canny:x.png]}}"], "leave it to image.conditions"),
        (["image.recipe=cfg", "image.balance=7"], "image.balance shares a weight"),
        (["image.recipe=cfg", "image.until={domain: 0.5}"], "image.until domain changes nothing"),
        (["image.picture=[a.png]", "image.control=[canny:x.png]"], "image.control says how to draw"),
        (["image.matting=net.onnx"], "give one with --picture"),
        (
            ["image.recipe=cfg", "refine.recipe=apg", "domain_strength=2"],
            "domain_strength=2.0 changes nothing",
        ),
    ],
)
def test_what_nobody_listens_to_is_refused(overrides, sentence):
    with pytest.raises(BadInput, match=sentence):
        settled(config(*overrides), STARTER)


def test_one_of_two_recipes_is_enough_for_the_strength_and_the_model():
    asked = config("image.recipe=rectified", "model=/some/lora", "domain_strength=2")
    made = settled(asked, STARTER)
    assert (
        made.domain == "starter"
        and replace(made, domain=None, image=asked.image, refine=asked.refine, paint=asked.paint) == asked
    )


@pytest.mark.parametrize("overrides", [["domain=none"], ["base=sd15"], ["base=/models/mine"]])
def test_without_a_domain_the_default_recipe_gives_way_and_it_is_said_once(overrides):
    said = []
    made = settled(config(*overrides), GENERAL, said.append)
    assert (made.image.recipe, made.refine.recipe, made.domain) == ("cfg", "cfg", "none")
    assert made.image.weights == {"text": 7.5} and made.refine.weights == {"text": 5.0}
    (sentence,) = said
    assert sentence.startswith(f"there is no domain beside the base {made.base!r}, so the recipe is cfg")
    assert settled(made, STARTER) == made


def test_with_conditions_it_is_composable_and_what_was_chosen_stays():
    said = []
    two = config("domain=none", "image.conditions={a: {prompt: red}}", "refine.recipe=apg")
    made = settled(two, GENERAL, said.append)
    assert (made.image.recipe, made.refine.recipe) == ("composable", "apg")
    assert (
        settled(config("base=sd15", "domain=/some/domain"), GENERAL, said.append).image.recipe == "in_domain"
    )
    assert len(said) == 1


def test_what_is_measured_is_left_open():
    made = settled(config("image.balance=7", "refine.balance=9", "refine.text_weight=2"), STARTER)
    assert made.image.weights == {} and made.refine.weights == {"text": 2.0}
    assert settled(made, STARTER) == made


@pytest.mark.parametrize(
    ("uses", "overrides", "paint"),
    [
        (STARTER, (), (12, 0.5, "canny")),
        (STARTER, ("paint.steps=0",), (0, 0.5, "canny")),
        (STARTER, ("paint.steps=20", "paint.control=none"), (20, 0.5, "none")),
        (STARTER, ("refine.light=point",), (0, 0.5, "canny")),  # it would paint the light back in
        (STARTER, ("refine.light=point", "paint.steps=3"), (3, 0.5, "canny")),
        (GENERAL, (), (0, 1.0, "none")),
        (GENERAL, ("paint.steps=9", "paint.guidance=2"), (9, 2.0, "none")),
        (Uses(), (), (0, 1.0, "none")),
    ],
)
def test_paint_is_the_bases_where_nothing_was_asked(uses, overrides, paint):
    made = settled(config(*overrides), uses).paint
    assert (made.steps, made.guidance, made.control) == paint
    assert settled(settled(config(*overrides), uses), uses).paint == made
    assert Uses(paint={"steps": 5}).over(STARTER).paint == {**STARTER.paint, "steps": 5}
