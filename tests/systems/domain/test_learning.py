"""Domains of every kind of base: trained on what the base predicts, and read back the same way."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from torch import Tensor

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance.training import draw_example
from slipcast.systems.domain import learning
from slipcast.systems.domain.learning import (
    DomainRecipe,
    null_text_task,
    optimise_text_features,
    train_domain,
)
from slipcast.systems.domain.model import load_domain
from slipcast.systems.domain.sources import Encoded
from slipcast.systems.models import precision
from slipcast.systems.models.base import load_base
from slipcast.systems.training.loop import Budget

RECIPE = DomainRecipe(name="toy", prompt="a vase", feature_steps=2, feature_batch=2)
BASES = {"sd1": "epsilon", "sd2": "v_prediction", "x0": "sample", "sdxl": "epsilon"}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@dataclass
class Plain:
    """Pictures of one random colour each."""

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.rand(batch, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16) * 2 - 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("bases")
    for name, kind in BASES.items():
        pipe = tiny.sdxl(place) if name == "sdxl" else tiny.stable_diffusion(place, prediction_type=kind)
        pipe.vae.register_to_config(scaling_factor=0.7, shift_factor=0.2)
        pipe.save_pretrained(place / name)
    return {name: place / name for name in BASES}


def pictures_of(base: Any) -> Encoded:
    return Encoded(Plain(), base.codec, base.unconditional)


def learned(folder: Path, work: Path) -> tuple[Any, Any]:
    base = load_base(folder)
    budget = Budget(steps=2, batch=2, workers=1, warmup_steps=1)
    card = train_domain(base, Plain(), RECIPE, work / "work", work / "out", budget)
    assert json.loads((work / "out/domain.json").read_text()) == card
    return base, load_domain(work / "out", base)


@pytest.mark.parametrize("name", sorted(BASES))
def test_a_domain_is_trained_on_what_it_is_read_by(folders, tmp_path, name) -> None:
    base, domain = learned(folders[name], tmp_path)
    kind = BASES[name]
    assert domain.card["base_identity"].startswith(f"2:{kind}:")
    assert domain.predictor.prediction_type == kind

    # The loss that it is trained by, of the network as it was read back, against its eps by the definitions.
    schedule = base.predictor.schedule
    source = Encoded(Plain(), base.codec, base.unconditional)
    task = null_text_task(base, source, tmp_path / "out", RECIPE)
    modules = {"unet": domain.unet}
    task.open(modules, "cpu")
    with torch.no_grad():
        told = task.loss(3, torch.Generator().manual_seed(4)).item()

    generator = torch.Generator().manual_seed(4)
    latents = base.encode(Plain().draw_pictures(3, generator) / 2 + 0.5)
    plain = draw_example(latents, schedule, "epsilon", generator, shift=RECIPE.noise_shift)
    with torch.no_grad():
        found = domain.predictor.predict(plain.x, plain.t, [domain.condition])[0]
    alpha_bar = schedule.alphas_cumprod[plain.t].view(-1, 1, 1, 1)
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    factor = {"epsilon": 1.0, "v_prediction": 1 / a, "sample": s / a}[kind]  # of the error of eps
    expected = (factor * (found - plain.target)).square().mean().item()
    assert told == pytest.approx(expected, rel=1e-4)


def test_features_are_optimised_by_the_bases_own_loss(folders) -> None:
    for name in ("sd2", "sdxl"):
        base = load_base(folders[name])
        told, losses = optimise_text_features(base, pictures_of(base), RECIPE, seed=3)
        assert told.text is not None
        assert not torch.equal(told.text, base.encode_text([RECIPE.prompt]))
        assert (told.pooled is not None) == (name == "sdxl")
        generator = torch.Generator().manual_seed(3 * 1_000_003)
        latents = base.encode(Plain().draw_pictures(2, generator) / 2 + 0.5)
        plain = draw_example(latents, base.predictor.schedule, "epsilon", generator, shift=RECIPE.noise_shift)
        first = replace(base.unconditional, text=base.encode_text([RECIPE.prompt]))
        eps = base.predictor.predict(plain.x, plain.t, [first])[0]
        alpha_bar = base.predictor.schedule.alpha_bar(plain.t).view(-1, 1, 1, 1)
        factor = 1 / alpha_bar.sqrt() if name == "sd2" else 1.0
        assert losses[0] == pytest.approx((factor * (eps - plain.target)).square().mean().item(), rel=1e-4)


def test_a_loss_of_nan_stops_the_features(folders) -> None:
    base = load_base(folders["sd1"])
    with torch.no_grad():
        base.pipeline.unet.conv_out.bias[0] = float("nan")
    with pytest.raises(SlipcastError, match="became nan at step 0"):
        optimise_text_features(base, pictures_of(base), RECIPE, seed=0)


def test_a_domain_knows_its_base_in_half_precision_and_no_other(folders, tmp_path) -> None:
    _, domain = learned(folders["sd2"], tmp_path)
    half = tiny.stable_diffusion(tmp_path, prediction_type="v_prediction")
    half.vae.register_to_config(scaling_factor=0.7, shift_factor=0.2)
    half.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    again = load_domain(tmp_path / "out", load_base(tmp_path / "half"))
    x, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([400])
    made, expected = (d.predictor.predict(x, t, [d.condition])[0] for d in (again, domain))
    assert torch.equal(made, expected)
    with pytest.raises(
        BadInput, match=r"'toy' was trained on other weights than .*sd1'; choose its base '.*sd2'"
    ):
        load_domain(tmp_path / "out", load_base(folders["sd1"]))


@pytest.mark.parametrize("content", [b"", b'{"name": "to', b"[]", b"null", b"\xff", b"{}", b'{"name": 3}'])
def test_a_damaged_card_is_named(folders, tmp_path, content) -> None:
    from slipcast.configs.schema import MakeConfig
    from slipcast.pipeline.run.models import ModelStore

    (tmp_path / "domain.json").write_bytes(content)
    store = ModelStore(MakeConfig(base=str(folders["sd1"]), domain=str(tmp_path)))
    for read in (lambda: load_domain(tmp_path, store.base), store.look, lambda: store.identities(["domain"])):
        with pytest.raises(BadInput, match=r"domain\.json"):
            read()


def test_a_damaged_network_is_named(folders, tmp_path) -> None:
    base, _ = learned(folders["sd1"], tmp_path)
    config, out = tmp_path / "out/config.json", tmp_path / "out"
    whole = config.read_text()
    for content in ("", whole[:50], "[]", "null", whole.replace("8,", '"8",'), whole.replace("Attn", "attn")):
        config.write_text(content)
        with pytest.raises(BadInput, match=str(out)):
            load_domain(out, base)
    config.write_text(whole)
    assert load_domain(out, base).name == "toy"


@pytest.mark.parametrize("name", ["~nouser-of-this-machine/x", "n" * 300])
def test_names_that_are_no_paths(name) -> None:
    from slipcast.configs.schema import MakeConfig
    from slipcast.pipeline.run.models import ModelStore

    for role in ("base", "domain", "lift_model"):
        with pytest.raises(BadInput, match="cannot be"):
            ModelStore(MakeConfig(**{role: name})).folder(role)


def test_a_training_goes_on_beside_the_same_base(folders, tmp_path, monkeypatch) -> None:
    learned(folders["sd1"], tmp_path)
    monkeypatch.setattr(learning, "optimise_text_features", lambda *a, **k: pytest.fail("began anew"))
    base = load_base(shutil.copytree(folders["sd1"], tmp_path / "moved"))
    train_domain(
        base, Plain(), RECIPE, tmp_path / "work", tmp_path / "out", Budget(steps=3, batch=2, workers=1)
    )
