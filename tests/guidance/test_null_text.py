"""The null-text UNet: E + F in place of cross-attention, and files that are complete or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipcast.configs.errors import SlipcastError
from slipcast.guidance import (
    UNetPredictor,
    load_null_text,
    make_null_text,
    null_text_features,
    save_null_text,
)
from slipcast.guidance.null_text import WEIGHTS_NAME, NullTextAttention

T = torch.tensor([3, 700, 990])


def latents() -> torch.Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def text() -> torch.Tensor:
    return torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def features(tiny_unet) -> dict[str, torch.Tensor]:
    return null_text_features(tiny_unet, text(), latents(), T)


def run(unet: Any) -> torch.Tensor:
    with torch.no_grad():
        return unet(latents(), T, encoder_hidden_states=None, return_dict=False)[0]


def test_the_module_returns_E_everywhere() -> None:
    E = torch.randn(1, 1, 6)
    out = NullTextAttention(E)(torch.randn(2, 7, 6), encoder_hidden_states=torch.randn(2, 5, 9))
    assert torch.equal(out, E.expand(2, 7, 6))


def test_E_is_the_mean_of_what_cross_attention_says(tiny_unet, features) -> None:
    name = "mid_block.attentions.0.transformer_blocks.0"
    said: list[torch.Tensor] = []
    hook = tiny_unet.get_submodule(name).attn2.register_forward_hook(lambda m, i, output: said.append(output))
    tiny_unet(latents(), T, encoder_hidden_states=text().expand(3, -1, -1))
    hook.remove()
    assert len(features) == 4
    # The network is left as it was: nothing goes on listening.
    assert not any(module._forward_hooks for module in tiny_unet.modules())
    torch.testing.assert_close(features[name], said[0].mean((0, 1))[None, None])


def test_equals_the_unet_whose_cross_attention_says_E(tiny_unet, features) -> None:
    hooks = [
        tiny_unet.get_submodule(name).attn2.register_forward_hook(
            lambda m, i, output, E=E: E.expand_as(output)
        )
        for name, E in features.items()
    ]
    expected = tiny_unet(latents(), T, encoder_hidden_states=text().expand(3, -1, -1)).sample
    for hook in hooks:
        hook.remove()
    before = tiny_unet(latents(), T, encoder_hidden_states=text().expand(3, -1, -1)).sample
    null_text = make_null_text(tiny_unet, features)
    torch.testing.assert_close(run(null_text), expected)
    # The network it was made from is as it was.
    after = tiny_unet(latents(), T, encoder_hidden_states=text().expand(3, -1, -1)).sample
    assert torch.equal(after, before)
    assert not torch.allclose(after, expected)


def test_parameter_count_of_stable_diffusion_1_5() -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        full = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        blocks = [n for n, _ in full.named_modules() if n.endswith("transformer_blocks.0")]
        weights = dict(full.named_parameters())
        features = {n: torch.empty(1, 1, weights[f"{n}.norm1.weight"].numel()) for n in blocks}
    assert sorted(E.numel() for E in features.values()) == [320] * 5 + [640] * 5 + [1280] * 6
    assert sum(p.numel() for p in full.parameters()) == 859_520_964
    null_text = make_null_text(full, features)
    assert sum(p.numel() for p in null_text.parameters()) == 815_533_444
    assert sum(b.numel() for b in null_text.buffers()) == 12_480


@pytest.mark.parametrize("train", [False, True])
def test_E_is_trained_only_if_asked(tiny_unet, features, train) -> None:
    unet: Any = make_null_text(tiny_unet, features, train_embedding=train)
    assert any(name.endswith("attn2.E") for name, _ in unet.named_parameters()) == train
    unet(latents(), T, encoder_hidden_states=None).sample.sum().backward()
    grad = unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2").E.grad
    assert (grad is not None and bool(grad.abs().sum() > 0)) == train


def test_missing_or_misshapen_features_are_refused(tiny_unet, features) -> None:
    name = "mid_block.attentions.0.transformer_blocks.0"
    with pytest.raises(ValueError, match=name):
        make_null_text(tiny_unet, {k: v for k, v in features.items() if k != name})
    with pytest.raises(ValueError, match=r"\(1, 1, 16\), not \(1, 1, 3\)"):
        make_null_text(tiny_unet, {**features, name: torch.zeros(1, 1, 3)})


@pytest.mark.parametrize("train", [False, True])
def test_save_and_load_round_trip(tiny_unet, features, tmp_path, train) -> None:
    unet = make_null_text(tiny_unet, features, train_embedding=train)
    save_null_text(unet, tmp_path / "domain")
    loaded = load_null_text(tmp_path / "domain")
    assert torch.equal(run(loaded), run(unet))
    assert not any(p.is_meta for p in [*loaded.parameters(), *loaded.buffers()])
    assert [n for n, _ in loaded.named_parameters()] == [n for n, _ in unet.named_parameters()]


def test_half_precision_file_is_half_as_large_and_nearly_equal(tiny_unet, features, tmp_path) -> None:
    unet = make_null_text(tiny_unet, features)
    save_null_text(unet, tmp_path / "whole")
    save_null_text(unet, tmp_path / "half", dtype=torch.float16)
    sizes = [(tmp_path / name / WEIGHTS_NAME).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.7 * sizes[0]
    torch.testing.assert_close(run(load_null_text(tmp_path / "half")), run(unet), atol=5e-3, rtol=5e-3)
    assert load_null_text(tmp_path / "half", dtype=torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "damage", ["E lost", "weight lost", "extra", "truncated", "no weights", "no config", "config"]
)
def test_an_incomplete_folder_is_refused_in_one_sentence(tiny_unet, features, tmp_path, damage) -> None:
    save_null_text(make_null_text(tiny_unet, features), tmp_path)
    weights, config = tmp_path / WEIGHTS_NAME, tmp_path / "config.json"
    state = load_file(weights)
    name = "mid_block.attentions.0.transformer_blocks.0.attn2.E"
    if damage == "E lost":
        save_file({k: v for k, v in state.items() if k != name}, weights)
    elif damage == "weight lost":
        save_file({k: v for k, v in state.items() if k != "conv_in.weight"}, weights)
    elif damage == "extra":
        save_file(
            {**state, "mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight": state[name].clone()},
            weights,
        )
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no config":
        config.unlink()
    else:
        config.write_text(json.dumps({**json.loads(config.read_text()), "block_out_channels": [8, 24]}))
    with pytest.raises(SlipcastError, match="not a complete null-text UNet"):
        load_null_text(tmp_path)


def test_diffusers_own_loader_does_not_take_the_folder_for_a_text_unet(tiny_unet, features, tmp_path) -> None:
    from diffusers import UNet2DConditionModel

    save_null_text(make_null_text(tiny_unet, features), tmp_path)
    with pytest.raises(OSError, match="diffusion_pytorch_model"):
        UNet2DConditionModel.from_pretrained(tmp_path)


def test_an_ordinary_unet_is_not_saved_as_null_text(tiny_unet, tmp_path) -> None:
    with pytest.raises(ValueError, match="still reads text"):
        save_null_text(tiny_unet, tmp_path)


def test_the_predictor_gives_it_no_text(tiny_unet, features, schedule) -> None:
    unet = make_null_text(tiny_unet, features)
    predictor = UNetPredictor(
        unet, schedule=schedule, prediction_type="epsilon", latent_space="toy", name="domain"
    )
    torch.testing.assert_close(predictor.predict(latents(), T, [None])[0], run(unet))
    with pytest.raises(ValueError, match="'domain' takes no text but was given one"):
        predictor.predict(latents(), T, [text()])
