"""LoRAs in the base itself against diffusers' ``load_lora_weights`` and ``set_adapters``, on tiny random pipelines."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import lora_files as files
from fakes import tiny_pipelines as tiny
from safetensors.torch import save_file

from slipcast.configs.errors import BadInput
from slipcast.guidance import GuidedNoise, sample
from slipcast.guidance.low_rank import low_rank_bytes
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.lora import lora_identity, lora_licence, with_loras
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import precision
from slipcast.systems.models.base import Base, load_base

T = torch.tensor([100, 900])
CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=1e-5)
MAKERS = {"sd": tiny.stable_diffusion, "sdxl": tiny.sdxl}
PARTS = {"sd": ("unet", "text_encoder"), "sdxl": ("unet", "text_encoder", "text_encoder_2")}


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacked")
    for name, make in MAKERS.items():
        make(folder).save_pretrained(folder / name)
    return folder


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def drawn(base: Base, *, weight: float = 3.0) -> torch.Tensor:
    made = Ingredients(base=base, prompt="a teapot", size=16)
    guided = GuidedNoise(picture_guidance("cfg", made, {"text": weight}))
    return sample(guided, base.pipeline.scheduler, noise(), steps=3)


def drawn_by_diffusers(pipe: Any, *, weight: float = 3.0) -> torch.Tensor:
    return pipe(
        ["a teapot"] * 2, height=16, width=16, num_inference_steps=3, guidance_scale=weight, latents=noise(),
        output_type="latent",
    ).images  # fmt: skip


def theirs(kind: str, folder: Path, loras: dict[str, float]) -> Any:
    pipe = MAKERS[kind](folder)
    warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several are what we want
    for name in loras:
        pipe.load_lora_weights(str(folder), weight_name=f"{name}.safetensors", adapter_name=name)
    pipe.set_adapters(list(loras), list(loras.values()))
    return pipe


@pytest.mark.parametrize("kind", MAKERS)
def test_two_loras_with_strengths_draw_what_diffusers_draws(place, tmp_path, kind) -> None:
    """One of kohya's with convolutions and alphas, one of PEFT's names with DoRA, text encoders included."""
    pipe = MAKERS[kind](tmp_path)
    style = files.random_lora(pipe, PARTS[kind], layers=files.ATTENTION + files.CONVOLUTIONS)
    shape = files.with_magnitudes(pipe, files.random_lora(pipe, PARTS[kind], seed=6))
    one = files.write(tmp_path, files.kohya(style, 1.5), "style.safetensors")
    two = files.write(tmp_path, shape, "shape.safetensors")
    said: list[str] = []
    base = load_base(place / kind)
    before = drawn(base)
    ours = drawn(with_loras(base, [(one, 0.7), (two, 0.4)], said.append))
    torch.testing.assert_close(
        ours, drawn_by_diffusers(theirs(kind, tmp_path, {"style": 0.7, "shape": 0.4})), **CLOSE
    )
    assert (ours - before).abs().max() > 0.05
    assert said == []
    assert torch.equal(drawn(base), before)  # the plain base beside it hears nothing


def peft_folders(place: Path, tensors: files.Tensors) -> Path:
    """A folder a part, as ``PeftModel.save_pretrained`` writes it: alpha in its config, ranks by pattern."""
    for part in {name.partition(".")[0] for name in tensors}:
        own = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        ranks = {k.removesuffix(".lora_A.weight"): len(v) for k, v in own.items() if "lora_A" in k}
        folder = place / "adapter" / part
        folder.mkdir(parents=True)
        config = {
            "peft_type": "LORA", "r": 2, "lora_alpha": 2, "rank_pattern": {k: r for k, r in ranks.items() if r != 2},
            "alpha_pattern": {k: r for k, r in ranks.items() if r != 2}, "target_modules": list(ranks),
        }  # fmt: skip
        (folder / "adapter_config.json").write_text(json.dumps(config))
        files.write(folder, {f"base_model.model.{k}": v for k, v in own.items()}, "adapter_model.safetensors")
    return place / "adapter"


LAYOUTS = {
    "peft folders": peft_folders,
    "comfyui": lambda place, tensors: files.write(place, files.comfyui(tensors)),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_diffusers_does_not_read_say_the_same_as_one_that_it_does(
    place, tmp_path, layout, kind
) -> None:
    pipe = MAKERS[kind](tmp_path)
    layers = files.ATTENTION + files.CONVOLUTIONS
    tensors = files.with_magnitudes(pipe, files.random_lora(pipe, PARTS[kind], layers=layers))
    files.write(tmp_path, tensors, "plain.safetensors")
    said: list[str] = []
    base = with_loras(load_base(place / kind), [(LAYOUTS[layout](tmp_path, tensors), 0.6)], said.append)
    torch.testing.assert_close(
        drawn(base), drawn_by_diffusers(theirs(kind, tmp_path, {"plain": 0.6})), **CLOSE
    )
    assert said == []


def test_dora_in_a_text_encoder_is_its_formula(place, tmp_path) -> None:
    """m (W + s B A) / |W + s B A|, merged by hand: diffusers leaves a text encoder's magnitudes out."""
    pipe = tiny.stable_diffusion(tmp_path)
    tensors = files.with_magnitudes(pipe, files.random_lora(pipe, ["text_encoder"]), "text_encoder")
    paths = [
        files.write(tmp_path, tensors, "peft.safetensors"),
        files.write(tmp_path, files.kohya(tensors, alpha=None), "kohya.safetensors"),
    ]
    base = load_base(place / "sd")
    for key in [key for key in tensors if "lora_A" in key]:
        name = key.removesuffix(".lora_A.weight")
        weight = pipe.text_encoder.get_submodule(name.removeprefix("text_encoder.")).weight
        with torch.no_grad():
            weight += 0.5 * tensors[f"{name}.lora_B.weight"] @ tensors[key]
            weight *= (tensors[f"{name}.lora_magnitude_vector"] / weight.norm(dim=1))[:, None]
    expected = pipe.encode_prompt("a teapot", "cpu", 1, False)[0]
    for path in paths:
        torch.testing.assert_close(
            with_loras(base, [(path, 0.5)]).encode_text(["a teapot"]), expected, **CLOSE
        )
    assert (base.encode_text(["a teapot"]) - expected).abs().max() > 0.05


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's business
def test_a_folder_of_peft_alone_finds_its_part_and_its_alpha(place, tmp_path) -> None:
    """Written by PEFT itself: W + alpha / sqrt(rank) B A (rank-stabilised), one config, no prefix."""
    from peft import LoraConfig, get_peft_model

    pipe = tiny.sdxl(tmp_path)
    torch.manual_seed(3)
    config = LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj"], init_lora_weights=False
    )
    tuned = get_peft_model(pipe.text_encoder_2, config)
    tuned.save_pretrained(str(tmp_path / "tuned"))
    base = with_loras(load_base(place / "sdxl"), [(tmp_path / "tuned", 1.0)])
    text, _, pooled, _ = pipe.encode_prompt("a teapot", device="cpu", do_classifier_free_guidance=False)
    told: Any = base.condition(["a teapot"])
    torch.testing.assert_close(told.text, text, **CLOSE)
    torch.testing.assert_close(told.pooled, pooled, **CLOSE)
    assert (load_base(place / "sdxl").encode_text(["a teapot"]) - text).abs().max() > 0.01


def test_kohyas_tucker_form_is_up_mid_down(place, tmp_path) -> None:
    g = torch.Generator().manual_seed(1)
    pipe = tiny.stable_diffusion(tmp_path)
    layer = pipe.unet.mid_block.resnets[0].conv1
    out, width = layer.weight.shape[:2]
    up, mid, down = (
        torch.randn(*shape, generator=g) for shape in ((out, 3, 1, 1), (3, 3, 3, 3), (3, width, 1, 1))
    )
    stem = "lora_unet_mid_block_resnets_0_conv1"
    leaves = {
        "lora_up.weight": up,
        "lora_mid.weight": mid,
        "lora_down.weight": down,
        "alpha": torch.tensor(1.5),
    }
    path = files.write(tmp_path, {f"{stem}.{leaf}": value for leaf, value in leaves.items()})
    with torch.no_grad():
        layer.weight += 0.5 * torch.einsum("or,rskl,si->oikl", up[..., 0, 0], mid, down[..., 0, 0])
    ours = drawn(with_loras(load_base(place / "sd"), [(path, 1.0)]))
    torch.testing.assert_close(ours, drawn_by_diffusers(pipe), **CLOSE)


@pytest.mark.parametrize("kind", MAKERS)
def test_strength_0_is_none_to_the_bit_and_two_loras_weigh_what_their_files_weigh(
    place, tmp_path, kind
) -> None:
    pipe = MAKERS[kind](tmp_path)
    tensors = [files.with_magnitudes(pipe, files.random_lora(pipe, PARTS[kind], seed=n)) for n in (1, 2)]
    paths = [files.write(tmp_path, one, f"{n}.safetensors") for n, one in enumerate(tensors)]
    base = load_base(place / kind)
    networks = [getattr(base.pipeline, part) for part in PARTS[kind]]
    before, size = drawn(base), [sum(p.numel() for p in one.parameters()) for one in networks]
    silent = with_loras(base, [(path, 0.0) for path in paths])
    assert torch.equal(drawn(silent), before)
    assert sum(map(low_rank_bytes, networks)) == 0
    both = with_loras(base, [(path, 1.0) for path in paths])
    assert both.pipeline is base.pipeline and both.predictor.network is base.predictor.network
    assert [sum(p.numel() for p in one.parameters()) for one in networks] == size
    wanted = sum(tensor.numel() * 4 for one in tensors for tensor in one.values())
    assert sum(map(low_rank_bytes, networks)) == wanted
    assert (drawn(both) - before).abs().max() > 0.05


def test_a_model_beside_the_base_hears_the_bases_loras_and_a_checkpoint_does_not(place, tmp_path) -> None:
    pipe = tiny.stable_diffusion(tmp_path)
    one, two = (
        files.write(tmp_path, files.random_lora(pipe, PARTS["sd"], seed=n), f"lora{n}.safetensors")
        for n in (1, 2)
    )
    tuned = tiny.stable_diffusion(tmp_path)
    with torch.no_grad():
        tuned.unet.conv_out.bias += 0.25
    tuned.save_pretrained(tmp_path / "tuned")
    plain = load_base(place / "sd")
    base = with_loras(plain, [(one, 0.5)])
    custom: Any = load_custom(str(two), base, scale=0.8)
    torch.testing.assert_close(
        drawn(custom), drawn_by_diffusers(theirs("sd", tmp_path, {"lora1": 0.5, "lora2": 0.8})), **CLOSE
    )
    checkpoint: Any = load_custom(str(tmp_path / "tuned"), base)
    assert checkpoint.pipeline.text_encoder is base.pipeline.text_encoder
    torch.testing.assert_close(drawn(checkpoint), drawn_by_diffusers(tuned), **CLOSE)
    torch.testing.assert_close(
        drawn(base), drawn_by_diffusers(theirs("sd", tmp_path, {"lora1": 0.5})), **CLOSE
    )


OTHERS = {
    "LoHa": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "LoKr": ("lokr_w1", "lokr_w2"),
    "OFT or BOFT": ("oft_blocks",),
    "IA3": ("weight", "on_input"),
    "GLoRA": ("a1.weight", "a2.weight", "b1.weight", "b2.weight"),
    "set of whole differences": ("diff",),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_adapters_are_refused_by_name(place, tmp_path, kind) -> None:
    layers = ("lora_unet_mid_block_attentions_0_proj_in", "lora_unet_mid_block_attentions_0_proj_out")
    path = files.write(
        tmp_path, {f"{one}.{leaf}": torch.zeros(2, 2) for one in layers for leaf in OTHERS[kind]}
    )
    with pytest.raises(BadInput, match=f"is a {kind}, which slipcast does not read; give a LoRA"):
        with_loras(load_base(place / "sd"), [(path, 1.0)])


def test_bad_files_are_a_sentence(place, tmp_path) -> None:
    base = load_base(place / "sd")
    tensors = files.random_lora(base.pipeline, ["unet"])
    broken = files.write(tmp_path, tensors | {next(iter(tensors)): next(iter(tensors.values())) * torch.nan})
    with pytest.raises(BadInput, match=r"holds NaN or infinity in unet\.down_blocks"):
        with_loras(base, [(broken, 1.0)])
    loha = tmp_path / "loha"
    loha.mkdir()
    save_file({"base_model.model.x.hada_w1_a": torch.zeros(2, 2)}, loha / "adapter_model.safetensors")
    (loha / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    with pytest.raises(BadInput, match="is of a LOHA, which slipcast does not read"):
        with_loras(base, [(loha, 1.0)])
    wan = files.write(tmp_path, {"diffusion_model.blocks.0.attn.to_q.lora_A.weight": torch.zeros(2, 8)})
    with pytest.raises(BadInput, match="for a diffusion transformer, and the base"):
        with_loras(base, [(wan, 1.0)])
    layer = "diffusion_model.input_blocks.4.1.transformer_blocks.1.attn1.to_q"
    xl = files.write(tmp_path, {f"{layer}.lora_down.weight": torch.zeros(2, 8)})
    with pytest.raises(BadInput, match="for Stable Diffusion XL, and the base"):
        with_loras(base, [(xl, 1.0)])
    with pytest.raises(BadInput, match=r"XL, and the base .* is DiT"):
        tiny.dit().save_pretrained(tmp_path / "dit")
        with_loras(load_base(tmp_path / "dit"), [(xl, 0.0)])


def test_a_lora_tells_its_licence_and_its_identity(place, tmp_path) -> None:
    tensors = files.random_lora(load_base(place / "sd").pipeline, ["unet"])
    told = files.write(tmp_path, tensors, "told.safetensors", **{"modelspec.license": "CC-BY-4.0"})
    assert lora_licence(told) == "CC-BY-4.0"
    assert lora_licence(files.write(tmp_path, tensors)) == "unknown"
    folder = peft_folders(tmp_path, tensors)
    before = lora_identity(folder)
    config = folder / "unet" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 2', '"lora_alpha": 3'))
    assert lora_identity(folder) != before
