"""From pictures to a domain, on tiny bases of every family: what is learned, kept, refused and gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import disc_models, tiny_pipelines
from PIL import Image

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.domains import history
from slipcast.pipeline.domains.balancing import for_card
from slipcast.pipeline.domains.looking import draw
from slipcast.pipeline.domains.preparing import prepare
from slipcast.pipeline.domains.settings import Settings
from slipcast.pipeline.domains.training import Means, extend_domain, resume_domain, train_domain
from slipcast.pipeline.run.models import ModelStore, open_models
from slipcast.pipeline.run.progress import Quiet
from slipcast.systems.domain.held_out import best_of
from slipcast.systems.guided.lora import with_loras
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import precision
from slipcast.systems.models.base import load_base
from slipcast.systems.models.uses import GENERAL

COLOUR = (200, 60, 40)


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    place = tmp_path_factory.mktemp("bases")
    makers = {
        "sd1": lambda: tiny_pipelines.stable_diffusion(place),
        "sd2-v": lambda: tiny_pipelines.stable_diffusion(place, prediction_type="v_prediction"),
        "x0": lambda: tiny_pipelines.stable_diffusion(place, prediction_type="sample"),
        "sdxl": lambda: tiny_pipelines.sdxl(place),
        "dit": tiny_pipelines.dit,
    }

    def folder(name: str) -> Path:
        if not (place / name).exists():
            pipe = makers[name]()
            if name == "x0":
                pipe.register_modules(vae=disc_models.flat_vae())
            pipe.save_pretrained(place / name)
        return place / name

    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve of one colour, each a little lighter or darker, in two folders."""
    place, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        folder = place / ("jar" if number % 2 else "pot")
        folder.mkdir(exist_ok=True)
        shade = (np.array(COLOUR) + rng.integers(-6, 7)).clip(0, 255).astype(np.uint8)
        Image.fromarray(np.broadcast_to(shade, (40, 40 + number, 3)).copy()).save(folder / f"{number}.png")
    return place


def settings(pictures: Path, base: Path, **changes: Any) -> Settings:
    usual: dict[str, Any] = dict(
        pictures=str(pictures), name="reds", base=str(base), licence="CC0-1.0", steps=4, batch=4, workers=1,
        learning_rate=1e-3, feature_steps=1, samples=0, sample_steps=2, words=("pot",), evaluate_every=2,
    )  # fmt: skip
    return Settings(**{**usual, **changes})


def weights_of(domain: Path) -> bytes:
    return (domain / "null_text_unet.safetensors").read_bytes()


def test_a_domain_of_one_colour_makes_that_colour(bases, pictures, tmp_path) -> None:
    wanted = settings(
        pictures, bases("x0"), steps=150, learning_rate=2e-2, evaluate_every=75, schedule="decay",
        optimizer="adamw", ema=0.9, size=32, sample_steps=8, name="one colour",
    )  # fmt: skip
    console = Quiet()
    learned = train_domain(wanted, Means("cpu"), console, out=tmp_path)
    assert learned.finished and learned.learning and learned.gain > 0.9
    store = ModelStore(MakeConfig(base=wanted.base, domain=str(learned.domain), device="cpu"))
    prepared = prepare(wanted, Path(f"{learned.domain}.training"), store, tmp_path / ".latents", console)
    for picture in draw(prepared, store.domain.unet, "", range(3)):
        assert np.abs(np.asarray(picture, float).mean((0, 1)) - COLOUR).max() < 12
    card = json.loads((learned.domain / "domain.json").read_text())
    assert card["licence"] == "CC0-1.0" and card["pictures"]["count"] == 12
    assert "recipe" in card and str(tmp_path) not in json.dumps(card["recipe"])
    page = learned.report.read_text()
    assert "It learned" in page and "12 different pictures" in page
    assert sorted(p.name for p in learned.domain.iterdir()) == [
        "config.json", "domain.json", "null_text_unet.safetensors",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(bases, pictures, tmp_path_factory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
        out = tmp_path_factory.mktemp("undisturbed")
        return train_domain(settings(pictures, bases("sd1")), Means("cpu"), Quiet(), out=out).domain


def test_stopped_anywhere_and_resumed_it_is_the_same_to_the_bit(
    bases, pictures, tmp_path, undisturbed
) -> None:
    learned = train_domain(settings(pictures, bases("sd1")), Means("cpu", minutes=0.0), Quiet(), out=tmp_path)
    for _ in range(6):
        if learned.finished:
            break
        assert not learned.domain.exists()
        learned = resume_domain(learned.domain, Means("cpu", minutes=0.0), Quiet())
    assert learned.finished
    assert weights_of(learned.domain) == weights_of(undisturbed)


def test_other_names_in_another_order_give_the_same_weights(bases, pictures, tmp_path, undisturbed) -> None:
    (tmp_path / "set").mkdir()
    for number, path in enumerate(sorted(pictures.rglob("*.png"), reverse=True)):
        shutil.copy(path, tmp_path / "set" / f"a teapot {number * 7 % 12:03}.png")
    learned = train_domain(settings(tmp_path / "set", bases("sd1")), Means("cpu"), Quiet(), out=tmp_path)
    assert weights_of(learned.domain) == weights_of(undisturbed)


def test_latents_are_made_once_whatever_the_settings(bases, pictures, tmp_path, undisturbed) -> None:
    class Counts(Quiet):
        encoded = 0

        def task(self, description: str, total: int) -> Any:
            self.encoded += total if description == "encoding pictures" else 0
            return super().task(description, total)

    console, cache = Counts(), undisturbed.parent / ".latents"
    store = open_models(MakeConfig(base=str(bases("sd1")), domain="none", device="cpu"))
    changed = settings(pictures, bases("sd1"), batch=2, learning_rate=0.5, flip=False, seed=9)
    prepare(changed, tmp_path, store, cache, console)
    assert console.encoded == 0
    prepare(replace(changed, size=12), tmp_path, store, cache, console)
    assert console.encoded == 12


def test_what_it_began_with_cannot_be_changed(bases, pictures, tmp_path, undisturbed) -> None:
    place = tmp_path / "reds"
    for end in ("", ".training"):
        shutil.copytree(f"{undisturbed}{end}", f"{place}{end}")
    more = shutil.copytree(pictures, tmp_path / "more")
    Image.new("RGB", (50, 50), "blue").save(more / "blue.png")
    means, console = Means("cpu", cache=undisturbed.parent / ".latents"), Quiet()
    with pytest.raises(BadInput, match=r"the pictures in .*more are not what"):
        resume_domain(place, means, console, pictures=str(more))
    with pytest.raises(BadInput, match=r"the prompt is not what"):
        resume_domain(place, means, console, prompt="a photo of a blue")
    with pytest.raises(BadInput, match=r"the base is not what"):
        resume_domain(place, means, console, base="sd15")
    told = json.loads(Path(f"{place}.training/settings.json").read_text())
    told["settings"]["base"] = str(bases("sd2-v"))
    Path(f"{place}.training/settings.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match=r"the base .* is not what"):
        resume_domain(place, means, console)
    with pytest.raises(BadInput, match=r"never overwritten: `slipcast domain resume reds` goes on"):
        train_domain(settings(pictures, bases("sd1")), means, console, out=tmp_path)


def test_extending_trains_the_best_weights_further_and_keeps_what_was(
    bases, pictures, tmp_path, undisturbed
) -> None:
    place = tmp_path / "reds"
    for end in ("", ".training"):
        shutil.copytree(f"{undisturbed}{end}", f"{place}{end}")
    before = weights_of(place)
    means = Means("cpu", cache=undisturbed.parent / ".latents")
    learned = extend_domain(place, means, Quiet(), steps=2)
    assert learned.finished and learned.steps == 6
    assert Path(f"{place}.training/earlier-1/null_text_unet.safetensors").read_bytes() == before
    assert json.loads((place / "domain.json").read_text())["training"]["steps"] == 6
    evaluations = json.loads(Path(f"{place}.training/evaluations.json").read_text())
    assert [(one["stretch"], one["step"]) for one in evaluations] == [(1, 0), (1, 2), (1, 4), (2, 2)]


def test_the_held_out_pictures_choose_the_best_weights(undisturbed) -> None:
    evaluations = json.loads(Path(f"{undisturbed}.training/evaluations.json").read_text())
    best = best_of([one["losses"] for one in evaluations])
    card = json.loads((undisturbed / "domain.json").read_text())
    assert card["training"]["best_step"] == evaluations[best]["step"]
    assert best_of([[1.0, 3.0], [0.5, 0.7], [0.6, 0.6], [0.9, 0.1]]) == 3


def test_a_training_that_learns_nothing_says_so_early(bases, pictures, tmp_path) -> None:
    console = Quiet()
    lazy = settings(pictures, bases("sd1"), learning_rate=1e-30, evaluate_every=1)
    learned = train_domain(lazy, Means("cpu"), console, out=tmp_path)
    assert not learned.learning
    told = [sentence for sentence in console.notices if "it is not learning" in sentence]
    assert len(told) == 4


def test_a_loss_of_nan_is_told_and_the_last_good_is_kept(bases, pictures, tmp_path, monkeypatch) -> None:
    from slipcast.systems.domain.tasks import DenoisingTask

    loss, seen = DenoisingTask.loss, []

    def breaks(self: Any, batch: int, generator: torch.Generator) -> torch.Tensor:
        seen.append(batch)
        return loss(self, batch, generator) * (float("nan") if len(seen) == 4 else 1.0)

    monkeypatch.setattr(DenoisingTask, "loss", breaks)
    with pytest.raises(SlipcastError, match=r"became nan at step 3.*last good weights are kept"):
        train_domain(settings(pictures, bases("sd1")), Means("cpu"), Quiet(), out=tmp_path)
    assert (tmp_path / "reds.training/best.safetensors").is_file()


@pytest.mark.parametrize(
    ("base", "method", "changes"),
    [
        ("sd2-v", None, {"aspect": "bucket", "optimizer": "adamw8bit", "accumulate": 2}),
        ("sdxl", None, {"aspect": "bucket", "checkpointing": True}),
        ("sd1", "lora", {"aspect": "pad"}),
        ("sdxl", "full", {}),
        ("sd2-v", "dog", {}),
        ("dit", None, {"distil_guidance": 1.5}),
    ],
)
def test_every_kind_of_base_learns_and_is_read_back(bases, pictures, tmp_path, base, method, changes) -> None:
    folder = bases(base)
    learned = train_domain(
        settings(pictures, folder, method=method, steps=2, evaluate_every=2, **changes), Means("cpu"), Quiet(),
        out=tmp_path,
    )  # fmt: skip
    loaded = load_base(folder)
    if method == "lora":
        notices: list[str] = []
        adapted = with_loras(loaded, [(learned.domain, 1.0)], notices.append)
        assert adapted.loras and not notices
        return
    if base == "dit" or method:
        model = load_custom(str(learned.domain), loaded)
        prompt = "pot" if base == "dit" else "a photo of a pot"
        x = torch.zeros(1, *loaded.latent_shape)
        (eps,) = model.predictor.predict(x, torch.tensor([500]), [model.condition([prompt])])
        assert bool(eps.isfinite().all())
        card = json.loads((learned.domain / "model.json").read_text())
        assert card.get("classes") == {
            "dit": ["jar", "pot"],
            "sd2-v": ["a photo of a jar", "a photo of a pot"],
        }.get(base)
        return
    store = ModelStore(MakeConfig(base=str(folder), domain=str(learned.domain), device="cpu"))
    assert store.domain.predictor.prediction_type == {"sd2-v": "v_prediction"}.get(base, "epsilon")
    assert set(store.uses().weights["picture"]) == {"domain", "text"}


def test_only_dog_takes_guidance_into_itself(bases, pictures, tmp_path) -> None:
    asked = settings(pictures, bases("sd1"), distil_guidance=1.5)
    with pytest.raises(
        BadInput, match=r"--distil-guidance takes domain guidance into a model of --method dog"
    ):
        train_domain(asked, Means("cpu"), Quiet(), out=tmp_path)


def test_classes_cannot_be_learned_without_text(bases, pictures, tmp_path) -> None:
    for method in ("null-text", "lora"):
        with pytest.raises(BadInput, match=r"choose --method dog or full"):
            train_domain(settings(pictures, bases("dit"), method=method), Means("cpu"), Quiet(), out=tmp_path)


def test_a_domain_is_found_by_its_name(undisturbed, bases, monkeypatch) -> None:
    monkeypatch.setenv("SLIPCAST_DOMAINS", str(undisturbed.parent))
    store = ModelStore(MakeConfig(base=str(bases("sd1")), domain="reds", device="cpu"))
    assert store.folder("domain") == undisturbed
    assert store.domain.name == "reds"
    weights = json.loads((undisturbed / "domain.json").read_text())["weights"]
    assert store.uses().weights["picture"] == weights["picture"]


def test_refinement_keeps_the_balance_of_domain_and_text(undisturbed) -> None:
    """What a base says of refinement's domain is of some other domain; its text's weight is its own."""
    picture, refine = json.loads((undisturbed / "domain.json").read_text())["weights"].values()
    text = GENERAL.weights["refine"]["text"]
    assert refine == {"domain": pytest.approx(text * picture["domain"] / picture["text"], abs=1e-3)}
    assert for_card({"model": 2.0}, GENERAL) == {"picture": {"model": 2.0}}
    assert for_card({}, GENERAL) == {"picture": {}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"licence": ""}, "--licence says"),
        ({"aspect": "stretch"}, "there is no aspect"),
        ({"steps": 0}, "--steps expects"),
        ({"ema": 1.0}, "--ema expects"),
        ({"learning_rate": float("nan")}, "--learning-rate expects"),
        ({"held_out": 0.9}, "--held-out expects"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        settings(Path("x"), Path("y"), **changes)


def test_names_that_cannot_be(tmp_path) -> None:
    for name in ("starter", "none", "../up", "", "a/b", "x.training"):
        with pytest.raises(BadInput, match=r"--name"):
            train_domain(settings(tmp_path, tmp_path, name=name), Means("cpu"), Quiet(), out=tmp_path)


def test_training_is_what_it_says(undisturbed) -> None:
    work = Path(f"{undisturbed}.training")
    assert {path.name for path in work.iterdir()} >= {
        history.EVALUATIONS, history.BEST, "settings.json", "report.html", "samples", "start", "1",
    }  # fmt: skip
