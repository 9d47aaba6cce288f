"""A diffusers UNet behind the predictor protocol: one forward, any parameterisation, float32 out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.guidance import UNetPredictor
from slipcast.guidance.schedules import PARAMETERISATIONS

T = torch.tensor([20, 600])


def latents(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)


def text(seed: int, batch: int = 1, tokens: int = 5) -> torch.Tensor:
    return torch.randn(batch, tokens, 12, generator=torch.Generator().manual_seed(seed))


def predictor(unet: Any, schedule, prediction_type: str = "epsilon") -> UNetPredictor:
    return UNetPredictor(
        unet, schedule=schedule, prediction_type=prediction_type, latent_space="toy", name="tiny"
    )


def test_one_forward_equals_one_call_per_condition_and_sample(tiny_unet, schedule, monkeypatch) -> None:
    rows: list[int] = []
    forward = tiny_unet.forward
    monkeypatch.setattr(tiny_unet, "forward", lambda x, *a, **k: rows.append(len(x)) or forward(x, *a, **k))
    shared, per_sample = text(1), text(2, batch=2)
    together = predictor(tiny_unet, schedule).predict(latents(), T, [shared, per_sample])
    assert rows == [4]
    for i in range(2):
        for said, condition in zip(together, [shared, per_sample[i : i + 1]], strict=True):
            alone = forward(latents()[i : i + 1], T[i : i + 1], encoder_hidden_states=condition).sample
            torch.testing.assert_close(said[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_texts_of_different_lengths_keep_their_places(tiny_unet, schedule) -> None:
    texts = [text(1), text(2, tokens=9), text(3)]
    together = predictor(tiny_unet, schedule).predict(latents(), T, texts)
    for said, condition in zip(together, texts, strict=True):
        alone = predictor(tiny_unet, schedule).predict(latents(), T, [condition])[0]
        torch.testing.assert_close(said, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_output_is_converted_to_eps(tiny_unet, schedule, kind) -> None:
    raw = tiny_unet(latents(), T, encoder_hidden_states=text(1).expand(2, -1, -1)).sample
    eps = predictor(tiny_unet, schedule, kind).predict(latents(), T, [text(1)])[0]
    torch.testing.assert_close(eps, PARAMETERISATIONS[kind].to_eps(schedule, latents(), raw, T))


def test_a_flow_network_is_asked_at_its_own_point_and_time(tiny_unet, schedule) -> None:
    x, time = schedule.flow_coordinates(latents(), T)
    raw = tiny_unet(x, time, encoder_hidden_states=text(1).expand(2, -1, -1)).sample
    eps = predictor(tiny_unet, schedule, "flow_prediction").predict(latents(), T, [text(1)])[0]
    torch.testing.assert_close(eps, schedule.eps_from_flow(latents(), raw, T))


def test_half_precision_channels_last_network_answers_in_float32(tiny_unet, schedule) -> None:
    half = copy.deepcopy(tiny_unet).to(torch.bfloat16, memory_format=torch.channels_last)
    eps = predictor(half, schedule, "v_prediction").predict(latents(), T, [text(1)])[0]
    exact = predictor(tiny_unet, schedule, "v_prediction").predict(latents(), T, [text(1)])[0]
    assert eps.dtype == torch.float32
    torch.testing.assert_close(eps, exact, atol=0.05, rtol=0.05)
    assert predictor(half, schedule).predict(latents(torch.bfloat16), T, [text(1)])[0].dtype == torch.float32


def test_double_precision_latents_stay_double(tiny_unet, schedule) -> None:
    eps = predictor(tiny_unet, schedule).predict(latents(torch.float64), T, [text(1)])[0]
    assert eps.dtype == torch.float64


def test_a_text_network_without_text_and_an_unknown_parameterisation_are_refused(tiny_unet, schedule) -> None:
    with pytest.raises(ValueError, match="'tiny' reads text but was given no condition"):
        predictor(tiny_unet, schedule).predict(latents(), T, [None])
    with pytest.raises(BadInput, match="no prediction_type 'velocity'"):
        predictor(tiny_unet, schedule, "velocity")
