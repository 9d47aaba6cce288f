"""LoRAs of every layout against diffusers' own pipelines, on tiny random networks; what does not match is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from fakes import tiny_pipelines as tiny
from safetensors.torch import save_file

from slipcast.configs.errors import BadInput
from slipcast.guidance import GuidedNoise, sample
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import precision
from slipcast.systems.models.base import load_base

T = torch.tensor([100, 900])
CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=1e-5)
ENCODERS = {"sd": ["text_encoder"], "sdxl": ["text_encoder", "text_encoder_2"]}
KOHYA_PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("loras")
    for name, make in {"sd": tiny.stable_diffusion, "sdxl": tiny.sdxl}.items():
        make(place).save_pretrained(place / name)
    return {name: place / name for name in ("sd", "sdxl")}


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def lora_tensors(folder: Path, parts: list[str], *, rank: int = 2) -> dict[str, torch.Tensor]:
    """Random matrices of two ranks for attention and the text's MLP, by the names of PEFT, large enough to be seen."""
    generator, made = torch.Generator().manual_seed(5), {}
    base = load_base(folder)
    for part in parts:
        network = base.pipeline.unet if part == "unet" else getattr(base.pipeline, part)
        for name, module in network.named_modules():
            if name.endswith(("to_q", "to_v", "to_out.0", "q_proj", "out_proj", "fc1")):
                (out, width), own = module.weight.shape, rank + len(made) // 2 % 2
                made[f"{part}.{name}.lora_A.weight"] = torch.randn(own, width, generator=generator)
                made[f"{part}.{name}.lora_B.weight"] = torch.randn(out, own, generator=generator) * 0.3
    return made


def as_peft(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors


def as_diffusers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def renamed(name: str) -> str:
        if name.startswith("unet"):
            name = name.replace("to_out.0", "to_out").replace("attn1.", "attn1.processor.")
            name = name.replace("attn2.", "attn2.processor.")
            return name.replace(".lora_A", "_lora.down").replace(".lora_B", "_lora.up")
        name = name.replace(".encoder.layers", ".text_model.encoder.layers").replace(
            "text_model.text_model", "text_model"
        )
        return name.replace(".lora_A", ".lora_linear_layer.down").replace(".lora_B", ".lora_linear_layer.up")

    return {renamed(name): value for name, value in tensors.items()}


def as_kohya(tensors: dict[str, torch.Tensor], alpha: float = 1.0) -> dict[str, torch.Tensor]:
    made = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        module, _, leaf = rest.partition(".lora_")
        if part != "unet" and not module.startswith("text_model."):
            module = f"text_model.{module}"
        stem = KOHYA_PREFIX[part] + module.replace(".", "_")
        made[f"{stem}.{'lora_down' if leaf[0] == 'A' else 'lora_up'}.weight"] = value
        made[f"{stem}.alpha"] = torch.tensor(alpha)
    return made


LAYOUTS = {"peft": as_peft, "diffusers": as_diffusers, "kohya": as_kohya}


def written(folder: Path, tensors: dict[str, torch.Tensor], name: str = "style.safetensors") -> str:
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, folder / name)
    return str(folder / name)


def theirs(kind: str, folder: Path, scale: float) -> Any:
    """A fresh pipeline of diffusers with the LoRA of the folder."""
    pipe = (tiny.stable_diffusion if kind == "sd" else tiny.sdxl)(folder)
    pipe.load_lora_weights(str(folder), weight_name="style.safetensors", adapter_name="style")
    pipe.set_adapters(["style"], [scale])
    return pipe


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_lora_reads_text_as_in_diffusers(folders, tmp_path, kind, layout) -> None:
    file = written(tmp_path, LAYOUTS[layout](lora_tensors(folders[kind], ["unet", *ENCODERS[kind]])))
    base, said = load_base(folders[kind]), []
    before: Any = base.condition(["a teapot"])
    custom = load_custom(file, base, scale=0.4, notice=said.append)
    told: Any = custom.condition(["a teapot"])
    after: Any = base.condition(["a teapot"])
    pipe = theirs(kind, tmp_path, 0.4)
    text, *rest = pipe.encode_prompt(
        "a teapot", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    torch.testing.assert_close(told.text, text, **CLOSE)
    if kind == "sdxl":
        torch.testing.assert_close(told.pooled, rest[1], **CLOSE)
        assert torch.equal(after.pooled, before.pooled)
        assert (told.pooled - before.pooled).abs().max() > 0.05
    assert (told.text - before.text).abs().max() > 0.05
    assert torch.equal(after.text, before.text)  # other branches never hear it
    added = (
        {}
        if kind == "sd"
        else {"text_embeds": rest[1].expand(2, -1), "time_ids": told.time_ids.expand(2, -1)}
    )
    with torch.no_grad():
        expected = pipe.unet(noise(), T, text.expand(2, -1, -1), added_cond_kwargs=added).sample
    torch.testing.assert_close(custom.predictor.predict(noise(), T, [told])[0], expected, **CLOSE)
    assert said == []


def test_class_and_domain_telescopes_to_plain_guidance_with_the_lora(folders, tmp_path) -> None:
    """null + w (model - model null) + 1 (model null - null) is the LoRA's own classifier-free guidance."""
    file = written(tmp_path, as_peft(lora_tensors(folders["sd"], ["text_encoder"])))
    base = load_base(folders["sd"])
    made = Ingredients(base=base, prompt="a teapot", model=load_custom(file, base), size=16)
    guidance = picture_guidance("class_and_domain", made, {"class": 5.0, "domain": 1.0})
    ours = sample(GuidedNoise(guidance), base.pipeline.scheduler, noise(), steps=4)
    expected = theirs("sd", tmp_path, 1.0)(
        ["a teapot"] * 2, height=16, width=16, num_inference_steps=4, guidance_scale=5.0, latents=noise(),
        output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)  # diffusers samples in float32


def test_every_kohya_module_has_its_own_alpha(folders, tmp_path) -> None:
    """W + alpha / rank B A, module by module, whatever most modules have."""
    tensors = lora_tensors(folders["sd"], ["unet", "text_encoder"], rank=4)
    kohya = as_kohya(tensors)
    alphas = {key: torch.tensor(float(i % 3 + 1)) for i, key in enumerate(k for k in kohya if "alpha" in k)}
    base = load_base(folders["sd"])
    custom = load_custom(written(tmp_path, kohya | alphas), base)
    merged = tiny.stable_diffusion(tmp_path)
    for i, name in enumerate(n for n in tensors if "lora_A" in n):
        part, _, module = name.removesuffix(".lora_A.weight").partition(".")
        b = tensors[name.replace("lora_A", "lora_B")]
        with torch.no_grad():
            getattr(merged, part).get_submodule(module).weight += (
                (i % 3 + 1) / len(tensors[name]) * b @ tensors[name]
            )
    text = merged.encode_prompt("a teapot", "cpu", 1, False)[0]
    told: Any = custom.condition(["a teapot"])
    torch.testing.assert_close(told.text, text, **CLOSE)
    with torch.no_grad():
        expected = merged.unet(noise(), T, text.expand(2, -1, -1)).sample
    torch.testing.assert_close(custom.predictor.predict(noise(), T, [told])[0], expected, **CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_that_match_nothing_are_counted_and_the_rest_is_used(folders, tmp_path, layout) -> None:
    tensors = lora_tensors(folders["sd"], ["unet", "text_encoder"])
    strange = {
        name.replace("up_blocks.1", "up_blocks.7"): value
        for name, value in tensors.items()
        if "up_blocks.1" in name
    }
    whole = {name: value for name, value in tensors.items() if "up_blocks.1" not in name}
    base, said = load_base(folders["sd"]), []
    custom = load_custom(written(tmp_path, LAYOUTS[layout](whole | strange)), base, notice=said.append)
    (sentence,) = said
    keys = LAYOUTS[layout](whole | strange)
    assert f"{len(LAYOUTS[layout](strange))} of {len(keys)} keys" in sentence
    assert any(f"such as {key};" in sentence for key in LAYOUTS[layout](strange))
    plain = load_custom(written(tmp_path, LAYOUTS[layout](whole), "plain.safetensors"), base)
    told = custom.condition(["a vase"])
    a, b = (one.predictor.predict(noise(), T, [told])[0] for one in (custom, plain))
    torch.testing.assert_close(a, b, atol=0, rtol=0)


@pytest.mark.parametrize("strange", ["lora_upper_one.lora_down.weight", "lora_unet_up_blocks_1.hada_w1_a"])
def test_a_stranger_among_kohya_keys_does_not_lose_the_others(folders, tmp_path, strange) -> None:
    kohya = as_kohya(lora_tensors(folders["sd"], ["text_encoder"]))
    base, said = load_base(folders["sd"]), []
    load_custom(written(tmp_path, kohya | {strange: torch.zeros(2, 2)}), base, notice=said.append)
    assert f"1 of {len(kohya) + 1} keys" in said[0] and strange in said[0]


def test_a_lora_that_mostly_matches_nothing_is_refused(folders, tmp_path) -> None:
    tensors = lora_tensors(folders["sd"], ["unet"])
    odd = {name.replace("attentions", "attention"): value for name, value in tensors.items()}
    with pytest.raises(BadInput, match=f"{len(odd)} of {len(odd)} keys"):
        load_custom(written(tmp_path, odd), load_base(folders["sd"]))
    with pytest.raises(BadInput, match="holds no LoRA"):
        load_custom(written(tmp_path, {"unet.conv_in.weight": torch.zeros(2)}), load_base(folders["sd"]))


def test_a_lora_of_another_family_is_refused_by_both_names(folders, tmp_path) -> None:
    sd, sdxl = load_base(folders["sd"]), load_base(folders["sdxl"])
    big = as_kohya(lora_tensors(folders["sdxl"], ["unet", *ENCODERS["sdxl"]]))
    with pytest.raises(
        BadInput, match=r"for Stable Diffusion XL, and the base .* is a Stable Diffusion that reads"
    ):
        load_custom(written(tmp_path, big), sd)
    small = lora_tensors(folders["sd"], ["unet", "text_encoder"])
    small |= {
        k.replace("to_q", "to_k").replace("attn1", "attn2"): v
        for k, v in small.items()
        if "attn2.to_q.lora_B" in k
    }
    small |= {
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": torch.zeros(2, 12)
    }
    with pytest.raises(BadInput, match=r"text of 12 numbers a word, and the base .* is Stable Diffusion XL"):
        load_custom(written(tmp_path, small), sdxl)
    flux = {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.zeros(2, 8)}
    with pytest.raises(BadInput, match="a LoRA for Flux, and the base"):
        load_custom(written(tmp_path, flux), sd)
    dit = {"transformer.transformer_blocks.0.attn1.to_q.lora_A.weight": torch.zeros(2, 8)}
    with pytest.raises(BadInput, match="for a diffusion transformer, and the base"):
        load_custom(written(tmp_path, dit), sd)
    place = tmp_path / "dit"
    tiny.dit().save_pretrained(place)
    with pytest.raises(BadInput, match=r"for Stable Diffusion XL, and the base .* is DiT"):
        load_custom(written(tmp_path, big), load_base(place))


def test_the_trainers_own_settings_are_followed(folders, tmp_path) -> None:
    """A file with PEFT's configuration in its header (lora_alpha 8 at rank 2: scale 4)."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    tuned = tiny.stable_diffusion(tmp_path)
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "fc1"], init_lora_weights=False)
    tuned.text_encoder.add_adapter(config, adapter_name="default")
    StableDiffusionPipeline.save_lora_weights(
        tmp_path / "lora",
        text_encoder_lora_layers=cast(Any, get_peft_model_state_dict(tuned.text_encoder)),
        text_encoder_lora_adapter_metadata=config.to_dict(),
    )
    told: Any = load_custom(str(tmp_path / "lora"), load_base(folders["sd"])).condition(["a teapot"])
    torch.testing.assert_close(told.text, tuned.encode_prompt("a teapot", "cpu", 1, False)[0], **CLOSE)


def test_two_loras_of_one_base_do_not_hear_each_other(folders, tmp_path) -> None:
    tensors = lora_tensors(folders["sd"], ["unet", "text_encoder"])
    one, two = (
        written(tmp_path, tensors, "one.safetensors"),
        written(tmp_path, {k: 2 * v for k, v in tensors.items()}, "two.safetensors"),
    )
    alone: Any = load_custom(one, load_base(folders["sd"])).condition(["a vase"])
    base = load_base(folders["sd"])
    first, second = load_custom(one, base), load_custom(two, base)
    assert second.condition(["a vase"]) is not None
    beside: Any = first.condition(["a vase"])
    assert torch.equal(alone.text, beside.text)
    assert first.identity != second.identity


@pytest.mark.parametrize("metadata", ["[" * 100_000, "3", "{", '{"a": 1e'])
def test_a_trainers_settings_that_are_none_are_a_sentence(folders, tmp_path, metadata: str) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(lora_tensors(folders["sd"], ["unet"]), path, {"lora_adapter_metadata": metadata})
    with pytest.raises(BadInput, match="cannot be used as a LoRA of") as caught:
        load_custom(str(path), load_base(folders["sd"]))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600
