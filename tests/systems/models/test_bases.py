"""Bases of every kind from folders: SD, SDXL, DiT, their custom models, and guidance equal to diffusers' pipelines."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.guidance import (
    Branch,
    CPUOffload,
    GuidedNoise,
    make_null_text,
    null_text_features,
    sample,
    save_null_text,
)
from slipcast.guidance.recipes import around, cfg
from slipcast.systems.domain.model import load_domain
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import precision as devices
from slipcast.systems.models.base import load_base
from slipcast.systems.models.controlnet import load_controls

T = torch.tensor([100, 900])


@pytest.fixture(autouse=True)
def full_precision(monkeypatch) -> None:
    monkeypatch.setattr(devices, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("bases")
    made = {
        "sd": tiny.stable_diffusion(place),
        "sdxl": tiny.sdxl(place),
        "dit": tiny.dit(),
    }
    for name, pipe in made.items():
        pipe.save_pretrained(place / name)
    # As on the hub: the pipeline reads the classes' names from there but does not write them.
    index = json.loads((place / "dit/model_index.json").read_text())
    (place / "dit/model_index.json").write_text(
        json.dumps(index | {"id2label": {"1": "teapot, pot", "2": "vase"}})
    )
    return {name: place / name for name in made} | {"pipes": made, "place": place}


def noise(height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))


def guided(base: Any, prompt: str, weight: float = 3.0, size: tuple[int, int] | None = None) -> GuidedNoise:
    null, text = (
        Branch(name, base.predictor, base.condition([p], size=size))
        for name, p in (("null", ""), ("text", prompt))
    )
    return GuidedNoise(cfg(null, text, weight))


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_prompts_and_sizes_are_read_as_diffusers_reads_them(folders, kind, size) -> None:
    base = load_base(folders[kind])
    height, width = size
    latents = noise(height // 2, width // 2)
    theirs = folders["pipes"][kind](
        ["a teapot"] * 2,
        height=height,
        width=width,
        num_inference_steps=5,
        guidance_scale=3.0,
        latents=latents,
        output_type="latent",
    ).images
    ours = sample(guided(base, "a teapot", size=size), base.pipeline.scheduler, latents, steps=5)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    assert base.latent_shape == (4, 8, 8)
    assert base.picture_size == 16


def test_classes_by_name_and_number(folders) -> None:
    base = load_base(folders["dit"])
    labels = base.condition(["vase", "2", ""]).labels
    assert labels is not None and labels.tolist() == [2, 2, 1000]
    with pytest.raises(BadInput, match="did you mean vase"):
        base.condition(["vaze"])
    with pytest.raises(BadInput, match="0 to 999"):
        base.condition(["1001"])
    with pytest.raises(BadInput, match="reads classes, not text"):
        base.encode_text(["vase"])


def test_other_kinds_are_refused_in_a_sentence(folders, tmp_path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "QwenImagePipeline"}))
    with pytest.raises(BadInput, match="QwenImagePipeline, which slipcast cannot guide"):
        load_base(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        load_base(tmp_path)
    with pytest.raises(BadInput, match="did you mean sdxl"):
        load_base("sdxxl")


def test_bases_with_different_autoencoders_are_not_mixed(folders) -> None:
    sd, dit = load_base(folders["sd"]), load_base(folders["dit"])
    assert sd.predictor.latent_space == load_base(folders["sd"], name="again").predictor.latent_space
    with pytest.raises(BadInput, match="different latent spaces"):
        GuidedNoise(
            cfg(
                Branch("a", sd.predictor, sd.condition([""])),
                Branch("b", dit.predictor, dit.condition([""])),
                2.0,
            )
        )


def test_a_checkpoint_of_the_base_shares_what_is_the_same(folders) -> None:
    base = load_base(folders["sd"])
    place = folders["place"] / "tuned"
    tuned = tiny.stable_diffusion(folders["place"])
    with torch.no_grad():
        tuned.unet.conv_out.bias += 0.25
    tuned.save_pretrained(place)
    custom: Any = load_custom(str(place), base)
    assert custom.pipeline.vae is base.pipeline.vae
    assert custom.pipeline.text_encoder is base.pipeline.text_encoder
    assert custom.pipeline.unet is not base.pipeline.unet
    told = base.condition(["a vase"])
    assert told.text is not None
    plain, changed = (m.predictor.predict(noise(), T, [told])[0] for m in (base, custom))
    torch.testing.assert_close(changed, plain + 0.25)


def test_a_lora_file_becomes_a_branch(folders, tmp_path) -> None:
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    tuned = tiny.stable_diffusion(tmp_path)
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"], init_lora_weights=False)
    tuned.unet.add_adapter(config, adapter_name="default")
    StableDiffusionPipeline.save_lora_weights(
        tmp_path / "lora",
        dict(get_peft_model_state_dict(tuned.unet)),
        unet_lora_adapter_metadata=config.to_dict(),
    )
    base = load_base(folders["sd"])
    told = base.condition(["a vase"])
    assert told.text is not None
    plain = base.predictor.predict(noise(), T, [told])[0]
    custom = load_custom(str(tmp_path / "lora"), base)
    with torch.no_grad():
        expected = tuned.unet(noise(), T, told.text.expand(2, -1, -1)).sample
    torch.testing.assert_close(
        custom.predictor.predict(noise(), T, [told])[0], expected, atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(base.predictor.predict(noise(), T, [told])[0], plain, atol=0, rtol=0)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(SlipcastError, match="cannot be used as a LoRA"):
        load_custom(str(tmp_path / "broken.safetensors"), base)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_null_text_domain_of_either_kind(folders, tmp_path, kind) -> None:
    base = load_base(folders[kind])
    told = base.condition(["a photo"])
    features = null_text_features(base.pipeline.unet, told, noise(), T)
    null_text = make_null_text(base.pipeline.unet, features)
    save_null_text(null_text, tmp_path)
    (tmp_path / "domain.json").write_text(json.dumps({"name": "toy", "base_identity": base.network_identity}))
    domain = load_domain(tmp_path, base)
    eps = domain.predictor.predict(noise(), T, [domain.condition])[0]
    assert eps.shape == noise().shape
    # As a custom model it is told the same whatever the prompt.
    custom = load_custom(str(tmp_path), base)
    assert custom.condition(["a"]) is custom.condition(["b"])
    torch.testing.assert_close(custom.predictor.predict(noise(), T, [custom.condition(["a"])])[0], eps)
    both = GuidedNoise(
        around(
            Branch("null", base.predictor, base.condition([""])),
            (Branch("domain", domain.predictor, domain.condition), 2.0),
        )
    )
    assert both(noise(), T).isfinite().all()


def test_one_network_at_a_time_and_the_same_numbers(folders) -> None:
    class Seat(CPUOffload):
        def take(self, *networks: Any) -> None:
            super().take(*networks)
            taken.append([type(network).__name__ for network in networks])

    taken: list[list[str]] = []
    plain, careful = load_base(folders["sd"]), load_base(folders["sd"], offload=Seat("cpu"))
    assert torch.equal(guided(careful, "a vase")(noise(), T), guided(plain, "a vase")(noise(), T))
    careful.decode(noise())
    assert taken == [["CLIPTextModel"], ["CLIPTextModel"], ["UNet2DConditionModel"], ["AutoencoderKL"]]


def test_controls_belong_to_a_base(folders, tmp_path) -> None:
    from PIL import Image

    base = load_base(folders["sd"])
    tiny.controlnet(folders["pipes"]["sd"].unet).save_pretrained(tmp_path / "control")
    Image.new("RGB", (20, 30), "white").save(tmp_path / "map.png")
    wanted = f"depth:{tmp_path / 'map.png'}:{tmp_path / 'control'}"
    (control,) = load_controls([wanted], base, size=16, scale=0.5)
    assert control.picture.shape == (1, 3, 16, 16)
    assert control.scale == 0.5
    with pytest.raises(BadInput, match="kind file names its network"):
        load_controls([f"file:{tmp_path / 'map.png'}"], base, size=16)
    with pytest.raises(BadInput, match="another kind of base"):
        load_controls([wanted], load_base(folders["sdxl"]), size=16)
    with pytest.raises(BadInput, match="did you mean canny"):
        load_controls([f"cany:{tmp_path / 'map.png'}"], base, size=16)
    with pytest.raises(BadInput, match="kind:picture"):
        load_controls(["canny"], base, size=16)
