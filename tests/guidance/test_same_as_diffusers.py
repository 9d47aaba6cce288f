"""The CFG recipe and the sampler against diffusers' own pipelines, on a tiny random Stable Diffusion."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slipcast.guidance import RECIPES, Branch, GuidedNoise, UNetPredictor, from_diffusers, sample

PROMPT = "a teapot"
CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=0)
pytestmark = pytest.mark.usefixtures("in_float64")


@pytest.fixture(scope="module")
def parts(tmp_path_factory, in_float64, tiny_unet) -> dict[str, Any]:
    """Everything of a pipeline but its scheduler."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=8).eval()
    tokenizer = make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return {
        "vae": vae,
        "text_encoder": CLIPTextModel(text).eval(),
        "tokenizer": tokenizer,
        "unet": copy.deepcopy(tiny_unet).double(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def make_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "te", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt e\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def pipeline(kind: str, parts: dict[str, Any], scheduler: str, prediction_type: str) -> Any:
    import diffusers

    made = getattr(diffusers, scheduler)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction_type,
        steps_offset=1,
        **({"clip_sample": False} if scheduler == "DDIMScheduler" else {}),
    )
    pipe = getattr(diffusers, kind)(**parts, scheduler=made)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def guided_by_us(pipe: Any, weight: float) -> GuidedNoise:
    with torch.no_grad():
        text, null = pipe.encode_prompt(PROMPT, "cpu", 1, do_classifier_free_guidance=True)
    predictor = UNetPredictor(
        pipe.unet,
        schedule=from_diffusers(pipe.scheduler),
        prediction_type=pipe.scheduler.config.prediction_type,
        latent_space="tiny",
        name="tiny",
    )
    return GuidedNoise(
        RECIPES["cfg"](Branch("null", predictor, null), Branch("text", predictor, text), weight)
    )


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "scheduler", ["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"]
)
@pytest.mark.parametrize("weight", [1.0, 6.5])
def test_cfg_recipe_equals_stable_diffusion_pipeline(parts, scheduler, prediction_type, weight) -> None:
    pipe = pipeline("StableDiffusionPipeline", parts, scheduler, prediction_type)
    theirs = pipe(
        [PROMPT] * 2,
        num_inference_steps=8,
        guidance_scale=weight,
        latents=noise(),
        height=8,
        width=8,
        output_type="latent",
    ).images
    ours = sample(guided_by_us(pipe, weight), pipe.scheduler, noise(), steps=8)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_a_start_equals_the_img2img_pipeline(parts) -> None:
    pipe = pipeline("StableDiffusionImg2ImgPipeline", parts, "DDIMScheduler", "epsilon")
    start = 0.5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    theirs = pipe(
        [PROMPT] * 2,
        image=start,
        strength=0.6,
        num_inference_steps=10,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).images
    ours = sample(guided_by_us(pipe, 5.0), pipe.scheduler, noise(), steps=10, start=start, strength=0.6)
    torch.testing.assert_close(ours, theirs, **CLOSE)
