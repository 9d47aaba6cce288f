"""LoRAs of Stable Diffusion 3 and Flux against diffusers' own pipelines, on tiny random networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_flow as tiny
from safetensors.torch import save_file
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.systems.guided.lora import with_loras
from slipcast.systems.models.base import Base, load_base

T = torch.tensor([100.0, 900.0])
MAKERS: dict[str, Any] = {"sd3": tiny.sd3, "flux": tiny.flux}
LAYERS = ("to_q", "to_out.0", "add_v_proj", "ff.net.2", "proj_mlp")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("flow-loras")
    for name, make in MAKERS.items():
        make(place).save_pretrained(place / name)
    return {name: place / name for name in MAKERS}


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def peft(base: Base) -> dict[str, Tensor]:
    """Random adapters by diffusers' names, of the network and of the first text encoder."""
    made: dict[str, Tensor] = {}
    for part, ends in (("transformer", LAYERS), ("text_encoder", ("q_proj", "fc1"))):
        for name, module in getattr(base.pipeline, part).named_modules():
            if name.endswith(ends):
                out, width = module.weight.shape
                made[f"{part}.{name}.lora_A.weight"] = random(2, width, seed=len(made))
                made[f"{part}.{name}.lora_B.weight"] = random(out, 2, seed=len(made)) * 0.2
    return made


def kohya() -> dict[str, Tensor]:
    """By the original Flux' names: query, key and value (and the MLP) in one matrix, an alpha for each."""
    made: dict[str, Tensor] = {}
    shapes = {
        "double_blocks_0_img_attn_qkv": (32, 96), "double_blocks_0_txt_attn_qkv": (32, 96),
        "double_blocks_0_img_attn_proj": (32, 32), "double_blocks_0_txt_mlp_0": (32, 128),
        "double_blocks_0_img_mod_lin": (32, 192), "single_blocks_1_linear2": (32 + 128, 32),
        "single_blocks_0_modulation_lin": (32, 96),
    }  # fmt: skip
    for name, (width, out) in shapes.items():
        made[f"lora_unet_{name}.lora_down.weight"] = random(4, width, seed=len(made))
        made[f"lora_unet_{name}.lora_up.weight"] = random(out, 4, seed=len(made)) * 0.2
        made[f"lora_unet_{name}.alpha"] = torch.tensor(2.0)
    return made


def written(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, folder / "style.safetensors")
    return folder / "style.safetensors"


def answers(base: Base) -> Tensor:
    return base.predictor.predict(random(2, 4, 8, 8, seed=99), T, [base.condition(["a teapot"])])[0]


def theirs(kind: str, folder: Path, scale: float) -> Tensor:
    """What a fresh pipeline of diffusers says with the LoRA of the folder."""
    pipe = MAKERS[kind](folder)
    pipe.load_lora_weights(str(folder), weight_name="style.safetensors", adapter_name="style")
    pipe.set_adapters(["style"], [scale])
    with torch.no_grad():
        return answers(load_base_of(pipe))


def load_base_of(pipe: Any) -> Base:
    """diffusers' pipeline itself as a base, adapters and all."""
    from slipcast.systems.models.families.table import FAMILIES

    family = FAMILIES[type(pipe).__name__]
    predictor = family.predictor(
        pipe.transformer, schedule=family.schedule(pipe.scheduler), prediction_type="flow_prediction",
        latent_space="tiny", name="theirs",
    )  # fmt: skip
    return Base("theirs", family, pipe, predictor, "", Path())


@pytest.mark.parametrize("layout", ["peft-sd3", "peft-flux", "kohya-flux"])
def test_a_lora_says_what_it_says_in_diffusers(folders, layout: str, tmp_path: Path) -> None:
    names, kind = layout.split("-")
    base, said = load_base(folders[kind], dtype="float32"), []
    file = written(tmp_path, peft(base) if names == "peft" else kohya())
    before = answers(base)
    found = answers(with_loras(base, [(file, 0.6)], said.append))
    torch.testing.assert_close(found, theirs(kind, tmp_path, 0.6), atol=1e-5, rtol=1e-5)
    assert (found - before).abs().max() > 0.01 and said == []
    assert torch.equal(answers(base), before)  # the plain base goes on without it


def test_query_key_value_and_mlp_in_one_matrix_are_one_adapter_each(folders, tmp_path: Path) -> None:
    """diffusers' converter knows this one at the published width alone."""
    base = load_base(folders["flux"], dtype="float32")
    down, up, stem = (
        random(4, 32, seed=1),
        random(96 + 128, 4, seed=2) * 0.2,
        "lora_unet_single_blocks_1_linear1",
    )
    one = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(4.0)}
    found = answers(with_loras(base, [(written(tmp_path, one), 1.0)]))
    several, first = {}, 0
    for layer, rows in (("attn.to_q", 32), ("attn.to_k", 32), ("attn.to_v", 32), ("proj_mlp", 128)):
        name = f"transformer.single_transformer_blocks.1.{layer}"
        several[f"{name}.lora_A.weight"] = down.clone()
        several[f"{name}.lora_B.weight"] = up[first : first + rows].clone()
        first += rows
    expected = answers(with_loras(base, [(written(tmp_path, several), 1.0)]))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert (found - answers(base)).abs().max() > 0.01


def test_a_lora_of_the_other_family_is_refused_by_both_names(folders, tmp_path: Path) -> None:
    sd3, flux = (load_base(folders[kind], dtype="float32") for kind in ("sd3", "flux"))
    with pytest.raises(BadInput, match=r"a LoRA for Flux, and the base .* is Stable Diffusion 3"):
        with_loras(sd3, [(written(tmp_path, kohya()), 1.0)])
    unet = {
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": torch.zeros(2, 768)
    }
    with pytest.raises(BadInput, match=r"a LoRA for Stable Diffusion 1, and the base .* is Flux"):
        with_loras(flux, [(written(tmp_path, unet), 1.0)])
