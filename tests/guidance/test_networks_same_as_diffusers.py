"""SDXL, ControlNet, inpainting, DiT and LoRA against diffusers' own pipelines, on tiny random networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.guidance import (
    RECIPES,
    AdaptedPredictor,
    Branch,
    Conditioning,
    Control,
    DiTPredictor,
    GuidedNoise,
    UNetPredictor,
    from_diffusers,
    sample,
)
from slipcast.guidance.low_rank import LowRank, put_in
from slipcast.guidance.recipes import around

CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=0)
pytestmark = pytest.mark.usefixtures("in_float64")


def noise(batch: int = 2, channels: int = 4) -> torch.Tensor:
    return torch.randn(batch, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def picture(seed: int = 5) -> torch.Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def predictor_of(pipe: Any) -> UNetPredictor:
    return UNetPredictor(
        pipe.unet,
        schedule=from_diffusers(pipe.scheduler),
        prediction_type=pipe.scheduler.config.prediction_type,
        latent_space="tiny",
        name="tiny",
    )


@pytest.fixture(scope="module")
def sd(tmp_path_factory) -> Any:
    return tiny.stable_diffusion(tmp_path_factory.mktemp("sd"))


def texts(pipe: Any, prompt: str = "a teapot", negative: str = "") -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return pipe.encode_prompt(prompt, "cpu", 1, True, negative_prompt=negative)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_negative_prompt(tmp_path, prediction_type) -> None:
    pipe = tiny.stable_diffusion(tmp_path, prediction_type=prediction_type)
    text, negative = texts(pipe, negative="grey")
    own = predictor_of(pipe)
    guidance = RECIPES["negative_prompt"](Branch("negative", own, negative), Branch("text", own, text), 5.0)
    theirs = pipe(
        ["a teapot"] * 2,
        negative_prompt=["grey"] * 2,
        num_inference_steps=6,
        guidance_scale=5.0,
        latents=noise(),
        output_type="latent",
    ).images
    torch.testing.assert_close(
        sample(GuidedNoise(guidance), pipe.scheduler, noise(), steps=6), theirs, **CLOSE
    )


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_with_a_mask(sd, strength) -> None:
    from diffusers import StableDiffusionInpaintPipeline

    pipe = tiny.quiet(StableDiffusionInpaintPipeline(**sd.components, requires_safety_checker=False))
    start = 0.5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 2:10] = 1
    theirs = pipe(
        ["a teapot"] * 2,
        image=start,
        mask_image=mask,
        height=16,
        width=16,
        strength=strength,
        num_inference_steps=5,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
        masked_image_latents=torch.zeros(2, 4, 8, 8),
    ).images
    text, null = texts(pipe)
    guided = GuidedNoise(
        RECIPES["cfg"](
            Branch("null", predictor_of(pipe), null), Branch("text", predictor_of(pipe), text), 5.0
        )
    )
    small = torch.nn.functional.interpolate(mask, (8, 8))
    ours = sample(guided, pipe.scheduler, noise(), steps=5, start=start, strength=strength, mask=small)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(ours * (1 - small), start * (1 - small), **CLOSE)


@pytest.mark.parametrize("scales", [(1.0,), (0.7, 0.4)])
def test_controlnets_in_both_branches_as_diffusers_puts_them(sd, scales) -> None:
    from diffusers import StableDiffusionControlNetPipeline

    networks = [tiny.controlnet(sd.unet, seed) for seed, _ in enumerate(scales)]
    pictures = [picture(seed) for seed, _ in enumerate(scales)]
    pipe = tiny.quiet(
        StableDiffusionControlNetPipeline(**sd.components, controlnet=networks, requires_safety_checker=False)
    )
    theirs = pipe(
        ["a teapot"] * 2,
        image=[one.expand(2, -1, -1, -1) for one in pictures],
        height=16,
        width=16,
        controlnet_conditioning_scale=list(scales),
        num_inference_steps=6,
        guidance_scale=5.0,
        latents=noise(),
        output_type="latent",
    ).images
    own = predictor_of(sd)
    controls = [Control(n, p, s) for n, p, s in zip(networks, pictures, scales, strict=True)]
    text, null = (Conditioning(text=one).following(*controls) for one in texts(sd))
    guided = GuidedNoise(RECIPES["cfg"](Branch("null", own, null), Branch("text", own, text), 5.0))
    ours = sample(guided, sd.scheduler, noise(), steps=6)
    torch.testing.assert_close(ours, theirs, **CLOSE)
    plain = GuidedNoise(RECIPES["cfg"](Branch("null", own, null.text), Branch("text", own, text.text), 5.0))
    assert (sample(plain, sd.scheduler, noise(), steps=6) - ours).abs().max() > 0.01


def test_residuals_enter_the_control_branch_only(sd) -> None:
    """One forward of the UNet for both branches, and the base hears nothing of the ControlNet."""
    own, network = predictor_of(sd), tiny.controlnet(sd.unet)
    text, null = texts(sd)
    t = torch.tensor([100, 900])
    together = own.predict(noise(), t, [null, Conditioning(text=text).following(Control(network, picture()))])
    torch.testing.assert_close(together[0], own.predict(noise(), t, [null])[0], **CLOSE)
    with torch.no_grad():
        down, middle = network(
            noise(), t, text.expand(2, -1, -1), picture().expand(2, -1, -1, -1), return_dict=False
        )
        alone = sd.unet(
            noise(),
            t,
            text.expand(2, -1, -1),
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
    torch.testing.assert_close(together[1], alone, **CLOSE)
    silent = Conditioning(text=text).following(Control(network, picture(), scale=0.0))
    torch.testing.assert_close(
        own.predict(noise(), t, [silent])[0], own.predict(noise(), t, [text])[0], **CLOSE
    )


def test_sdxl(tmp_path) -> None:
    pipe = tiny.sdxl(tmp_path)
    theirs = pipe(
        ["a teapot"] * 2,
        height=16,
        width=16,
        num_inference_steps=6,
        guidance_scale=5.0,
        latents=noise(),
        output_type="latent",
    ).images
    with torch.no_grad():
        text, null, pooled, null_pooled = pipe.encode_prompt("a teapot", device="cpu")
    sizes = torch.tensor([[16.0, 16, 0, 0, 16, 16]])
    own = predictor_of(pipe)
    told = Conditioning(text=text, pooled=pooled, time_ids=sizes)
    guided = GuidedNoise(
        RECIPES["cfg"](
            Branch("null", own, replace(told, text=null, pooled=null_pooled)), Branch("text", own, told), 5.0
        )
    )
    torch.testing.assert_close(sample(guided, pipe.scheduler, noise(), steps=6), theirs, **CLOSE)
    with pytest.raises(ValueError, match="needs pooled text"):
        own.predict(noise(), torch.tensor([1, 2]), [text])


def dit_branches(pipe: Any, **options: Any) -> tuple[Branch, Branch]:
    own = DiTPredictor(
        pipe.transformer,
        schedule=from_diffusers(pipe.scheduler),
        prediction_type=pipe.scheduler.config.prediction_type,
        latent_space="tiny",
        name="dit",
        **options,
    )
    null, label = (Conditioning(labels=torch.tensor([k])) for k in (own.null_label, 7))
    return Branch("null", own, null), Branch("class", own, label)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_dit(weight, prediction_type) -> None:
    pipe = tiny.dit()
    pipe.scheduler.register_to_config(prediction_type=prediction_type)
    seeded = torch.Generator().manual_seed(0)
    theirs = pipe([7, 7], guidance_scale=weight, num_inference_steps=6, generator=seeded, output_type="pt")
    null, label = dit_branches(pipe)
    latents = sample(GuidedNoise(RECIPES["cfg"](null, label, weight)), pipe.scheduler, noise(), steps=6)
    with torch.no_grad():
        ours = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    torch.testing.assert_close((ours / 2 + 0.5).clamp(0, 1), theirs.images, **CLOSE)


def test_dit_guides_three_channels_and_takes_the_variance_from_the_fine_tuned_model() -> None:
    pipe = tiny.dit()
    null, label = dit_branches(pipe, learned_variance=True)
    guidance = replace(RECIPES["domain_guidance"](null, label, 1.5), channels=3, rest=label)
    x_t, t = noise(), torch.tensor([10, 900])
    said = GuidedNoise(guidance)(x_t, t)
    of_null, of_label = (branch.predictor.predict(x_t, t, [branch.condition])[0] for branch in (null, label))
    assert said.shape == (2, 8, 8, 8)
    torch.testing.assert_close(said[:, :3], of_null[:, :3] + 1.5 * (of_label - of_null)[:, :3])
    torch.testing.assert_close(said[:, 3:], of_label[:, 3:])
    with pytest.raises(ValueError, match="cannot drop its base"):
        GuidedNoise(guidance).delta(x_t, t)
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    with pytest.raises(ValueError, match="stand behind eps"):
        dit_branches(pipe, learned_variance=True)


def test_a_learned_variance_reaches_the_ddpm_sampler() -> None:
    from diffusers import DDPMScheduler

    pipe = tiny.dit()
    null, label = dit_branches(pipe, learned_variance=True)
    learned = DDPMScheduler(variance_type="learned_range", clip_sample=False)
    guided = GuidedNoise(replace(around(null, (label, 1.5)), channels=4, rest=label))
    ours = sample(guided, learned, noise(), steps=5, generator=torch.Generator().manual_seed(1))
    x, generator = noise().double(), torch.Generator().manual_seed(1)
    learned.set_timesteps(5)
    for t in learned.timesteps:
        out = guided(x, t.expand(2))
        x = learned.step(out, int(t), x, generator=generator, return_dict=False)[0]
    torch.testing.assert_close(ours, x, **CLOSE)
    # Another sampler reads eps alone.
    assert sample(guided, pipe.scheduler, noise(), steps=2).shape == noise().shape


def test_a_lora_is_a_branch_of_the_same_network(tmp_path) -> None:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    theirs, pipe = tiny.stable_diffusion(tmp_path), tiny.stable_diffusion(tmp_path)
    plain, t = predictor_of(pipe), torch.tensor([100, 900])
    text, _ = texts(pipe)
    before = plain.predict(noise(), t, [text])[0]
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["to_q", "to_v", "conv1"], init_lora_weights=False)
    theirs.unet.add_adapter(config, adapter_name="porcelain")
    with torch.no_grad():
        expected = theirs.unet(noise(), t, text.expand(2, -1, -1)).sample
    state = get_peft_model_state_dict(theirs.unet, adapter_name="porcelain")
    layers = {key.split(".lora_")[0] for key in state}
    put_in(
        pipe.unet,
        "porcelain",
        {one: LowRank(*(state[f"{one}.lora_{x}.weight"] for x in "AB"), scale=4.0) for one in layers},
    )
    adapted = AdaptedPredictor(plain, {"porcelain": 1.0}, name="porcelain")
    guided = GuidedNoise(around(Branch("prior", plain, text), (Branch("lora", adapted, text), 2.0)))
    torch.testing.assert_close(adapted.predict(noise(), t, [text])[0], expected, **CLOSE)
    torch.testing.assert_close(guided(noise(), t), before + 2 * (expected - before), **CLOSE)
    # The plain branch never hears the adapter, whichever was asked last.
    torch.testing.assert_close(plain.predict(noise(), t, [text])[0], before, atol=0, rtol=0)
    half = AdaptedPredictor(plain, {"porcelain": 0.0}, name="silent")
    torch.testing.assert_close(half.predict(noise(), t, [text])[0], before, **CLOSE)
