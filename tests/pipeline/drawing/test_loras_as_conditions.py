"""Two LoRAs as two conditions of a base without a domain, against diffusers' own adapters, on a tiny pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import lora_files as files
from fakes import tiny_pipelines as tiny
from safetensors.torch import load_file

from slipcast.configs.picture import picture_config
from slipcast.guidance import GuidedNoise
from slipcast.guidance.low_rank import low_rank_bytes
from slipcast.pipeline.drawing.plan import Plan, models_for, plan_pictures
from slipcast.systems.models import precision

X, T = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([100, 900])
SPEC = """
prompt: a teapot
base: {0}/sd
domain: none
size: "16"
weights: {{text: 2}}
conditions:
  style: {{prompt: a teapot, model: {0}/style.safetensors, weight: 1.5}}
  shape: {{prompt: a pot, model: {0}/shape.safetensors, weight: 0.5}}
"""


class Console:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-loras")
    pipe = tiny.stable_diffusion(folder)
    pipe.save_pretrained(folder / "sd")
    for seed, name in enumerate(("style", "shape"), 5):
        lora = files.random_lora(pipe, ("unet", "text_encoder"), seed=seed)
        files.write(folder, lora, f"{name}.safetensors")
    (folder / "spec.yaml").write_text(SPEC.format(folder))
    return folder


@pytest.fixture
def planned(place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, list[str]]:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
    given = {"device": "cpu", "dtype": "float32"}
    config, console = picture_config(place / "spec.yaml", given), Console()
    told: Any = console
    return plan_pictures(config, told, models_for(config)), console.notices


def said_by_diffusers(place: Path, prompt: str, lora: str | None = None) -> torch.Tensor:
    """eps of the plain pipeline, or with one LoRA in UNet and text encoder."""
    pipe = tiny.stable_diffusion(place)
    if lora:
        pipe.load_lora_weights(str(place), weight_name=f"{lora}.safetensors", adapter_name=lora)
    with torch.no_grad():
        text, _ = pipe.encode_prompt(prompt, "cpu", 2, False)
        return pipe.unet(X, T, text).sample


def test_each_adds_what_it_says_to_its_own_prompt_around_the_plain_base(place: Path, planned: Any) -> None:
    plan, notices = planned
    null, text = (said_by_diffusers(place, prompt) for prompt in ("", "a teapot"))
    style, shape = (
        said_by_diffusers(place, prompt, lora) for prompt, lora in (("a teapot", "style"), ("a pot", "shape"))
    )
    wanted = null + 2 * (text - null) + 1.5 * (style - null) + 0.5 * (shape - null)
    torch.testing.assert_close(GuidedNoise(plan.guidance)(X, T), wanted, atol=1e-5, rtol=1e-5)
    assert min(float((one - text).abs().max()) for one in (style, shape)) > 0.01
    assert plan.config.recipe == "composable" and any("so the recipe is composable" in one for one in notices)


def test_they_add_their_size_and_no_second_network(place: Path, planned: Any) -> None:
    plan, _ = planned
    networks = {id(branch.predictor.network) for branch in plan.guidance.branches}
    assert networks == {id(plan.base.predictor.network)}
    written = [load_file(place / f"{name}.safetensors") for name in ("style", "shape")]
    size = sum(
        4 * value.numel() for one in written for name, value in one.items() if name.startswith("unet.")
    )
    assert low_rank_bytes(plan.base.predictor.network) == pytest.approx(size, rel=0.01)
    assert {"condition style", "condition shape"} < plan.models.keys()
