"""The compared methods: what each trains, by closed forms; at their start all are the base; each moves its own."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput
from slipcast.guidance.conditioning import Conditioning, as_conditioning
from slipcast.guidance.networks import beside
from slipcast.systems.baselines.sources import LatentFile, write_latents
from slipcast.systems.baselines.table import BASELINES, OURS, WITH_WORDS, baseline_named, trained_parameters
from slipcast.systems.baselines.tasks import TEXT_ENCODER, begin, read_learned, save_learned, task_for
from slipcast.systems.domain.learning import DomainRecipe
from slipcast.systems.models import precision
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.training.checkpoints import parameters_of
from slipcast.systems.training.loop import Budget, train

RECIPE = DomainRecipe(name="toy", prompt="te", feature_steps=1, feature_batch=2)
PROMPT = "a <domain> te"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    place = tmp_path_factory.mktemp("base")
    tiny.stable_diffusion(place).save_pretrained(place / "sd")
    return load_base(place / "sd", dtype="float32")


@pytest.fixture(scope="module")
def source(base, tmp_path_factory) -> LatentFile:
    path = tmp_path_factory.mktemp("latents") / "latents.safetensors"
    pictures = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    write_latents(path, base, pictures.split(3), torch.tensor([0, 1, 0, 1]))
    return LatentFile(path, base.condition(["te"]))


def task_of(method: str, base: Base, source: LatentFile, work: Path) -> Any:
    start = begin(method, base, source, RECIPE, work, seed=0)
    return task_for(method, base, source, start, prompt=PROMPT, noise_shift=1.0)


def learned_after(
    steps: int, method: str, base: Base, source: LatentFile, work: Path
) -> tuple[Any, dict[str, Any]]:
    task = task_of(method, base, source, work)
    modules: Any = task.modules()
    if steps:
        budget = Budget(
            steps=steps, batch=2, workers=1, warmup_steps=1, optimizer="adamw", learning_rate=1e-2
        )
        modules = train(task, work / "training", budget, label=method)
    save_learned(modules, work / "learned.safetensors")
    return read_learned(method, base, task, work / "learned.safetensors"), modules


@pytest.fixture(scope="module")
def plain(base) -> Base:
    """The base, its numbers copied: kernels round by where numbers lie in memory, and a file's lie elsewhere."""
    network = copy.deepcopy(base.predictor.network)
    return replace(base, predictor=beside(network, base.predictor, name="plain"))


def asked(model: Any, base: Base) -> torch.Tensor:
    x = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(1))
    return model.predictor.predict(x, torch.tensor([500]), [model.condition(["te"])])[0]


@pytest.mark.parametrize("method", [name for name in (*BASELINES, *WITH_WORDS) if name != OURS])
def test_zero_steps_of_a_method_are_the_base_to_the_bit(base, plain, source, tmp_path, method) -> None:
    learned, _ = learned_after(0, method, base, source, tmp_path)
    assert torch.equal(asked(learned, base), asked(plain, base))


def test_zero_steps_of_ours_differ_by_the_mean_answer_of_the_text_alone(base, source, tmp_path) -> None:
    learned, modules = learned_after(0, OURS, base, source, tmp_path)
    own = dict(modules["unet"].named_parameters())
    for name, one in base.predictor.network.named_parameters():
        if ".attn2." not in name and ".norm2." not in name:
            assert torch.equal(own[name].detach(), one)
    assert learned.condition(["te"]).text is None  # pyright: ignore


@pytest.mark.parametrize("method", ["textual-inversion", "custom-diffusion", "oft", "lora", "words"])
def test_each_method_moves_what_it_trains_and_nothing_else(base, plain, source, tmp_path, method) -> None:
    before = {
        k: p.detach().clone() for k, p in _everything(task_of(method, base, source, tmp_path / "a")).items()
    }
    learned, modules = learned_after(2, method, base, source, tmp_path / "b")
    trains = parameters_of(task_of(method, base, source, tmp_path / "c").modules()).keys()
    moved = {name for name, one in _named(modules).items() if not torch.equal(one.detach(), before[name])}
    assert moved and moved <= set(trains)
    assert torch.equal(asked(learned, base), asked(plain, base)) == (
        method == "textual-inversion"
    )  # told no new word


def test_of_textual_inversion_only_the_new_word_changes(base, source, tmp_path) -> None:
    learned, modules = learned_after(2, "textual-inversion", base, source, tmp_path)
    assert (
        trained_parameters(*task_of("textual-inversion", base, source, tmp_path / "c").modules().values())
        == 12
    )
    for prompt, same in (("te", True), (PROMPT, False)):
        fresh, _ = learned_after(0, "textual-inversion", base, source, tmp_path / prompt)
        assert torch.equal(learned.condition([prompt]).text, fresh.condition([prompt]).text) == same
    assert [name for name, one in modules[TEXT_ENCODER].named_parameters() if one.requires_grad] == [
        "embeddings.token_embedding.trainable_tokens_delta.default"
    ]


def _named(modules: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": one for part, module in modules.items() for name, one in module.named_parameters()
    }


def _everything(task: Any) -> dict[str, torch.Tensor]:
    return _named(task.modules())


SD15_WIDTHS = [320] * 5 + [640] * 5 + [1280] * 6
CROSS = sum(2 * c * c + 2 * 768 * c + c for c in SD15_WIDTHS)
LOW_RANK = sum(2 * 4 * (768 + c) for c in SD15_WIDTHS)


def _turns(width: int, blocks: int = 4) -> int:
    return blocks * (width // blocks) * (width // blocks - 1) // 2


TURNS = sum(6 * _turns(c) + 2 * _turns(768) for c in SD15_WIDTHS)


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("textual-inversion", 0),
        ("full", 859_520_964),
        ("custom-diffusion", CROSS),
        ("lora", LOW_RANK),
        ("oft", TURNS),
    ],
)
def test_the_counts_at_stable_diffusion_are_closed_forms(method, count) -> None:
    """Paper 1's Table 1: 44M, 0.19M and 859M; PEFT's OFT keeps half of the paper's 23M, and the new word adds 768."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network: Any = UNet2DConditionModel(cross_attention_dim=768, sample_size=64).requires_grad_(False)
        adapt = baseline_named(method).adapt
        assert adapt is not None
        adapt(network)
    assert trained_parameters(network) == count
    assert (CROSS, LOW_RANK) == (43_962_560, 198_144)


def test_pictures_are_told_their_own_row_and_some_are_told_nothing(base, source) -> None:
    told = Conditioning(labels=torch.tensor([5, 6, 9]))
    opened = LatentFile(source.path, told, dropped=0.5).open("cpu")
    latents, said = opened.draw(64, torch.Generator().manual_seed(0))
    assert latents.shape == (64, *base.latent_shape)
    assert _labels(said) == {5, 6, 9}
    again = LatentFile(source.path, told).open("cpu").draw(64, torch.Generator().manual_seed(0))[1]
    assert _labels(again) == {5, 6}


def _labels(told: Any) -> set[int]:
    labels = as_conditioning(told).labels
    assert labels is not None
    return set(labels.tolist())


def test_a_file_of_another_training_is_refused(base, source, tmp_path) -> None:
    learned_after(0, "lora", base, source, tmp_path)
    with pytest.raises(BadInput, match="another training"):
        task = task_of("full", base, source, tmp_path / "full")
        read_learned("full", base, task, tmp_path / "learned.safetensors")
    with pytest.raises(BadInput, match="method"):
        baseline_named("dreambooth")


def test_a_new_word_needs_one_text_encoder(tmp_path) -> None:
    pipe = tiny.sdxl(tmp_path)
    pipe.save_pretrained(tmp_path / "xl")
    with pytest.raises(BadInput, match="2 text encoders"):
        begin("textual-inversion", load_base(tmp_path / "xl"), None, RECIPE, tmp_path, seed=0)  # type: ignore[arg-type]
