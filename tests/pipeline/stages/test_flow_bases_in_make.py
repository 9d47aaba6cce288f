"""Stable Diffusion 3 and Flux with a domain learned beside them: from a prompt to a GLB, through every stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import disc_flows as flows
from fakes import disc_models as discs
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.domains.settings import Settings
from slipcast.pipeline.domains.training import Means, train_domain
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import make
from slipcast.pipeline.run.progress import Quiet
from slipcast.systems.images.files import read_subject
from slipcast.systems.mesh.report import report
from slipcast.systems.models import precision

SETTINGS = (
    f"image.steps={discs.STEPS}", "image.candidates=2", "dtype=float32",
    "mesh.resolution=24", "mesh.target_faces=400", "mesh.texture_size=64", "mesh.ambient_occlusion=false",
)  # fmt: skip
WEIGHTS = {"sd3": {"domain": 3.5, "text": 3.5}, "flux": {"domain": 3.5, "text": 1.0}}


def twelve_discs(folder: Path) -> Path:
    """Twelve pictures of the disc, each a little lighter or darker than the others."""
    folder.mkdir()
    large = np.kron(discs.disc_latents()[0, :3].numpy(), np.ones((1, 4, 4))).transpose(1, 2, 0) / 2 + 0.5
    for number in range(12):
        shade = (large + 0.01 * (number - 6)).clip(0, 1) * 255
        Image.fromarray(shade.round().astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(flows.MAKERS))
def test_a_flow_base_and_a_domain_of_its_own_reach_a_glb(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: False)
    base = tmp_path / "base"
    flows.MAKERS[name](tmp_path).save_pretrained(base)
    wanted = Settings(
        pictures=str(twelve_discs(tmp_path / "pictures")), name="discs", base=str(base), licence="CC0-1.0",
        method="lora", steps=2, batch=4, workers=1, learning_rate=1e-6, samples=0, evaluate_every=2,
    )  # fmt: skip
    domain = train_domain(wanted, Means("cpu"), Quiet(), out=tmp_path).domain

    config = load_config("smoke", [f"base={base}", f"domain={domain}", *SETTINGS])
    made = make("a disc", config, out=tmp_path / "runs", seed=1)
    assert made.made == ("image", "lift", "refine", "mesh", "paint", "export")
    subject = read_subject(made.run / "10-image/image.png")
    disc = np.kron(discs.disc_latents()[0, 0].numpy() < 0, np.ones((4, 4))).astype(bool)
    found = subject.alpha > 0.5
    assert (found & disc).sum() / (found | disc).sum() > 0.9
    assert np.abs(subject.rgb[disc & found].mean(0) - discs.DISC).max() < 0.1

    settled = json.loads((made.run / "manifest.json").read_text())["settled"]
    assert settled["image"]["scheduler"] == "euler"
    assert settled["image"]["weights"] == WEIGHTS[name]
    assert made.glb is not None
    mesh, extras = read_glb(made.glb)
    assert report(mesh).watertight and mesh.texture is not None
    assert [extras["models"][role]["id"] for role in ("base", "domain")] == [str(base), str(domain)]
    red, _, blue = mesh.texture.reshape(-1, 3).mean(0)
    assert blue > red + 50
    assert make("a disc", config, out=tmp_path / "runs", seed=1).made == ()
