"""Bases that are not the starter, in the layout that people have: from a prompt to a GLB, through every stage."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import disc_models as discs
from torch import Tensor

from slipcast.configs.loading import load_config
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import make
from slipcast.systems.domain.learning import DomainRecipe, train_domain
from slipcast.systems.images.files import read_subject
from slipcast.systems.mesh.report import report
from slipcast.systems.models import precision
from slipcast.systems.models.base import load_base
from slipcast.systems.models.uses import GENERAL
from slipcast.systems.training.loop import Budget

SETTINGS = (
    f"image.steps={discs.STEPS}", "image.candidates=2", "dtype=float32",
    "mesh.resolution=24", "mesh.target_faces=400", "mesh.texture_size=64", "mesh.ambient_occlusion=false",
)  # fmt: skip
RECIPE = DomainRecipe(name="discs", prompt="a disc", feature_steps=2, feature_batch=4)


@dataclass
class TwelveDiscs:
    """Twelve pictures of the disc, each a little lighter or darker than the others."""

    pictures: Tensor = field(init=False)

    def __post_init__(self) -> None:
        shades = 0.05 * torch.randn(12, 3, 1, 1, generator=torch.Generator().manual_seed(5))
        large = discs.disc_latents()[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3)
        self.pictures = (large + shades).clamp(-1, 1)

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        return self.pictures[torch.randint(12, (batch,), generator=generator)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(discs.MAKERS))
def test_a_base_and_a_domain_of_its_own_reach_a_glb(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
    base, domain = tmp_path / "base", tmp_path / "domain"
    discs.MAKERS[name](tmp_path).save_pretrained(base)
    budget = Budget(steps=3, batch=4, workers=1, warmup_steps=1, learning_rate=1e-6)
    train_domain(load_base(base), TwelveDiscs(), RECIPE, tmp_path / "work", domain, budget)

    score = "refine.score=sds" if name == "sd1" else "refine.score=vsd"
    config = load_config("smoke", [f"base={base}", f"domain={domain}", score, *SETTINGS])
    made = make("a disc", config, out=tmp_path / "runs", seed=1)
    assert made.made == ("image", "lift", "refine", "mesh", "paint", "export")
    subject = read_subject(made.run / "10-image/image.png")
    assert subject.alpha.shape == (discs.PIXELS, discs.PIXELS)
    disc = np.kron(discs.disc_latents()[0, 0].numpy() < 0, np.ones((4, 4))).astype(bool)
    found = subject.alpha > 0.5
    assert (found & disc).sum() / (found | disc).sum() > 0.9
    assert np.abs(subject.rgb[disc & found].mean(0) - discs.DISC).max() < 0.1

    # Nothing was asked for and the models say nothing of their use: what holds of any model.
    settled = json.loads((made.run / "manifest.json").read_text())["settled"]
    assert (settled["image"]["view"], settled["image"]["background"]) == (GENERAL.view, GENERAL.background)
    assert settled["image"]["scheduler"] == GENERAL.scheduler
    assert settled["image"]["weights"] == {"domain": 3.5, "text": 3.5}
    assert settled["refine"]["weights"] == GENERAL.weights["refine"]

    assert made.glb is not None
    mesh, extras = read_glb(made.glb)
    assert report(mesh).watertight and mesh.texture is not None
    assert [extras["models"][role]["id"] for role in ("base", "domain")] == [str(base), str(domain)]
    red, _, blue = mesh.texture.reshape(-1, 3).mean(0)
    assert blue > red + 50
    assert make("a disc", config, out=tmp_path / "runs", seed=1).made == ()


def test_the_models_draw_discs(tmp_path: Path, monkeypatch: Any) -> None:
    """Without slipcast: diffusers' own pipeline, read from the folder."""
    from diffusers import StableDiffusionPipeline

    discs.stable_diffusion(tmp_path, prediction_type="v_prediction").save_pretrained(tmp_path / "base")
    pipe: Any = StableDiffusionPipeline.from_pretrained(tmp_path / "base")
    pipe.set_progress_bar_config(disable=True)
    (found,) = pipe(
        "a disc", num_inference_steps=50, guidance_scale=3.0, output_type="latent",
        generator=torch.Generator().manual_seed(0),
    ).images  # fmt: skip
    assert (found - discs.disc_latents()[0]).abs()[:3].mean() < 0.15
