"""Domains of Stable Diffusion 3 and Flux, which have no null-text ones: LoRAs and whole models, beside their bases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import disc_models, tiny_flow
from PIL import Image
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.sampling import sample
from slipcast.pipeline.domains.settings import Settings
from slipcast.pipeline.domains.training import Means, train_domain
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.models import precision

COLOUR = (200, 60, 40)
MAKERS: dict[str, Any] = {"sd3": tiny_flow.sd3, "flux": tiny_flow.flux}
PROMPT = "a photo of reds"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place = tmp_path_factory.mktemp("flow-bases")

    def folder(kind: str) -> Path:
        if not (place / kind).exists():
            pipe = MAKERS[kind](place)
            vae = disc_models.flat_vae()
            vae.register_to_config(shift_factor=0.1, sample_size=32)
            if kind == "sd3":
                pipe.transformer.register_to_config(sample_size=8)
            pipe.register_modules(vae=vae)
            pipe.save_pretrained(place / kind)
        return place / kind

    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve of one colour, each a little lighter or darker."""
    place, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        shade = (np.array(COLOUR) + rng.integers(-6, 7)).clip(0, 255).astype(np.uint8)
        Image.fromarray(np.broadcast_to(shade, (40, 40 + number, 3)).copy()).save(place / f"{number}.png")
    return place


def settings(pictures: Path, base: Path, method: str, **changes: Any) -> Settings:
    usual: dict[str, Any] = dict(
        pictures=str(pictures), name="reds", base=str(base), licence="CC0-1.0", method=method, steps=4, batch=4,
        workers=1, learning_rate=1e-3, samples=0, sample_steps=2, evaluate_every=4, prompt=PROMPT, ema=0.0,
    )  # fmt: skip
    return Settings(**{**usual, **changes})


def noise() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_twelve_pictures_of_one_colour_make_that_colour(bases, pictures, tmp_path) -> None:
    wanted = settings(
        pictures,
        bases("sd3"),
        "full",
        steps=250,
        batch=8,
        learning_rate=5e-3,
        schedule="decay",
        evaluate_every=250,
    )
    learned = train_domain(wanted, Means("cpu"), Quiet(), out=tmp_path)
    assert learned.learning and learned.gain > 0.7
    store = ModelStore(MakeConfig(base=wanted.base, domain=str(learned.domain), device="cpu"))
    made = Ingredients(store.base, "", domain=store.domain)
    guided = GuidedNoise(picture_guidance("rectified", made, {"model": 1.0}))
    drawn = store.base.decode(sample(guided, store.base.sampler("euler"), noise(), steps=12))
    assert np.abs(255 * drawn.mean((0, 2, 3)).numpy() - COLOUR).max() < 25


@pytest.mark.parametrize(("kind", "method"), [("sd3", "lora"), ("flux", "lora"), ("flux", "full")])
def test_what_is_learned_guides_its_base_and_is_diffusers_too(
    kind, method, bases, pictures, tmp_path
) -> None:
    base = bases(kind)
    domain = train_domain(settings(pictures, base, method), Means("cpu"), Quiet(), out=tmp_path).domain
    store = ModelStore(MakeConfig(base=str(base), domain=str(domain), device="cpu"))
    told = store.identities(["domain"])["domain"]
    assert told["licence"] == "CC0-1.0" and store.domain.name == "reds"

    made = Ingredients(store.base, "a teapot", domain=store.domain)
    t, x = torch.tensor([100, 800]), noise()
    said = {
        "null": store.base.predictor.predict(x, t, [store.base.condition([""])])[0],
        "text": store.base.predictor.predict(x, t, [store.base.condition(["a teapot"])])[0],
        "domain": theirs(kind, method, base, domain, x, t),
    }
    assert (said["domain"] - said["null"]).abs().max() > 1e-3
    for recipe, weights, expected in (
        ("in_domain", {"domain": 3.0, "text": 2.0}, {"null": -4.0, "domain": 3.0, "text": 2.0}),
        ("domain_guidance", {"model": 1.5}, {"null": -0.5, "domain": 1.5}),
    ):
        found = GuidedNoise(picture_guidance(recipe, made, weights))(x, t)
        wanted = sum(weight * said[name] for name, weight in expected.items())
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def theirs(kind: str, method: str, base: Path, domain: Path, x: Tensor, t: Tensor) -> Tensor:
    """What diffusers' own pipeline of what was learned says under the domain's prompt."""
    import diffusers

    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(base if method == "lora" else domain)
    if method == "lora":
        pipe.load_lora_weights(str(domain), weight_name="pytorch_lora_weights.safetensors")
    store = ModelStore(MakeConfig(base=str(base), device="cpu"))
    ours: Any = store.base.predictor
    predictor = type(ours)(
        pipe.transformer.float().eval(), schedule=ours.schedule, prediction_type="flow_prediction",
        latent_space="tiny", name="theirs",
    )  # fmt: skip
    with torch.no_grad():
        return predictor.predict(x, t, [store.base.condition([PROMPT])])[0]


def test_null_text_is_refused_in_one_sentence(bases, pictures, tmp_path) -> None:
    wanted = settings(pictures, bases("flux"), "null-text")
    with pytest.raises(
        BadInput, match=r"no cross-attention to take the text out of.*choose --method lora or full"
    ):
        train_domain(wanted, Means("cpu"), Quiet(), out=tmp_path)
    assert not (tmp_path / "reds.training").exists()


def test_a_domain_of_another_base_is_refused(bases, pictures, tmp_path) -> None:
    domain = train_domain(
        settings(pictures, bases("sd3"), "lora", steps=1), Means("cpu"), Quiet(), out=tmp_path
    ).domain
    store = ModelStore(MakeConfig(base=str(bases("flux")), domain=str(domain), device="cpu"))
    with pytest.raises(BadInput, match="trained on other weights than those of the base"):
        _ = replace(store).domain
