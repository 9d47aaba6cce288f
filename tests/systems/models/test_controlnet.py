"""Controls as users give them against diffusers' ``StableDiffusionControlNetPipeline``, on tiny random networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.configs.picture import PictureConfig
from slipcast.configs.schema import ExtraCondition
from slipcast.guidance import GuidedNoise, sample
from slipcast.guidance.conditioning import as_conditioning
from slipcast.guidance.schedulers import first_step, noise_between, scheduler_named, set_steps
from slipcast.pipeline.drawing.plan import models_for, plan_pictures
from slipcast.pipeline.run.progress import Quiet
from slipcast.systems.guided.branches import Extra, Ingredients, refuse_unheard
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.models import precision
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.controlnet import load_controls

STEPS, WEIGHT = 6, 5.0
CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=0)


@pytest.fixture(autouse=True, scope="module")
def full_precision() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
        yield


@dataclass(frozen=True)
class Shelf:
    """A pipeline, its folder's base in float64, and two ControlNets and maps on the disk."""

    pipe: Any
    base: Base
    networks: list[Any]
    maps: list[Image.Image]
    written: list[str]


@pytest.fixture(scope="module")
def shelf(full_precision: None, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    place = tmp_path_factory.mktemp("controls")
    pipe = tiny.stable_diffusion(place)
    pipe.save_pretrained(place / "sd")
    networks, maps, written = [], [], []
    for seed in (0, 1):
        networks.append(tiny.controlnet(pipe.unet, seed).double())
        networks[-1].save_pretrained(place / f"net-{seed}")
        levels = torch.randint(0, 256, (16, 16, 3), generator=torch.Generator().manual_seed(seed))
        maps.append(Image.fromarray(levels.to(torch.uint8).numpy()))
        maps[-1].save(place / f"map-{seed}.png")
        written.append(f"file:{place / f'map-{seed}.png'}:{place / f'net-{seed}'}")
    base = load_base(place / "sd")
    for network in (base.predictor.network, base.pipeline.text_encoder, pipe.unet, pipe.text_encoder):
        network.double()
    return Shelf(pipe, base, networks, maps, written)


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def in_float64(shelf: Shelf, wanted: list[str], **more: Any) -> tuple[Any, ...]:
    controls = load_controls(wanted, shelf.base, size=16, **more)
    for control in controls:
        control.network.double()
    return controls


def ours(
    shelf: Shelf, controls: tuple[Any, ...], sampler: str = "ddim", *, everywhere: bool = False
) -> torch.Tensor:
    heard: dict[str, Any] = {"controls_of_all" if everywhere else "controls": controls}
    made = Ingredients(base=shelf.base, prompt="a teapot", size=16, **heard)
    guided = GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT}))
    return sample(guided, scheduler_named(sampler, shelf.pipe.scheduler), noise(), steps=STEPS)


def theirs(shelf: Shelf, count: int, sampler: str = "ddim", **more: Any) -> torch.Tensor:
    from diffusers import StableDiffusionControlNetPipeline

    parts = shelf.pipe.components | {"scheduler": scheduler_named(sampler, shelf.pipe.scheduler)}
    one = count == 1
    pipe = tiny.quiet(
        StableDiffusionControlNetPipeline(
            **parts,
            controlnet=shelf.networks[0] if one else shelf.networks,
            requires_safety_checker=False,
        )
    )
    return pipe(
        "a teapot",
        image=shelf.maps[0] if one else shelf.maps,
        num_images_per_prompt=2,
        height=16,
        width=16,
        num_inference_steps=STEPS,
        guidance_scale=WEIGHT,
        latents=noise(),
        output_type="latent",
        **more,
    ).images


def window(shelf: Shelf, begin: float, end: float, sampler: str = "ddim") -> tuple[float, float]:
    scheduler = scheduler_named(sampler, shelf.pipe.scheduler)
    set_steps(scheduler, STEPS)
    return noise_between([float(t) / 1000 for t in scheduler.timesteps], begin, end)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (0.0, 0.5), (0.3, 1.0), (0.2, 0.9)])
def test_start_and_end_are_those_of_diffusers(shelf: Shelf, sampler: str, begin: float, end: float) -> None:
    controls = in_float64(
        shelf, [f"{shelf.written[0]}:0.7"], heard=lambda told: window(shelf, begin, end, sampler)
    )
    told = theirs(
        shelf,
        1,
        sampler,
        controlnet_conditioning_scale=0.7,
        control_guidance_start=begin,
        control_guidance_end=end,
    )
    torch.testing.assert_close(ours(shelf, controls, sampler, everywhere=True), told, **CLOSE)
    always = in_float64(shelf, [f"{shelf.written[0]}:0.7"])
    if (begin, end) != (0.0, 1.0):
        assert (ours(shelf, always, sampler, everywhere=True) - told).abs().max() > 1e-3


def test_in_an_edit_they_count_the_steps_that_are_run(shelf: Shelf) -> None:
    from diffusers import StableDiffusionControlNetImg2ImgPipeline

    pipe = tiny.quiet(
        StableDiffusionControlNetImg2ImgPipeline(
            **shelf.pipe.components, controlnet=shelf.networks[0], requires_safety_checker=False
        )
    )
    latents = 0.5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7)).double()
    told = pipe(
        ["a teapot"] * 2,
        image=latents,
        control_image=shelf.maps[:1] * 2,
        height=16,
        width=16,
        strength=0.5,
        num_inference_steps=8,
        guidance_scale=WEIGHT,
        controlnet_conditioning_scale=1.0,
        control_guidance_start=0.2,
        control_guidance_end=0.8,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    ).images
    scheduler = scheduler_named("ddim", shelf.pipe.scheduler)
    set_steps(scheduler, 8)
    times = [float(t) / 1000 for t in scheduler.timesteps[first_step(scheduler, 8, 0.5) :]]
    controls = in_float64(shelf, shelf.written[:1], heard=lambda told: noise_between(times, 0.2, 0.8))
    made = Ingredients(base=shelf.base, prompt="a teapot", size=16, controls_of_all=controls)
    drawn = sample(
        GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT})),
        scheduler,
        torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
        steps=8,
        start=latents,
        strength=0.5,
    )
    torch.testing.assert_close(drawn, told, **CLOSE)


def test_several_with_scales_and_windows_of_their_own_are_those_of_diffusers(shelf: Shelf) -> None:
    """As they are written: what one says of itself goes before what is said for all."""
    wanted = [f"{shelf.written[0]}:1.4:end=0.6:branches=all", f"{shelf.written[1]}:0.6:start=0.4"]
    maps = [Path(text.split(":")[1]) for text in wanted]
    config = PictureConfig(
        base=str(maps[0].parent / "sd"),
        prompt="a teapot",
        recipe="cfg",
        weights={"text": WEIGHT},
        scheduler="ddim",
        steps=STEPS,
        control=wanted,
        control_scale=0.5,
        control_branches="all",
        control_start=0.0,
        control_end=1.0,
        dtype="float32",
        device="cpu",
    )
    plan = plan_pictures(config, Quiet(), models_for(config))
    for control in plan.made.controls_of_all:
        control.network.double()
    for network in (plan.base.predictor.network, plan.base.pipeline.text_encoder):
        network.double()
    made = Ingredients(base=plan.base, prompt="a teapot", size=16, controls_of_all=plan.made.controls_of_all)
    drawn = sample(
        GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT})), plan.scheduler, noise(), steps=STEPS
    )
    told = theirs(
        shelf,
        2,
        controlnet_conditioning_scale=[0.7, 0.3],
        control_guidance_start=[0.0, 0.4],
        control_guidance_end=[0.6, 1.0],
    )
    torch.testing.assert_close(drawn, told, **CLOSE)
    heard = [(round(one.since, 2), round(one.until, 2)) for one in plan.made.controls_of_all]
    assert heard[0] != heard[1]


def test_each_says_which_branches_hear_it(shelf: Shelf) -> None:
    wanted = [f"{shelf.written[0]}:branches=all", shelf.written[1], f"{shelf.written[1]}:0.5:branches=text"]
    base = str(Path(shelf.written[0].split(":")[1]).parent / "sd")
    for for_all, everywhere in (("text", [1.0]), ("all", [1.0, 1.0])):
        config = PictureConfig(
            base=base, prompt="a pot", recipe="cfg", control=wanted, control_branches=for_all, steps=2
        )
        made = plan_pictures(config, Quiet(), models_for(config)).made
        assert [one.scale for one in made.controls_of_all] == everywhere
        assert [one.scale for one in as_conditioning(made.null.condition).controls] == everywhere
        assert sorted(one.scale for one in as_conditioning(made.text.condition).controls) == [0.5, 1.0, 1.0]
    condition = ExtraCondition("a lid", control=[f"{shelf.written[0]}:branches=all"])
    config = PictureConfig(base=base, prompt="a pot", recipe="composable", conditions={"lid": condition})
    with pytest.raises(BadInput, match="the condition lid are heard by it alone; leave branches= out"):
        plan_pictures(config, Quiet(), models_for(config))


def test_of_sdxl_they_are_those_of_diffusers_and_read_pooled_text_and_sizes(
    tmp_path: Path, shelf: Shelf
) -> None:
    from diffusers import StableDiffusionXLControlNetPipeline

    pipe = tiny.sdxl(tmp_path)
    pipe.save_pretrained(tmp_path / "sdxl")
    network = tiny.controlnet(pipe.unet)
    network.save_pretrained(tmp_path / "net")
    shelf.maps[0].save(tmp_path / "map.png")
    base = load_base(tmp_path / "sdxl")
    for part in (
        base.predictor.network,
        base.pipeline.text_encoder,
        base.pipeline.text_encoder_2,
        network,
        pipe,
    ):
        part.to(dtype=torch.float64)
    wanted = [f"file:{tmp_path / 'map.png'}:{tmp_path / 'net'}:0.7"]
    (control,) = load_controls(wanted, base, size=16, heard=lambda told: window(shelf, 0.2, 0.9))
    control.network.double()
    made = Ingredients(base=base, prompt="a teapot", size=16, controls_of_all=(control,))
    drawn = sample(
        GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT})), pipe.scheduler, noise(), steps=STEPS
    )
    told = tiny.quiet(StableDiffusionXLControlNetPipeline(**pipe.components, controlnet=network))(
        "a teapot",
        image=shelf.maps[0],
        num_images_per_prompt=2,
        height=16,
        width=16,
        num_inference_steps=STEPS,
        guidance_scale=WEIGHT,
        controlnet_conditioning_scale=0.7,
        control_guidance_start=0.2,
        control_guidance_end=0.9,
        latents=noise(),
        output_type="latent",
    ).images
    torch.testing.assert_close(drawn, told, **CLOSE)


def test_text_alone_hears_it_unless_all_shall(shelf: Shelf) -> None:
    """By hand on the first step: the residuals of diffusers' own network in the half that hears them."""
    controls = in_float64(shelf, shelf.written[:1])
    t, x, network = torch.tensor([100, 900]), noise(), shelf.networks[0]
    with torch.no_grad():
        text, null = shelf.pipe.encode_prompt("a teapot", "cpu", 2, True)
        said = {}
        for name, words in (("text", text), ("null", null)):
            down, middle = network(
                x, t, words, controls[0].picture.double().expand(2, -1, -1, -1), return_dict=False
            )
            residuals = dict(down_block_additional_residuals=down, mid_block_additional_residual=middle)
            said[name] = shelf.pipe.unet(x, t, words).sample
            said[f"{name} with"] = shelf.pipe.unet(x, t, words, **residuals).sample
    for heard, null_said in (("controls", said["null"]), ("controls_of_all", said["null with"])):
        given: dict[str, Any] = {heard: controls}
        made = Ingredients(base=shelf.base, prompt="a teapot", size=16, **given)
        guided = GuidedNoise(picture_guidance("cfg", made, {"text": WEIGHT}))
        wanted = null_said + WEIGHT * (said["text with"] - null_said)
        torch.testing.assert_close(guided(x, t), wanted, **CLOSE)


def test_samples_at_different_noise_hear_it_each_at_its_own(shelf: Shelf) -> None:
    (control,) = in_float64(shelf, shelf.written[:1], heard=lambda told: (0.5, 1.0))
    (always,) = in_float64(shelf, shelf.written[:1])
    told, t = as_conditioning(shelf.base.condition(["a teapot"])), torch.tensor([100, 900])
    windowed, heard, silent = (
        shelf.base.predictor.predict(noise(), t, [told.following(*controls)])[0]
        for controls in ((control,), (always,), ())
    )
    torch.testing.assert_close(windowed[0], silent[0], **CLOSE)
    torch.testing.assert_close(windowed[1], heard[1], **CLOSE)
    assert (heard[0] - silent[0]).abs().max() > 1e-3


def test_every_branch_that_reads_text_follows_all_controls_and_its_own(shelf: Shelf) -> None:
    shared, own = (in_float64(shelf, [text]) for text in shelf.written)
    made = Ingredients(
        base=shelf.base,
        prompt="a teapot",
        size=16,
        controls_of_all=shared,
        wanted={"a vase": 1.0},
        unwanted={"a cup": 1.0},
        extras={"shape": Extra("a pot", 1.0, controls=own)},
    )
    guidance = picture_guidance("composable", made, {})
    followed = {branch.name: as_conditioning(branch.condition).controls for branch in guidance.branches}
    assert followed == {
        "null": shared, "text": shared, "and a vase": shared, "not a cup": shared, "shape": (*shared, *own),
    }  # fmt: skip


def test_a_control_that_no_branch_would_follow_is_refused(shelf: Shelf) -> None:
    controls = in_float64(shelf, shelf.written[:1])
    made = Ingredients(base=shelf.base, prompt="a teapot", size=16, controls=controls)
    refuse_unheard(picture_guidance("cfg", made, {}), made)
    silent = picture_guidance("cfg", Ingredients(base=shelf.base, prompt="a teapot", size=16), {})
    with pytest.raises(BadInput, match="choose a recipe with the term text"):
        refuse_unheard(silent, made)
