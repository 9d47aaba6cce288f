"""Every stage on a CUDA device, with the starter; skipped where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.sampling import sample, seeded_noise
from slipcast.guidance.schedulers import scheduler_named
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import MakeResult, make
from slipcast.systems.domain.model import load_domain
from slipcast.systems.field.voxels import FrozenGrid, VoxelField
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.recipes import picture_guidance
from slipcast.systems.mesh.report import report
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PROMPT = "a blue and white porcelain vase"
SMALL = ["dtype=float32", "refine.steps=12", "mesh.resolution=64", "mesh.texture_size=128"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MakeResult]:
    """The same asset made on either device, in float32."""
    return {
        device: make(
            PROMPT,
            load_config("smoke", [*SMALL, f"device={device}"]),
            out=tmp_path_factory.mktemp(device),
            seed=1,
        )
        for device in ("cpu", "cuda")
    }


def test_the_run_says_where_it_was_made(runs: dict[str, MakeResult]) -> None:
    told = {name: json.loads((run.run / "manifest.json").read_text()) for name, run in runs.items()}
    assert {name: one["config"]["device"] for name, one in told.items()} == {"cpu": "cpu", "cuda": "cuda"}
    assert runs["cuda"].made == ("image", "lift", "refine", "mesh", "paint", "export")


def test_the_image_stage_draws_the_same_picture(runs: dict[str, MakeResult]) -> None:
    pictures = [
        np.asarray(Image.open(run.run / "10-image" / "candidates.png"), float) for run in runs.values()
    ]
    assert pictures[0].std() > 10
    assert abs(pictures[0] - pictures[1]).mean() < 2


def test_the_lift_stage_gives_the_same_field(runs: dict[str, MakeResult]) -> None:
    fields = [FrozenGrid.load(run.run / "20-lift" / "field.safetensors") for run in runs.values()]
    assert (fields[0].occupancy - fields[1].occupancy).abs().mean() < 1e-2


def test_the_refined_fields_are_alike(runs: dict[str, MakeResult]) -> None:
    """Adam's first steps are as long for a rounding error as for a gradient: alike, not equal."""
    solid = [
        VoxelField.load(run.run / "30-refine" / "field.safetensors").occupancy() > 0.5
        for run in runs.values()
    ]
    assert (solid[0] & solid[1]).sum() / (solid[0] | solid[1]).sum() > 0.9


def test_mesh_and_export_are_whole(runs: dict[str, MakeResult]) -> None:
    glb = runs["cuda"].glb
    assert glb is not None
    mesh, extras = read_glb(glb)
    assert extras["prompt"] == PROMPT and mesh.texture is not None and report(mesh).watertight


def test_the_same_command_again_makes_nothing(runs: dict[str, MakeResult]) -> None:
    config = load_config("smoke", [*SMALL, "device=cuda"])
    assert make(PROMPT, config, out=runs["cuda"].run.parent, seed=1).made == ()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("recipe", ["cfg", "in_domain", "domain_guidance"])
def test_recipes_draw_in_every_dtype(recipe: str, dtype: str) -> None:
    def picture(device: str, dtype: str) -> torch.Tensor:
        base = load_base(WEIGHTS / "prior", device=device, dtype=dtype)
        domain = load_domain(WEIGHTS / "domain", base, device=device)
        guidance = picture_guidance(recipe, Ingredients(base=base, prompt=PROMPT, domain=domain), {})
        noise, generators = seeded_noise([3], base.latent_shape, device=base.device)
        scheduler = scheduler_named("dpm++", base.pipeline.scheduler)
        latents = sample(GuidedNoise(guidance), scheduler, noise, steps=8, generator=generators)
        assert latents.device.type == device
        return base.decode(latents).cpu()

    far = (picture("cuda", dtype) - picture("cpu", "float32")).abs().mean()
    assert far < (0.01 if dtype == "float32" else 0.05)


def test_one_network_at_a_time_leaves_the_device_to_the_next() -> None:
    from slipcast.guidance.offloading import CPUOffload

    base = load_base(WEIGHTS / "prior", device="cuda", dtype="float32", offload=CPUOffload("cuda"))
    assert base.device.type == "cuda" and base.dtype == torch.float32
    latents = base.encode(torch.full((1, 3, base.picture_size, base.picture_size), 0.5))
    assert latents.device.type == "cuda"
    assert next(base.predictor.network.parameters()).device.type == "cpu", "it waits for its turn"
