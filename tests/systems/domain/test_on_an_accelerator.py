"""Learning a domain on another device: text features, the null-text network, and one step of its training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import tiny_pipelines
from fakes.accelerator import ACCELERATOR, on_accelerator
from torch import Tensor

from slipcast.guidance.null_text import make_null_text, null_text_features, save_null_text
from slipcast.systems.domain import learning
from slipcast.systems.domain.learning import DomainRecipe, null_text_task, optimise_text_features
from slipcast.systems.domain.sources import Encoded
from slipcast.systems.models.base import load_base

RECIPE = DomainRecipe(name="toy", prompt="a vase", feature_steps=2, feature_batch=2)


class Plain:
    """Pictures of one random colour each."""

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        return torch.rand(batch, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16) * 2 - 1


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_a_domain_is_learned_there_as_it_is_here(tmp_path: Path, kind: str) -> None:
    pipeline = (
        tiny_pipelines.sdxl(tmp_path)
        if kind == "sdxl"
        else tiny_pipelines.stable_diffusion(
            tmp_path, prediction_type={"sd1": "epsilon", "sd2": "v_prediction"}[kind]
        )
    )
    pipeline.save_pretrained(tmp_path / kind)

    def learned(device: str) -> tuple[list[float], Tensor, Tensor]:
        base = load_base(tmp_path / kind, device=device, dtype="float32")
        source = Encoded(Plain(), base.codec.alone(), base.unconditional)
        told, losses = optimise_text_features(base, source, RECIPE, seed=0)
        example, _ = learning._example(base, source, 4, RECIPE, torch.Generator().manual_seed(0))
        unet = base.predictor.network
        null_text = make_null_text(unet, null_text_features(unet, told, example.x, example.t))
        save_null_text(null_text.requires_grad_(True), tmp_path / device)
        task = null_text_task(base, source, tmp_path / device, RECIPE)
        modules = task.modules()
        if device == ACCELERATOR:
            on_accelerator(modules["unet"])
        task.open(modules, device)
        loss = task.loss(2, torch.Generator().manual_seed(1))
        loss.backward()
        gradient = next(modules["unet"].parameters()).grad
        assert gradient is not None and gradient.device.type == device
        return losses, loss.detach().cpu(), gradient.cpu()

    (losses, loss, gradient), (losses_there, loss_there, gradient_there) = map(learned, ("cpu", ACCELERATOR))
    assert losses_there == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(loss_there, loss, rtol=1e-4, atol=0)
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient_there, gradient, rtol=1e-3, atol=1e-5)
