"""What base and domain say: written down beside what was asked, in every key, and from the domain's own card."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import restore_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.run.models import ModelStore
from slipcast.systems.models.known import SHIPPED, WEIGHTS
from slipcast.systems.models.uses import GENERAL, PICTURE, Uses


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


def test_the_manifest_has_what_was_asked_and_what_was_used(workshop: Workshop) -> None:
    manifest = json.loads((workshop.make().run / "manifest.json").read_text())
    assert manifest["config"]["image"]["view"] is None and manifest["config"]["refine"]["weights"] == {}
    assert manifest["settled"]["image"]["view"] == "front view"
    assert manifest["settled"]["refine"]["weights"] == {"domain": 3.0, "text": 5.0}


def test_saying_what_is_used_anyway_runs_nothing_again(workshop: Workshop) -> None:
    workshop.make()
    workshop.make(restore_config(asdict(MakeConfig()), ["image.view=front view"], source="x"))
    assert workshop.ran == []


def test_another_word_of_the_domain_draws_anew_also_when_a_run_is_resumed(workshop: Workshop) -> None:
    asked = json.loads((workshop.make().run / "manifest.json").read_text())["config"]
    workshop.models.uses = lambda: Uses(view="from afar").over(GENERAL)
    workshop.make(restore_config(asked, source="the manifest"))
    assert workshop.ran[0] == "image"
    assert "from afar" in (workshop.out / "a-blue-vase-0" / "10-image" / "image.txt").read_text()


def test_weights_of_refinement_draw_no_new_picture(workshop: Workshop) -> None:
    workshop.make()
    workshop.models.uses = lambda: Uses(weights={"refine": {"text": 7.0}}).over(GENERAL)
    workshop.make()
    assert workshop.ran[0] == "refine"


@pytest.mark.parametrize("override", ["domain_strength=0.5", "lora_scale=0.5"])
def test_what_picture_and_refinement_share_draws_anew(workshop: Workshop, override: str) -> None:
    workshop.make()
    workshop.make(restore_config(asdict(MakeConfig()), [override], source="x"))
    assert workshop.ran == [
        "image",
        "refine",
        "paint",
    ]  # which here come out the same, so that the others are kept


def domain(tmp_path: Path, **card: object) -> ModelStore:
    folder = shutil.copytree(WEIGHTS / "domain", tmp_path / "mine")
    told = json.loads((folder / "domain.json").read_text())
    (folder / "domain.json").write_text(json.dumps(told | card))
    return ModelStore(MakeConfig(domain=str(folder)))


def test_the_card_of_a_domain_goes_over_the_entry_of_its_base(tmp_path: Path) -> None:
    store = domain(tmp_path, background="grey background", weights={"picture": {"domain": 1}}, roughness=1)
    said, starter = store.uses(), SHIPPED["base"]["starter"].uses
    assert (said.view, said.background, said.roughness) == ("front view", "grey background", 1.0)
    assert said.weights == {**starter.weights, PICTURE: {"domain": 1, "text": 3.0}}


def test_a_domain_that_says_nothing_has_no_roughness_of_the_starter(tmp_path: Path) -> None:
    assert domain(tmp_path).uses().roughness is None
    assert ModelStore(MakeConfig()).uses().roughness == 0.2


@pytest.mark.parametrize(
    "card",
    [
        {"view": 3}, {"background": ["grey"]}, {"roughness": 2}, {"roughness": True}, {"weights": [1]},
        {"weights": {"picture": 3}}, {"weights": {"picture": {"domain": "3"}}},
        {"weights": {"pictures": {"domain": 3}}},
    ],
)  # fmt: skip
def test_a_card_that_says_something_else_is_refused_by_name(tmp_path: Path, card: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=rf"{next(iter(card))} in .*domain\.json expects"):
        domain(tmp_path, **card).uses()


def test_a_custom_model_has_an_identity_and_a_run_without_one_has_none() -> None:
    roles = ("base", "domain", "model")
    assert set(ModelStore(MakeConfig()).identities(roles)) == {"base", "domain"}
    lora = str(WEIGHTS / "porcelain-lora")
    told = ModelStore(MakeConfig(model=lora)).identities(roles)["model"]
    assert told["id"] == lora and told["revision"].startswith("2:")
