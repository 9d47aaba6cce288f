"""Checkpoints in one file: the same model as the folder, every name counted, and a sentence for everything else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import original_files as files
from safetensors.torch import load_file, save_file
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.guidance import (
    Branch,
    GuidedNoise,
    make_null_text,
    null_text_features,
    sample,
    save_null_text,
    scheduler_named,
)
from slipcast.guidance.recipes import cfg
from slipcast.systems.domain.model import load_domain
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import precision
from slipcast.systems.models.base import Base, load_base
from slipcast.systems.models.families.sd import SD
from slipcast.systems.models.families.sdxl import SDXL
from slipcast.systems.models.other_vae import read_vae
from slipcast.systems.models.single_file.checkpoint import names_the_noise
from slipcast.systems.models.single_file.clip_tokenizer import clip_tokenizer
from slipcast.systems.models.single_file.configs import unet_config
from slipcast.systems.models.single_file.names import unet_name
from slipcast.systems.models.single_file.original import Original

ENTER = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path, Path]]:
    """{family: (pipeline, its folder, its file)}."""
    place = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for family in files.FAMILIES:
        pipe = files.pipeline(family)
        files.save(pipe, family, place / family)
        found[family] = (
            pipe,
            place / family,
            files.write(pipe, family, place / f"{family}-file.safetensors"),
        )
    return found


def pictures(base: Base) -> Tensor:
    """Two guided pictures of 64 pixels."""
    null, text = (
        Branch(name, base.predictor, base.condition([words], size=64))
        for name, words in (("null", ""), ("text", "a photo of a teapot"))
    )
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    sampler = scheduler_named("dpm++", base.pipeline.scheduler)
    return base.decode(sample(GuidedNoise(cfg(null, text, 3.0)), sampler, noise, steps=4))


@pytest.mark.parametrize("family", files.FAMILIES)
def test_a_file_draws_what_its_folder_draws(made, family: str) -> None:
    pipe, folder, file = made[family]
    ours, theirs = load_base(file), load_base(folder)
    for part, network in ours.pipeline.components.items():
        if isinstance(network, torch.nn.Module):
            mine, other = network.state_dict(), getattr(theirs.pipeline, part).state_dict()
            assert mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)
    # Equal but for where in memory a library puts equal numbers, which may change the last bit.
    torch.testing.assert_close(pictures(ours), pictures(theirs), atol=1e-5, rtol=0)
    assert (
        ours.family is theirs.family
        and ours.predictor.prediction_type == pipe.scheduler.config.prediction_type
    )
    assert ours.latent_shape == theirs.latent_shape and ours.picture_size == theirs.picture_size
    # By these a domain knows its base, and guidance knows which models may be mixed.
    assert ours.network_identity == theirs.network_identity
    assert ours.predictor.latent_space == theirs.predictor.latent_space
    for part in ("unet", "vae"):
        told = [
            {key: value for key, value in getattr(base.pipeline, part).config.items() if key[0] != "_"}
            for base in (ours, theirs)
        ]
        differ = {key for key in told[0] if told[0][key] != told[1][key]}
        assert differ <= ({"sample_size"} if part == "vae" else set())  # by which nothing is drawn


@pytest.mark.parametrize("family", files.FAMILIES)
def test_the_network_is_the_one_that_diffusers_reads(made, family: str) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    pipe, _, file = made[family]
    tensors, base = load_file(file), load_base(file)
    for convert, part in ((convert_ldm_unet_checkpoint, "unet"), (convert_ldm_vae_checkpoint, "vae")):
        theirs = convert(dict(tensors), getattr(pipe, part).config)
        ours = getattr(base.pipeline, part).state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)


# Of unet/config.json on the hub: stable-diffusion-v1-5, stable-diffusion-2-1, stable-diffusion-xl-base-1.0.
REAL: dict[str, dict[str, Any]] = {
    "Stable Diffusion 1": {
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "cross_attention_dim": 768, "attention_head_dim": 8,
        "sample_size": 64,
    },
    "Stable Diffusion 2": {
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3, "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True, "sample_size": 96,
    },
    "Stable Diffusion XL": {
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"], "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20], "use_linear_projection": True, "transformer_layers_per_block": [1, 2, 10],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816, "sample_size": 128,
    },
}  # fmt: skip
PARAMETERS = {
    "Stable Diffusion 1": 859_520_964,
    "Stable Diffusion 2": 865_910_724,
    "Stable Diffusion XL": 2_567_463_684,
}


@pytest.mark.parametrize("original", [*SD.originals, *SDXL.originals], ids=lambda one: one.name)
def test_configs_of_the_real_networks_follow_from_their_shapes(original: Original) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        real = UNet2DConditionModel(**REAL[original.name])
        shapes = {name: tuple(value.shape) for name, value in files.original_unet(real).items()}
        side = original.latents["v_prediction"]
        made = UNet2DConditionModel(**unet_config(shapes, heads=original.heads, sample_size=side))
    assert sum(parameter.numel() for parameter in real.parameters()) == PARAMETERS[original.name]
    assert {name: value.shape for name, value in made.state_dict().items()} == {
        name: value.shape for name, value in real.state_dict().items()
    }
    told = [{**one.config, "_use_default_values": None} for one in (made, real)]
    for one in told:  # one number stands for the same number at every level
        depths = one["transformer_layers_per_block"]
        one["transformer_layers_per_block"] = [depths] * 4 if depths == 1 else list(depths)
    assert told[0] == told[1]
    assert {unet_name(name, 2) for name in shapes} == set(real.state_dict())


def test_a_domain_of_the_folder_is_one_of_the_file(made, tmp_path: Path) -> None:
    base = load_base(made["sd1"][1])
    told = base.condition(["a photo"])
    noise, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([100, 900])
    save_null_text(
        make_null_text(base.pipeline.unet, null_text_features(base.pipeline.unet, told, noise, t)), tmp_path
    )
    card = {"name": "toy", "base_identity": base.network_identity}
    (tmp_path / "domain.json").write_text(json.dumps(card))
    domain = load_domain(tmp_path, load_base(made["sd1"][2]))
    assert domain.predictor.predict(noise, t, [domain.condition])[0].isfinite().all()
    with pytest.raises(BadInput, match="was trained on other weights"):
        load_domain(tmp_path, load_base(made["sd2"][2]))


def test_tokens_are_those_of_clip() -> None:
    """The numbers that openai/CLIP's README and transformers' documentation print for these sentences."""
    words = clip_tokenizer()
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert words("a diagram").input_ids == [49406, 320, 22697, 49407]
    assert len(words) == 49408 and words.model_max_length == 77
    padded = [clip_tokenizer(pad)("a", padding="max_length").input_ids[-1] for pad in ("<|endoftext|>", "!")]
    assert padded == [49407, 0]


def test_a_checkpoint_of_a_base_shares_what_is_the_same(made, tmp_path: Path) -> None:
    pipe, folder, _ = made["sd1"]
    changed = pipe.unet.conv_out.bias.detach() + 0.25
    file = files.write(
        pipe, "sd1", tmp_path / "model.lora.safetensors", model__diffusion_model__out__2__bias=changed
    )
    base = load_base(folder)
    custom: Any = load_custom(str(file), base)
    assert (
        custom.pipeline.vae is base.pipeline.vae
        and custom.pipeline.text_encoder is base.pipeline.text_encoder
    )
    x, t, told = torch.zeros(1, 4, 16, 16), torch.tensor([500]), base.condition(["a vase"])
    plain, other = (one.predictor.predict(x, t, [told])[0] for one in (base, custom))
    torch.testing.assert_close(other, plain + 0.25)
    assert custom.identity != base.identity != load_base(file).network_identity


@pytest.mark.parametrize(
    ("notes", "kind"), [({"modelspec.prediction_type": "v"}, "v_prediction"), ({}, "epsilon")]
)
def test_a_file_says_what_it_predicts(made, tmp_path: Path, notes: dict[str, str], kind: str) -> None:
    file = files.write(made["sd1"][0], "sd1", tmp_path / "file.safetensors", notes)
    assert load_base(file).predictor.prediction_type == kind


def test_stable_diffusion_2_is_asked_what_it_predicts(made, tmp_path: Path) -> None:
    class Network:
        config = type("Config", (), {"in_channels": 4})

        def __init__(self, of_noise: float) -> None:
            self.of_noise = of_noise

        def __call__(self, x: Tensor, t: Tensor, text: Tensor) -> Any:
            picture = torch.randn(x.shape, generator=torch.Generator().manual_seed(9)).cumsum(-1)
            return type("Answer", (), {"sample": self.of_noise * x - (1 - self.of_noise) * picture})

    assert names_the_noise(Network(0.99), torch.zeros(1))
    assert not names_the_noise(Network(0.07), torch.zeros(1))
    silent = torch.zeros_like(made["sd2"][0].unet.conv_out.weight)  # no answer is not the noise
    base = load_base(
        files.write(
            made["sd2"][0],
            "sd2",
            tmp_path / "file.safetensors",
            {},
            model__diffusion_model__out__2__weight=silent,
        )
    )
    assert base.predictor.prediction_type == "v_prediction" and base.latent_shape == (4, 96, 96)


OTHERS = {
    "an inpainting model": {ENTER: torch.zeros(64, 9, 3, 3)},
    "a model that edits pictures": {ENTER: torch.zeros(64, 8, 3, 3)},
    "a video model": {"model.diffusion_model.input_blocks.1.0.time_stack.in_layers.2.weight": torch.zeros(4)},
    "AnimateDiff": {"down_blocks.0.motion_modules.0.temporal_transformer.norm.weight": torch.zeros(4)},
    "the refiner": {ENTER: torch.zeros(4, 4, 3, 3), "conditioner.embedders.0.model.ln_final.bias": torch.zeros(4)},
    "a Flux model": {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": torch.zeros(4)},
    "Stable Diffusion 3": {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": torch.zeros(4)},
    "an IP-Adapter": {"ip_adapter.1.to_k_ip.weight": torch.zeros(4, 4)},
    "a LoRA": {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.zeros(4, 4)},
    "a ControlNet": {"control_model.input_blocks.0.0.weight": torch.zeros(4)},
    "an autoencoder alone": {"encoder.conv_in.weight": torch.zeros(4), "decoder.conv_in.weight": torch.zeros(4)},
    "one part of a model in diffusers": {"down_blocks.0.resnets.0.conv1.weight": torch.zeros(4)},
    "a textual-inversion": {"emb_params": torch.zeros(2, 4)},
    "a network without the text encoder": {ENTER: torch.zeros(4, 4, 3, 3)},
    "1 tensors, such as x,": {"x": torch.zeros(3)},
    "no tensors": {},
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_other_files_are_named_and_refused(made, tmp_path: Path, what: str) -> None:
    tensors = OTHERS[what]
    if what.startswith(("an inpainting", "a model that edits")) or what == "a video model":
        tensors = files.original(made["sd1"][0], "sd1") | tensors
    save_file(tensors, tmp_path / "sd15-plain.safetensors")
    with pytest.raises(BadInput) as told:
        load_base(tmp_path / "sd15-plain.safetensors")
    expected = "a video model" if what == "AnimateDiff" else what
    assert expected in str(told.value) and "\n" not in str(told.value)


def test_every_name_is_counted(made, tmp_path: Path) -> None:
    def told(**changes: Any) -> str:
        with pytest.raises(BadInput) as caught:
            load_base(files.write(made["sd1"][0], "sd1", tmp_path / "file.safetensors", **changes))
        return str(caught.value)

    few = torch.zeros(3)
    assert (
        "1 of its" in (said := told(model__diffusion_model__input_blocks__1__0__extra=few))
        and "extra" in said
    )
    assert "belong to nothing in that, such as first_stage_model.odd" in told(first_stage_model__odd=few)
    assert "lacks 1 of the weights of its UNet2DConditionModel" in told(
        model__diffusion_model__middle_block__1__norm__bias=None
    )
    assert "lacks 1 of the weights of its AutoencoderKL" in told(first_stage_model__quant_conv__bias=None)
    name = "cond_stage_model__transformer__text_model__encoder__layers__1__mlp__fc1__bias"
    assert "lacks 1 of the weights of its CLIPTextModel" in told(**{name: None})
    assert "does not fit the others" in told(model__diffusion_model__out__0__bias=few)
    assert "another noise schedule" in told(alphas_cumprod=torch.linspace(0.99, 0.1, 1000))
    assert "zero terminal SNR" in told(ztsnr=few)
    words = {
        "cond_stage_model__transformer__text_model__embeddings__token_embedding__weight": torch.zeros(100, 64)
    }
    assert "knows 100 words, not CLIP's 49408" in told(**words)


@pytest.mark.parametrize("length", [0, 5, 300, -100])
def test_a_truncated_file_is_one_sentence(made, tmp_path: Path, length: int) -> None:
    data = made["sd1"][2].read_bytes()
    (tmp_path / "file.safetensors").write_bytes(data[:length])
    with pytest.raises(
        BadInput, match=r"cannot be read .* no whole \.safetensors file; fetch it again"
    ) as told:
        load_base(tmp_path / "file.safetensors")
    assert "\n" not in str(told.value)


@pytest.fixture(scope="module")
def vaes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Another autoencoder of Stable Diffusion's shape, in every form that people have."""
    place, pipe = tmp_path_factory.mktemp("vaes"), files.pipeline("sd1")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.bias += 0.5
    pipe.vae.save_pretrained(place / "model/vae")
    save_file(files.original_vae(pipe.vae), place / "original.safetensors")
    return {
        "folder": place / "model/vae",
        "model": place / "model",
        "original": place / "original.safetensors",
        "checkpoint": files.write(pipe, "sd1", place / "checkpoint.safetensors"),
        "diffusers": place / "model/vae/diffusion_pytorch_model.safetensors",
    }


@pytest.mark.parametrize(
    ("base", "forms"),
    [(1, ["folder", "model", "original", "checkpoint", "diffusers"]), (2, ["original"])],
    ids=["folder", "file"],
)
def test_another_autoencoder_in_every_form(made, vaes, base: int, forms: list[str]) -> None:
    from diffusers import AutoencoderKL

    place = made["sd1"][base]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs: Any = AutoencoderKL.from_pretrained(vaes["folder"])
    with torch.no_grad():
        expected = (theirs.decode(latents / 0.18215).sample / 2 + 0.5).clamp(0, 1)
    plain = other = load_base(place)
    assert (plain.decode(latents) - expected).abs().max() > 0.1
    for form in forms:
        other = load_base(place, vae=str(vaes[form]), like=plain)
        torch.testing.assert_close(other.decode(latents), expected, atol=1e-6, rtol=0)
        assert other.predictor.latent_space == plain.predictor.latent_space  # what the network was trained on
        assert other.identity != plain.identity
    custom: Any = load_custom(str(made["sd1"][1]), other)
    assert custom.predictor.latent_space == plain.predictor.latent_space


def test_autoencoders_that_do_not_fit_are_sentences(made, vaes, tmp_path: Path) -> None:
    base = load_base(made["sd1"][1])

    def told(path: Path) -> str:
        with pytest.raises(BadInput) as caught:
            read_vae(str(path), base.pipeline.vae)
        return str(caught.value)

    assert "scales its latents otherwise than the base's own (0.13025, not 0.18215)" in told(made["sdxl"][1])
    assert "is a UNet2DConditionModel, not an AutoencoderKL" in told(made["sd1"][1] / "unet")
    given = tmp_path / "changed.safetensors"
    tensors: dict[str, Any] = load_file(vaes["original"])
    for change, expected in (
        (
            {"odd.weight": torch.zeros(3)},
            "1 weights of the autoencoder .* belong to nothing in it, such as odd",
        ),
        ({"quant_conv.bias": None}, "lacks 1 of the weights of its AutoencoderKL"),
        (dict.fromkeys(tensors) | {"lora_unet_x.lora_up.weight": torch.zeros(2)}, "looks like a LoRA"),
    ):
        save_file({name: value for name, value in (tensors | change).items() if value is not None}, given)
        assert re.search(expected, told(given))
    given.write_bytes(given.read_bytes()[:10])
    assert "the autoencoder" in (said := told(given)) and "no whole .safetensors file" in said


def test_a_pickled_checkpoint_is_a_sentence(made, tmp_path: Path) -> None:
    torch.save({"state_dict": load_file(made["sd1"][2])}, tmp_path / "model.ckpt")
    with pytest.raises(BadInput, match=r"model\.ckpt is a pickle, which can run code"):
        load_base(tmp_path / "model.ckpt")
    with pytest.raises(BadInput, match=r"no whole \.safetensors file"):
        load_base(tmp_path / "model.ckpt", allow_pickle=True)
