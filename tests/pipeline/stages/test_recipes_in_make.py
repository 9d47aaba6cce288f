"""Every recipe that is listed is reachable from make, in the picture and in refinement, with its own formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.picture import picture_config
from slipcast.guidance.distillation import sds_gradient
from slipcast.pipeline.drawing.plan import plan_pictures
from slipcast.pipeline.run.keys import named_files, stage_keys
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.guided_views import guided_views
from slipcast.pipeline.stages.image import picture_of
from slipcast.pipeline.stages.refine import model_of_renders, note_what_is_not_read
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.guided.recipes import PICTURE_RECIPES
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.refine.views import BACKGROUNDS, Ranges, background_word, draw_views

LORA = f"model={WEIGHTS / 'porcelain-lora'}"
NEEDS = {
    "negative_prompt": ["{0}.negative=[red]"],
    "bridge": ["{0}.negative=[red]"],
    "perp_neg": ["{0}.negative=[red]"],
    "class_and_domain": [LORA],
    "autoguidance": [LORA],
    "composable": ["{0}.wanted={{a glass vase: 2}}", "{0}.unwanted={{red: 1}}"],
}
"""What some recipes cannot do without; the others need a name only."""


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(load_config("starter", [LORA]))


def context(store: ModelStore, place: str, name: str, *more: str) -> StageContext:
    asked = [f"{place}.recipe={name}", *(one.format(place) for one in NEEDS.get(name, [])), *more]
    config = settled(load_config("starter", asked), store.uses())
    return StageContext("a vase", config, Path(), {}, 0, place, Quiet(), store)


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_the_picture_of_make_is_planned_by_any_recipe(store, name) -> None:
    ctx = context(store, "image", name)
    plan = plan_pictures(picture_of(ctx.config, ctx.prompt, ctx.seed), ctx.progress, store)
    assert plan.told["formula"] == PICTURE_RECIPES[name].formula
    assert plan.weights == ctx.config.image.weights and set(plan.weights) == set(
        PICTURE_RECIPES[name].weights
    )
    assert plan.made.framings == ("front view, orange background",)


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_refinement_asks_any_recipe_and_tells_each_view_its_own_words(store, name) -> None:
    ctx = context(store, "refine", name)
    noise_for = guided_views(ctx, ctx.config.refine)
    x_t = torch.randn(1, *store.base.latent_shape, generator=torch.Generator().manual_seed(0)).repeat(
        2, 1, 1, 1
    )
    eps = noise_for(["front view", "back view"], [BACKGROUNDS[0], BACKGROUNDS[5]])(
        x_t, torch.tensor([400, 400])
    )
    assert eps.shape == x_t.shape and bool(eps.isfinite().all())
    blind = name in (
        "rectified",
        "domain_guidance",
    )  # without a model the domain stands in, which reads no text
    assert bool((eps[0] - eps[1]).abs().max() > 0.01) != blind


def test_strength_0_in_refinement_is_the_prior_alone_to_the_bit(store) -> None:
    contexts = context(store, "refine", "in_domain", "domain_strength=0"), context(store, "refine", "cfg")
    none, prior = (guided_views(ctx, ctx.config.refine) for ctx in contexts)
    x_t, t = torch.randn(1, *store.base.latent_shape), torch.tensor([400])
    seen = (["front view"], [BACKGROUNDS[0]])
    assert torch.equal(none(*seen)(x_t, t), prior(*seen)(x_t, t))


SPEC = """
control: [canny:{0}/edges.png]
control_scale: 0.7
control_start: 0.3
control_end: 0.7
control_branches: all
conditions: {{glass: {{prompt: a glass thing, weight: 2}}, lora: {{prompt: a vase, model: {1}}}}}
balance: 6
until: {{text: 0.9}}
edit: {0}/edges.png
strength: 0.5
size: 136x120
steps: 6
"""
"""Everything that ``slipcast image`` can steer and make could not: as a YAML file of the former."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spec")
    drawn = np.zeros((128, 128, 3), np.uint8)
    drawn[30:90, 40:80] = 255
    Image.fromarray(drawn).save(folder / "edges.png")
    (folder / "spec.yaml").write_text(SPEC.format(folder, WEIGHTS / "porcelain-lora"))
    return folder / "spec.yaml"


def test_what_image_can_steer_make_can_by_the_same_names(store, spec: Path) -> None:
    """One YAML file: as the settings ``image`` of a preset, and as the spec of ``slipcast image``."""
    preset = spec.with_name("preset.yaml")
    written = "".join(f"  {line}\n" for line in spec.read_text().splitlines())
    preset.write_text(f"extends: starter\nimage:\n{written}")
    config = settled(load_config(str(preset)), store.uses())
    of_make = plan_pictures(picture_of(config, "a vase", 3), Quiet(), store)
    asked = picture_config(spec, {"prompt": "a vase", "seed": 3, "as_make": True})
    of_image = plan_pictures(asked, Quiet(), store)
    assert of_make.told == of_image.told and of_make.size == of_image.size == (120, 136)
    assert {"glass", "lora"} < {one.name for one in of_make.guidance.branches}
    assert of_make.weights == of_image.weights and 0 < of_make.weights["domain"] != 2.0
    assert of_make.files == of_image.files and not of_make.made.controls
    (control,) = of_make.made.controls_of_all
    assert (control.scale, of_make.edit is not None) == (0.7, True)
    last_three = [float(t) / 1000 for t in of_make.scheduler.timesteps[3:]]  # those that an edit of half runs
    assert [control.since < t < control.until for t in last_three] == [False, True, False]
    (same,) = of_image.made.controls_of_all
    assert (same.since, same.until) == (control.since, control.until)


def test_what_is_drawn_by_counts_in_the_key_wherever_it_lies(spec: Path, tmp_path: Path) -> None:
    stage = next(stage for stage in STAGES if stage.name == "image")

    def key(edges: Path, *more: str, scale: str = "") -> str:
        config = load_config(
            "starter", [f"image.control=[canny:{edges}{scale}]", f"image.edit={edges}", *more]
        )
        identities = stage.identities(ModelStore(config).identities(stage.roles))
        told = identities["image.control canny"]
        assert told["id"] == "starter control-canny" and told["licence"] == "Apache-2.0"
        return stage_keys(stage, "a vase", 0, config, {}, identities, named_files(stage, config))[0]

    here, there = spec.with_name("edges.png"), tmp_path / "copied.png"
    there.write_bytes(here.read_bytes())
    assert key(here) == key(there) == key(here, scale=":1.0") == key(here, "image.control_end=1.0")
    others = [
        key(here, scale=":0.5"),
        key(here, "image.control_end=0.5"),
        key(here, "image.control_branches=all"),
    ]
    assert len({key(here), *others}) == 4
    Image.new("RGB", (64, 64)).save(there)
    assert key(here) != key(there)
    plain = stage_keys(stage, "a vase", 0, load_config("starter"), {}, {}, {})
    assert key(here) != plain[0]
    with pytest.raises(BadInput, match="there is no picture"):
        named_files(stage, load_config("starter", ["image.edit=gone.png"]))


def test_refinement_hears_conditions_and_balances(store) -> None:
    both = context(
        store, "refine", "in_domain", "refine.conditions={glass: {prompt: a glass thing, weight: 2}}"
    )
    guidance = guided_views(both, both.config.refine)(["front view"], [BACKGROUNDS[0]]).guidance
    (term,) = [term for term in guidance.terms if term.positive.name == "glass"]
    assert term.weight_at(0.5) == 2.0
    for asked, text in (
        ((), 3.0),
        (("refine.text_weight=1.5",), 1.5),
    ):  # half of what is shared, or what was asked
        ctx = context(store, "refine", "in_domain", "refine.balance=6", *asked)
        terms = guided_views(ctx, ctx.config.refine)(["front view"], [BACKGROUNDS[0]]).guidance.terms
        weights = {term.positive.name: term.weight_at(0.5) for term in terms}
        assert weights["text"] == pytest.approx(text, abs=0.01) and 0 < weights["domain"] < 60


def test_noise_free_distillation_keeps_the_negative_prompt_for_itself(store) -> None:
    ctx = context(store, "refine", "in_domain", "refine.score=nfsd", "refine.negative=[red, blue]")
    noise_for = guided_views(ctx, ctx.config.refine)
    guidance = noise_for(["front view"], [BACKGROUNDS[0]]).guidance
    assert guidance.base.name == "null" and guidance.terms[-1].positive is guidance.base
    ugly: Any = guidance.terms[-1].negative
    assert torch.equal(ugly.condition.text, store.base.condition(["red, blue"]).text)
    assert [guidance.terms[-1].weight_at(t) for t in (0.1, 0.2, 0.9)] == [0.0, 1.0, 1.0]
    bare = context(store, "refine", "in_domain", "refine.score=nfsd")
    with pytest.raises(BadInput, match=r"refine.score=nfsd needs refine.negative, words"):
        guided_views(bare, bare.config.refine)


@pytest.mark.parametrize("name", ["in_domain", "domain_guidance", "perp_neg"])
def test_variational_distillation_compares_any_recipe_with_the_prompt_s_own_answer(store, name) -> None:
    """An untrained LoRA is the base; it is gone when the stage is done, and what others say never changes."""
    asked = ["refine.score=vsd", "refine.vsd_steps=2"] + [LORA] * (name == "domain_guidance")
    ctx = context(store, "refine", name, *asked)
    views = guided_views(ctx, ctx.config.refine)
    seen = draw_views(2, Ranges.of(ctx.config.refine), torch.Generator().manual_seed(0))
    noise_for, t = views(seen.words, seen.backgrounds), torch.tensor([400, 700])
    z, noise = torch.randn(2, 2, *store.base.latent_shape, generator=torch.Generator().manual_seed(0))
    x_t = store.base.predictor.schedule.add_noise(z, noise, t)
    framings = [
        f"a vase, {word}, {background_word(ground)} background"
        for word, ground in zip(seen.words, seen.backgrounds, strict=True)
    ]
    (text,) = store.base.predictor.predict(x_t, t, [store.base.condition(framings)])
    plain = noise_for(x_t, t)
    with model_of_renders(ctx, views) as own:
        assert own is not None
        found = sds_gradient(noise_for, z, t, noise, weighting="uniform", score="vsd", own=own.of(seen))
        torch.testing.assert_close(found, plain - text, atol=1e-4, rtol=1e-4)
        before = own.state()["weights"].detach().clone()
        assert own.learn(z, seen, torch.Generator().manual_seed(0)) > 0 and own.state()["step"] == 2
        assert not torch.equal(own.state()["weights"], before)
        assert torch.equal(noise_for(x_t, t), plain)
    assert torch.equal(noise_for(x_t, t), plain)
    assert not any("renders" in key for key, _ in store.base.predictor.network.named_modules())
    with model_of_renders(context(store, "refine", "in_domain"), views) as none:
        assert none is None


def test_without_a_prompt_the_text_is_the_empty_one_whatever_the_view(store) -> None:
    said = Quiet()
    ctx = replace(context(store, "refine", "in_domain"), prompt="", progress=said)
    note_what_is_not_read(ctx)
    guidance = guided_views(ctx, ctx.config.refine)(
        ["front view", "back view"], [BACKGROUNDS[0], BACKGROUNDS[5]]
    ).guidance
    told: Any = {branch.name: branch.condition for branch in guidance.branches}
    told = {name: one.text for name, one in told.items() if name in ("text", "null")}
    assert torch.equal(told["text"], told["null"])
    assert any("refinement hears the empty text" in sentence for sentence in said.notices)
