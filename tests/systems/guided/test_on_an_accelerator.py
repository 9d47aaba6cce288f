"""Every recipe, every sampler and every kind of base draws on another device what it draws on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines
from fakes.accelerator import ACCELERATOR, AcceleratorTensor, on_accelerator

from slipcast.guidance.conditioning import Control
from slipcast.guidance.distillation import sds_gradient
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.networks import beside
from slipcast.guidance.null_text import make_null_text, null_text_features
from slipcast.guidance.sampling import sample, seeded_noise
from slipcast.guidance.schedulers import SCHEDULERS, scheduler_named
from slipcast.systems.domain.model import Domain
from slipcast.systems.guided.balance import balanced
from slipcast.systems.guided.branches import Extra, Ingredients
from slipcast.systems.guided.ranking import evidence
from slipcast.systems.guided.recipes import PICTURE_RECIPES, picture_guidance
from slipcast.systems.models.base import Base, load_base

DEVICES = ("cpu", ACCELERATOR)


@dataclass(frozen=True)
class Models:
    """A base, a network text-free beside it, another model of the family and a ControlNet, on one device."""

    base: Base
    domain: Domain
    custom: Base
    control: Control


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Models]:
    folder = tmp_path_factory.mktemp("models")
    tiny_pipelines.stable_diffusion(folder).save_pretrained(folder / "sd")
    return {device: _models(folder / "sd", device) for device in DEVICES}


def _models(folder: Path, device: str) -> Models:
    base, custom = (load_base(folder, device=device, dtype="float32") for _ in range(2))
    with torch.no_grad():
        for parameter in custom.predictor.network.parameters():
            parameter.mul_(1.1)
    x, t = torch.linspace(-1, 1, 512).view(2, 4, 8, 8), torch.tensor([100, 700])
    unet = base.predictor.network
    null_text = make_null_text(unet, null_text_features(unet, base.encode_text(["a vase"]), x, t))
    domain = Domain(
        "domain", {}, null_text, beside(null_text, base.predictor, name="domain"), base.unconditional, ""
    )
    torch.manual_seed(1)
    network = tiny_pipelines.controlnet(tiny_pipelines.unet())
    network = on_accelerator(network) if device == ACCELERATOR else network
    return Models(base, domain, custom, Control(network, torch.linspace(0, 1, 768).view(1, 3, 16, 16)))


def made(models: Models, **more: Any) -> Ingredients:
    return Ingredients(
        base=models.base, prompt="a vase", domain=models.domain, controls=(models.control,), **more
    )


WISHES: dict[str, Callable[[Models], dict[str, Any]]] = {
    "negative_prompt": lambda models: {"negatives": ("grey",)},
    "composable": lambda models: {"wanted": {"red": 1.5}, "unwanted": {"blue": 0.5}},
    "in_domain": lambda models: {"extras": {"style": Extra("old", 0.5, models.custom, (models.control,))}},
    "class_and_domain": lambda models: {"model": models.custom},
    "autoguidance": lambda models: {"model": models.custom},
    "perp_neg": lambda models: {"negatives": ("grey", "green")},
    "bridge": lambda models: {"negatives": ("grey", "green")},
}


def drawn(
    models: Models, guided: GuidedNoise, device: str, scheduler: str = "dpm++", steps: int = 2, **options: Any
) -> torch.Tensor:
    """Pictures of two seeds, sampled on the device."""
    base = models.base
    noise, generators = seeded_noise([1, 2], base.latent_shape, device=base.device)
    latents = sample(
        guided,
        scheduler_named(scheduler, base.pipeline.scheduler),
        noise,
        steps=steps,
        generator=generators,
        **options,
    )
    assert isinstance(latents, AcceleratorTensor) == (device == ACCELERATOR), "latents stay on their device"
    return base.decode(latents).cpu()


def assert_alike(one: torch.Tensor, other: torch.Tensor) -> None:
    assert one.std() > 1e-3
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", PICTURE_RECIPES)
def test_every_recipe_draws_there_what_it_draws_here(models: Mapping[str, Models], recipe: str) -> None:
    wishes = WISHES.get(recipe, lambda models: {})

    def picture(device: str) -> torch.Tensor:
        guidance = picture_guidance(recipe, made(models[device], **wishes(models[device])), {})
        return drawn(models[device], GuidedNoise(guidance, max_batch=3), device)

    assert_alike(*map(picture, DEVICES))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_sampler_with_its_own_noise_and_an_edited_picture(
    models: Mapping[str, Models], scheduler: str
) -> None:
    def picture(device: str) -> torch.Tensor:
        base = models[device].base
        guided = GuidedNoise(picture_guidance("cfg", made(models[device]), {"text": 2.0}))
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., 4:] = 1
        start = base.encode(torch.linspace(0, 1, 768).view(1, 3, 16, 16)).expand(2, -1, -1, -1)
        return drawn(
            models[device], guided, device, scheduler, 3, start=start, mask=mask, strength=0.8, eta=0.5
        )

    assert_alike(*map(picture, DEVICES))


@pytest.mark.parametrize("recipe", PICTURE_RECIPES)
def test_every_recipe_distils_there_what_it_distils_here(models: Mapping[str, Models], recipe: str) -> None:
    wishes = WISHES.get(recipe, lambda models: {})
    noise, _ = seeded_noise([4, 5], (4, 8, 8))

    def gradient(device: str) -> torch.Tensor:
        guided = GuidedNoise(picture_guidance(recipe, made(models[device], **wishes(models[device])), {}))
        latents = torch.linspace(-1, 1, 512).view(2, 4, 8, 8).to(device)
        # t and noise come from the CPU, as its generators give them.
        return sds_gradient(guided, latents, torch.tensor([100, 400]), noise, clamp=2.0).cpu()

    assert_alike(*map(gradient, DEVICES))


def test_weights_and_ranking_are_measured_there_as_here(models: Mapping[str, Models]) -> None:
    def measured(device: str) -> torch.Tensor:
        one = models[device]
        branches = made(one)
        latents = seeded_noise([7, 8], one.base.latent_shape, device=device)[0]
        targets = [branches.in_domain, branches.text]
        gains = evidence(branches.null, targets, latents, torch.Generator().manual_seed(0), draws=1)
        scheduler = scheduler_named("ddim", one.base.pipeline.scheduler)
        weights = balanced(branches, 5.0, scheduler, one.base.latent_shape, device=one.base.device)
        return torch.cat([*(gain.cpu() for gain in gains.values()), torch.tensor(list(weights.values()))])

    assert_alike(*map(measured, DEVICES))


KINDS: dict[str, Callable[[Path], Any]] = {
    "sd2": lambda folder: tiny_pipelines.stable_diffusion(folder, prediction_type="v_prediction"),
    "sdxl": tiny_pipelines.sdxl,
    "dit": lambda folder: tiny_pipelines.dit(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_base_reads_encodes_and_draws(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path).save_pretrained(tmp_path / kind)
    prompt = "1" if kind == "dit" else "a vase"

    def picture(device: str) -> torch.Tensor:
        base = load_base(tmp_path / kind, device=device, dtype="float32")
        guidance = picture_guidance("cfg", Ingredients(base=base, prompt=prompt), {})
        guidance = replace(guidance, channels=3) if kind == "dit" else guidance
        one = Models(base, None, base, None)  # pyright: ignore[reportArgumentType]
        return drawn(one, GuidedNoise(guidance), device)

    assert_alike(*map(picture, DEVICES))
