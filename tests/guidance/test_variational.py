"""The model of the renders: it begins as the prior, learns what it is shown, and nobody else ever hears it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_flow, tiny_pipelines
from torch import Tensor, nn

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance import AdaptedPredictor, Branch, CPUOffload, GaussianPredictor, GuidedNoise, around
from slipcast.guidance.distillation import WEIGHTINGS, sds_gradient
from slipcast.guidance.low_rank import LowRank, low_rank_bytes, put_in
from slipcast.guidance.offloading import offloaded
from slipcast.guidance.variational import RenderModel, attention_layers
from slipcast.systems.models.base import Base, load_base

BASES: dict[str, Any] = {
    "sd1": lambda folder: tiny_pipelines.stable_diffusion(folder),
    "sd2": lambda folder: tiny_pipelines.stable_diffusion(folder, prediction_type="v_prediction"),
    "sdxl": tiny_pipelines.sdxl,
    "dit": lambda folder: tiny_pipelines.dit(),
    "sd3": tiny_flow.sd3,
    "flux": tiny_flow.flux,
}
PROMPTS = {"dit": ["1", "2"]}
CAMERAS = 3
T = torch.tensor([700, 120])


@pytest.fixture(scope="module", params=BASES)
def base(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Base]]:
    folder = tmp_path_factory.mktemp(request.param)
    BASES[request.param](folder).save_pretrained(folder / "base")
    yield request.param, load_base(folder / "base", dtype="float32")


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("sd1")
    BASES["sd1"](folder).save_pretrained(folder / "base")
    return load_base(folder / "base", dtype="float32")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(base: Base, name: str = "sd1") -> tuple[Any, Any]:
    """What two views are told, and two of nothing."""
    prompts = PROMPTS.get(name, ["a cup", "a pot"])
    return base.condition(prompts), base.condition([""] * 2)


def model_of(base: Any, **options: Any) -> RenderModel:
    return RenderModel(
        getattr(base, "predictor", base), **{"rank": 2, "rate": 1e-2, "cameras": CAMERAS, "seed": 0} | options
    )


def taught(model: RenderModel, latents: Tensor, condition: Any, cameras: Tensor, steps: int) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    return [model.learn(latents, condition, cameras, generator) for _ in range(steps)]


def test_law_untrained_it_is_the_prior_under_the_prompt(base: tuple[str, Base]) -> None:
    """And so variational score distillation at the weight w is (w - 1) (text - null), classifier score distillation."""
    name, one = base
    text, null = told(one, name)
    model, z, noise = model_of(one), drawn(2, *one.latent_shape), drawn(2, *one.latent_shape, seed=1)
    try:
        guided = GuidedNoise(
            around(Branch("null", one.predictor, null), (Branch("text", one.predictor, text), 7.5))
        )
        says = guided.branches(one.predictor.schedule.add_noise(z, noise, T), T)
        own = lambda x_t, t: model.predict(x_t, t, text, drawn(2, CAMERAS))  # noqa: E731
        found = sds_gradient(guided, z, T, noise, score="vsd", weighting="uniform", own=own)
        torch.testing.assert_close(found, 6.5 * (says["text"] - says["null"]), atol=2e-5, rtol=1e-5)
        assert name != "sd1" or found.abs().max() > 1e-3
    finally:
        model.close()


def test_it_learns_in_any_kind_of_network_and_nobody_else_hears_it(base: tuple[str, Base]) -> None:
    name, one = base
    network, (text, null) = one.predictor.network, told(one, name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    guided = GuidedNoise(
        around(Branch("null", one.predictor, null), (Branch("text", one.predictor, text), 7.5))
    )
    x_t, cameras = drawn(2, *one.latent_shape), drawn(2, CAMERAS)
    plain = guided.branches(x_t, T)
    model = model_of(one)
    try:
        assert model.hears_cameras == (name != "dit")
        first = model.predict(x_t, T, text, cameras)
        taught(model, drawn(2, *one.latent_shape, seed=2), text, cameras, 3)
        beside, own = guided.branches(x_t, T), model.predict(x_t, T, text, cameras)
        assert all(torch.equal(plain[branch], beside[branch]) for branch in plain)
        assert (own - first).abs().max() > 1e-4
        assert torch.equal(own, model.predict(x_t, T, text, cameras))
        turned = model.predict(x_t, T, text, cameras.flip(0))
        assert torch.equal(own, turned) != model.hears_cameras
        assert network.state_dict().keys() == before.keys(), "its weights are no part of the prior"
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert all(one.grad is None for one in network.parameters()), "no gradient reaches the prior"
        assert low_rank_bytes(network) == 0
        layers = attention_layers(network)
        few = sum(2 * (layer.in_features + layer.out_features) for layer in layers.values())
        if not model.hears_cameras:
            assert model.weights.numel() == few
    finally:
        model.close()
    assert all(torch.equal(plain[branch], value) for branch, value in guided.branches(x_t, T).items())
    assert not any("renders" in key for key, _ in network.named_modules()), "and it is gone"


def test_law_the_gradient_is_its_closed_form(schedule: Any) -> None:
    """Where the renders' model is exact, too: two Gaussians, w(t) s a (mean of the renders - mean meant) / total."""
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 2, 2, 4, 4, generator=generator, dtype=torch.float64)
    null, text = (Branch(str(m), GaussianPredictor(m, 0.3, schedule)) for m in (0.1, 0.3))
    renders = GaussianPredictor(-0.4, 0.3, schedule)
    alpha_bar = schedule.alphas_cumprod[T].double().view(-1, 1, 1, 1)
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    for weighting, weigh in WEIGHTINGS.items():
        found = sds_gradient(
            GuidedNoise(around(null, (text, 7.5))), z, T, noise, weighting=weighting, score="vsd",
            own=lambda x_t, t: renders.predict(x_t, t, [None])[0],
        )  # fmt: skip
        meant = 0.1 + 7.5 * 0.2
        wanted = weigh(alpha_bar) * s * a * (-0.4 - meant) / (a**2 * 0.3 + s**2)
        torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="vsd, and no other score, takes a model"):
        sds_gradient(GuidedNoise(around(null)), z, T, noise, score="vsd")
    with pytest.raises(ValueError, match="vsd, and no other score, takes a model"):
        sds_gradient(GuidedNoise(around(null)), z, T, noise, own=lambda x_t, t: x_t)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sd3"])
def test_its_error_on_a_fixed_object_falls(kind: str, tmp_path: Path) -> None:
    BASES[kind](tmp_path).save_pretrained(tmp_path / "base")
    base = load_base(tmp_path / "base", dtype="float32")
    text, _ = told(base)
    latents, cameras = torch.ones(2, *base.latent_shape), drawn(2, CAMERAS)
    noise, t = drawn(*latents.shape, seed=3), torch.tensor([900, 600])
    x_t = base.predictor.schedule.add_noise(latents, noise, t)
    model = model_of(base, rank=4)
    before = (model.predict(x_t, t, text, cameras) - noise).square().mean()
    losses = taught(model, latents, text, cameras, 30)
    assert (model.predict(x_t, t, text, cameras) - noise).square().mean() < 0.98 * before
    assert sum(losses[-10:]) < sum(losses[:10])


def test_it_goes_on_from_its_state_bit_for_bit(sd1: Base) -> None:
    text, _ = told(sd1)
    latents, cameras = drawn(2, *sd1.latent_shape), drawn(2, CAMERAS)

    def steps(model: RenderModel, numbers: range) -> list[float]:
        return [
            model.learn(latents, text, cameras, torch.Generator().manual_seed(number)) for number in numbers
        ]

    whole, half, rest = (model_of(sd1) for _ in range(3))
    wanted = steps(whole, range(6))
    found = steps(half, range(3))
    kept = {name: array.clone() for name, array in half.state().items()}
    assert (
        sum(array.numel() * array.element_size() for array in kept.values()) <= 12 * whole.weights.numel() + 4
    )
    with torch.no_grad():
        for name, array in rest.state().items():
            array.copy_(kept[name])
    found += steps(rest, range(3, 6))
    for model in (whole, half, rest):
        model.close()
    assert found == wanted and torch.equal(whole.weights, rest.weights)
    assert torch.equal(model_of(sd1).weights, model_of(sd1).weights)
    assert not torch.equal(model_of(sd1).weights, model_of(sd1, seed=1).weights)


def test_loras_of_the_prior_go_on_and_offloading_too(sd1: Base) -> None:
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    put_in(sd1.predictor.network, "style", {layer: LowRank(drawn(2, 8), drawn(8, 2, seed=1))})
    styled = AdaptedPredictor(offloaded(sd1.predictor, CPUOffload("cpu")), {"style": 3.0}, name="styled")
    text, _ = told(sd1)
    x_t, cameras = drawn(2, *sd1.latent_shape), drawn(2, CAMERAS)
    model = model_of(styled)
    wanted = styled.predict(x_t, T, [text])[0]
    assert not torch.equal(wanted, sd1.predictor.predict(x_t, T, [text])[0])
    assert torch.equal(model.predict(x_t, T, text, cameras), wanted)
    taught(model, x_t, text, cameras, 2)
    assert torch.equal(styled.predict(x_t, T, [text])[0], wanted)
    model.close()


def test_half_precision_learns_in_full(tmp_path: Path) -> None:
    BASES["sd1"](tmp_path).save_pretrained(tmp_path / "base")
    base = load_base(tmp_path / "base", dtype="float16")
    text, _ = told(base)
    model = model_of(base)
    (loss, *_) = taught(model, drawn(2, *base.latent_shape), text, drawn(2, CAMERAS), 2)
    assert model.weights.dtype == torch.float32 and loss > 0
    assert model.predict(drawn(2, *base.latent_shape), T, text, drawn(2, CAMERAS)).dtype == torch.float32


def test_numbers_that_are_none_are_said_and_not_learned(sd1: Base) -> None:
    text, _ = told(sd1)
    model, cameras = model_of(sd1), drawn(2, CAMERAS)
    before = model.weights.detach().clone()
    with pytest.raises(SlipcastError, match="LoRA of the renders has a loss that is NaN"):
        taught(model, torch.full((2, *sd1.latent_shape), float("nan")), text, cameras, 1)
    assert torch.equal(model.weights, before)
    with torch.no_grad():
        model.weights.fill_(float("nan"))
    with pytest.raises(
        SlipcastError, match=r"LoRA of the renders returned NaN or infinity at timestep \[700, 120\]"
    ):
        model.predict(drawn(2, *sd1.latent_shape), T, text, cameras)
    model.close()


def test_a_network_without_attention_is_refused(sd1: Base) -> None:
    class Plain:
        network, name, schedule = nn.Linear(2, 2), "plain", sd1.predictor.schedule

    for prior in (Plain(), GaussianPredictor(0.0, 1.0, sd1.predictor.schedule)):
        with pytest.raises(
            BadInput, match=r"puts a LoRA at attention layers, and .* has none; choose another"
        ):
            model_of(prior)
