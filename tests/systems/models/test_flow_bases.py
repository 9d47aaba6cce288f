"""Stable Diffusion 3 and Flux, tiny and random, against diffusers' own pipelines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_flow as tiny
from safetensors.torch import save_file
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.configs.picture import PictureConfig
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.sampling import sample
from slipcast.pipeline.drawing.editing import size_of
from slipcast.pipeline.run.prompt_syntax import notes_on
from slipcast.systems.domain.methods import method_for
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.embeddings import add_embedding
from slipcast.systems.guided.image_prompts import load_image_prompts
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.controlnet import load_controls
from slipcast.systems.models.known import ALIASES
from slipcast.systems.models.uses import uses_of_base

PROMPT, NEGATIVE = "a teapot", "blue"
STEPS = 5
FLOW_ALIASES = ("sd3", "sd35", "flux-dev", "flux-schnell")
MAKERS: dict[str, Callable[[Path], Any]] = {
    "sd3": tiny.sd3,
    "sd3-no-t5": lambda folder: tiny.sd3(folder, t5_there=False),
    "sd3-dynamic": lambda folder: tiny.sd3(folder, scheduler=tiny.DEV),
    "flux-dev": tiny.flux,
    "flux-schnell": lambda folder: tiny.flux(folder, guided=False),
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Base]]:
    """Each kind: diffusers' pipeline, and the base read from its folder."""
    made: dict[str, tuple[Any, Base]] = {}

    def of(kind: str) -> tuple[Any, Base]:
        if kind not in made:
            place = tmp_path_factory.mktemp(kind)
            pipe = MAKERS[kind](place)
            pipe.save_pretrained(place / "base")
            made[kind] = pipe, load_base(place / "base", dtype="float32")
        return made[kind]

    return of


def noise(height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))


def ours(
    base: Base, weight: float, *, negative: str | None = None, like: Tensor | None = None, **more: Any
) -> Tensor:
    like = noise() if like is None else like
    made = Ingredients(base, PROMPT, negatives=() if negative is None else (negative,))
    guided = GuidedNoise(picture_guidance("cfg", made, {"text": weight}))
    return sample(guided, base.sampler("euler"), like, steps=STEPS, **more)


def theirs(pipe: Any, like: Tensor | None = None, **told: Any) -> Tensor:
    start: Any = noise() if like is None else like
    flux, (height, width), count = "Flux" in type(pipe).__name__, start.shape[-2:], len(start)
    if flux:
        start = pipe._pack_latents(start, count, 4, height, width)
    if pipe.config.get("text_encoder_3") != (None, None):
        told = {"max_sequence_length": 16} | told
    made = pipe(
        [PROMPT] * count, height=2 * height, width=2 * width, num_inference_steps=STEPS, latents=start,
        output_type="latent", **told,
    ).images  # fmt: skip
    return pipe._unpack_latents(made, 2 * height, 2 * width, 2) if flux else made


@pytest.mark.parametrize("negative", [None, NEGATIVE])
@pytest.mark.parametrize("weight", [1.0, 4.0])
@pytest.mark.parametrize("kind", ["sd3", "sd3-no-t5", "sd3-dynamic"])
def test_stable_diffusion_3_draws_what_diffusers_draws(
    shelf, kind: str, weight: float, negative: str | None
) -> None:
    pipe, base = shelf(kind)
    expected = theirs(
        pipe, guidance_scale=weight, negative_prompt=None if negative is None else [negative] * 2
    )
    assert expected.std() > 0.3
    torch.testing.assert_close(ours(base, weight, negative=negative), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("true_cfg", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["flux-dev", "flux-schnell"])
def test_flux_draws_what_diffusers_draws(shelf, kind: str, true_cfg: float) -> None:
    pipe, base = shelf(kind)
    expected = theirs(pipe, guidance_scale=3.5, true_cfg_scale=true_cfg, negative_prompt=[NEGATIVE] * 2)
    assert expected.std() > 0.3
    torch.testing.assert_close(ours(base, true_cfg, negative=NEGATIVE), expected, atol=1e-5, rtol=1e-5)


def test_what_dev_is_told_of_its_guidance_is_heard(shelf) -> None:
    pipe, base = shelf("flux-dev")
    expected = theirs(pipe, guidance_scale=7.0)
    torch.testing.assert_close(
        ours(replace(base, embedded_guidance=7.0), 1.0), expected, atol=1e-5, rtol=1e-5
    )
    assert (expected - ours(base, 1.0)).abs().max() > 1e-3
    assert shelf("flux-schnell")[1].condition([PROMPT]).guidance is None


@pytest.mark.parametrize("kind", ["sd3", "flux-dev"])
def test_pictures_need_not_be_square(shelf, kind: str) -> None:
    pipe, base = shelf(kind)
    like = noise(12, 6)
    expected = theirs(pipe, like, guidance_scale=3.5 if kind == "flux-dev" else 1.0)
    torch.testing.assert_close(ours(base, 1.0, like=like), expected, atol=1e-5, rtol=1e-5)


def test_an_edit_equals_the_img2img_pipeline(shelf) -> None:
    from diffusers import StableDiffusion3Img2ImgPipeline

    pipe, base = shelf("sd3")
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    expected = tiny.quiet(StableDiffusion3Img2ImgPipeline(**pipe.components))(
        PROMPT, image=picture, strength=0.6, num_inference_steps=STEPS, guidance_scale=4.0, max_sequence_length=16,
        height=16, width=16, generator=torch.Generator().manual_seed(3), output_type="latent",
    ).images  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    start = base.codec.encode(picture)
    vae, (mean, _, scale) = base.pipeline.vae, base.codec._mean_std_scaling("cpu")
    start = (vae.encode(picture * 2 - 1).latent_dist.sample(generator) - mean) * scale
    like = torch.randn(1, 4, 8, 8, generator=generator)
    found = ours(base, 4.0, like=like, start=start, strength=0.6)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_pictures_there_and_back_as_diffusers_has_them(shelf, kind: str) -> None:
    _, base = shelf(kind)
    assert base.latent_shape == (4, 8, 8) and (base.picture_size, base.cell) == (16, 4)
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    config = base.pipeline.vae.config
    plain = base.pipeline.vae.encode(picture * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(
        base.encode(picture), (plain - config.shift_factor) * config.scaling_factor, atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_what_these_families_do_not_take_is_one_sentence(shelf, kind: str, tmp_path: Path) -> None:
    _, base = shelf(kind)
    for refused, sentence in (
        (
            lambda: base.sampler("dpm++"),
            "dpm\\+\\+ is not for flow models, as this base is one; choose euler",
        ),
        (lambda: base.sampler("eulr"), "did you mean euler"),
        (
            lambda: load_controls(["canny:a.png"], base, size=16, heard=lambda one: (0.0, 1.0)),
            "no ControlNets for",
        ),
        (lambda: load_image_prompts(["a.png"], base), "no IP-Adapters for models of the kind of"),
        (
            lambda: add_embedding(base, embedding(tmp_path)),
            "reads prompts in words alone, so it cannot learn",
        ),
        (lambda: method_for("null-text", base), "no null-text domains; choose --method lora or full"),
    ):
        with pytest.raises(BadInput, match=sentence):
            refused()
    assert method_for(None, base) == "lora"


def embedding(folder: Path) -> Path:
    save_file({"emb_params": torch.zeros(1, 12)}, folder / "cat.safetensors")
    return folder / "cat.safetensors"


def test_sizes_that_do_not_fit_come_with_one_that_does(shelf) -> None:
    _, base = shelf("sd3")
    assert size_of(PictureConfig(PROMPT, size="20x12"), base) == (12, 20)
    with pytest.raises(BadInput, match=r"multiple of 4 .* try 24x16"):
        size_of(PictureConfig(PROMPT, size="22x16"), base)
    with pytest.raises(BadInput, match="at most 48 pixels along a side, as far as its network knows places"):
        size_of(PictureConfig(PROMPT, size="52x16"), base)


def test_prompts_are_read_as_by_diffusers_and_the_rest_is_told(shelf) -> None:
    _, base = shelf("sd3")
    assert not base.reads_weights and base.unknown_words("qzxv") == {}
    assert base.cut_off("a teapot") == "" and base.cut_off("a teapot of blue porcelain").endswith("porcelain")
    plain, weighed = base.condition(["a teapot"]), base.condition(["a (teapot:1.4)"])
    assert plain.text is not None and weighed.text is not None and torch.equal(plain.text, weighed.text)
    (note,) = notes_on("a (teapot:1.4)", base)
    assert "reads all words alike: weights and BREAK" in note
    assert shelf("sd3-no-t5")[1].condition(["a", "b"]).text.shape == (2, 16 + 256, tiny.T5_WIDTH)


def test_a_flow_folder_says_how_it_is_used(tmp_path: Path) -> None:
    for name, make in (("dev", MAKERS["flux-dev"]), ("sd3", MAKERS["sd3"])):
        make(tmp_path).save_pretrained(tmp_path / name)
    dev, sd3 = (uses_of_base(tmp_path / name) for name in ("dev", "sd3"))
    assert (dev.scheduler, sd3.scheduler) == ("euler", "euler")
    assert dev.weights["picture"] == {"text": 1.0} and not sd3.weights


def test_their_aliases_name_hub_and_licence() -> None:
    told = {name: (ALIASES[name].hub_id.partition("/")[0], ALIASES[name].licence) for name in FLOW_ALIASES}
    assert told == {
        "sd3": ("stabilityai", "stabilityai-ai-community"),
        "sd35": ("stabilityai", "stabilityai-ai-community"),
        "flux-dev": ("black-forest-labs", "flux-1-dev-non-commercial-license"),
        "flux-schnell": ("black-forest-labs", "apache-2.0"),
    }


@pytest.mark.parametrize("kind", ["sd3", "flux-dev"])
def test_a_part_that_is_missing_or_strange_is_one_sentence(shelf, kind: str, tmp_path: Path) -> None:
    pipe, _ = shelf(kind)
    pipe.save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "text_encoder_2")
    with pytest.raises(BadInput, match="lacks its text_encoder_2"):
        load_base(tmp_path)
