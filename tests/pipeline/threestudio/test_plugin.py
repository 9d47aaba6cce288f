"""The plug-in in a process of its own, without slipcast: its gradient is the server's, whose models are real ones."""

from __future__ import annotations

import ast
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import threestudio_api
from fakes.guidance_clients import Doubled, Running, serving

from slipcast.configs.loading import load_config
from slipcast.guidance.distillation import sds_gradient
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.serving.asked import asked_of
from slipcast.pipeline.serving.scoring import Scorer
from slipcast.pipeline.threestudio.installing import install, installed_text
from slipcast.systems.field.cameras import orbit_camera

PROGRAM = Path(threestudio_api.__file__).with_name("threestudio_program.py")
REAL = os.environ.get("SLIPCAST_THREESTUDIO")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    config = load_config("starter", ["dtype=float32"])
    return Scorer("", config, ModelStore(config), Quiet())


@pytest.fixture
def running(scorer: Scorer) -> Iterator[Running]:
    with serving(scorer) as made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = threestudio_api.write_clone(tmp_path / "clone")
    install(folder)
    return folder


def _task(running: Running, folder: Path, **guidance: Any) -> dict[str, Any]:
    (folder / "token").write_text(running.token)
    settings = {"address": f"127.0.0.1:{running.port}", "token_file": str(folder / "token"), **guidance}
    return {
        "guidance": settings,
        "prompt": "a vase",
        "rgb": torch.rand(2, 24, 24, 3, generator=torch.Generator().manual_seed(3)),
        "elevation": torch.tensor([10.0, 20.0]),
        "azimuth": torch.tensor([5.0, -170.0]),
        "camera_distances": torch.tensor([1.5, 1.5]),
        "as_latents": False,
        "steps": [0, 100],
        "refused": [],
    }


def _run(clone: Path, folder: Path, task: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    torch.save(task, folder / "task.pt")
    places = [part for part in sys.path if part.endswith("site-packages")]
    places += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    # -S: without the .pth file by which this tree is installed.
    return subprocess.run(
        [sys.executable, "-S", str(PROGRAM), str(folder / "task.pt"), str(folder / "answer.pt")],
        cwd=clone, env=os.environ | {"PYTHONPATH": os.pathsep.join(places)}, capture_output=True, text=True,
    )  # fmt: skip


def _answers(clone: Path, folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    done = _run(clone, folder, task)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "answer.pt")


def _truth(
    scorer: Scorer, task: dict[str, Any], step: int, t_range: list[float], **more: Any
) -> torch.Tensor:
    """The gradient [B, H, W, C] that this process computes, without plug-in and wire."""
    base, rgb = scorer._models.base, task["rgb"].clone().requires_grad_()
    header = {"t_range": t_range, "seed": task["guidance"].get("seed", 0), "step": step}
    pictures = rgb.permute(0, 3, 1, 2)
    t, noise = scorer._drawn(
        asked_of(header, {"pictures": pictures.detach().contiguous()}, scorer.channels),
        torch.empty(2, *base.latent_shape),
    )
    latents = base.encode(torch.nn.functional.interpolate(pictures, (128, 128), mode="bilinear"))
    denoiser = scorer._views.told(
        ["front view", "back view"], prompt=task["prompt"], weights={"text": 4.0, "domain": 2.0}
    )
    grad = sds_gradient(denoiser, latents.detach(), t, noise, weighting="one_minus_alpha_bar", **more)
    latents.backward(grad / 2)
    assert rgb.grad is not None
    return rgb.grad


OWN = {
    "guidance_scale": 3.0,
    "weights": {"domain": 2.0},
    "max_step_percent": [0, 0.9, 0.3, 200],
    "grad_clip": 0.5,
}


def test_the_gradient_is_that_of_the_same_process(
    scorer: Scorer, running: Running, clone: Path, tmp_path: Path
) -> None:
    """Two steps of a schedule; their scale of 3 is a weight of 4; views by their angles; the mean over the batch."""
    task = _task(running, tmp_path, seed=5, **OWN)
    told = _answers(clone, tmp_path, task)
    _check(scorer, task, told)
    assert not told["system"]


@pytest.mark.skipif(not REAL, reason="SLIPCAST_THREESTUDIO=DIR names no clone of threestudio")
def test_the_real_threestudio_takes_a_step(scorer: Scorer, running: Running, tmp_path: Path) -> None:
    """Its own registry, configs, launch.py and dreamfusion-system; a copy, so that the clone stays as it is."""
    pytest.importorskip("omegaconf")
    assert REAL is not None
    clone = tmp_path / "clone"
    shutil.copytree(Path(REAL) / "threestudio", clone / "threestudio")
    shutil.copy(Path(REAL) / "launch.py", clone)
    install(clone)
    task = _task(running, tmp_path, seed=5, **OWN)
    told = _answers(clone, tmp_path, task)
    assert told["system"]
    _check(scorer, task, told)


def _check(scorer: Scorer, task: dict[str, Any], told: dict[str, Any]) -> None:
    for step, high, answer in zip(task["steps"], (0.9, 0.6), told["answers"], strict=True):
        wanted = _truth(scorer, task, step, [0.02, high], clamp=0.5)
        assert float((answer["gradient"] - wanted).norm()) < 1e-5 * float(
            wanted.norm()
        )  # float32, and other batches
        assert float(wanted.abs().max()) > 1e-4
        assert answer["loss"] > 0 and answer["out"]["loss_sds"] == pytest.approx(answer["loss"])
        assert (answer["out"]["min_step"], answer["out"]["max_step"]) == (20, int(1000 * high))
        assert answer["out"]["norm_text_null"] > 0 and answer["out"]["grad_norm"] > 0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"views": "above"}, "views is slipcast, threestudio or none, not 'above'"),
    ({"views": "threestudio"}, "takes its words from a prompt processor of threestudio's own"),
    ({"guidance_scale": 100.0, "weights": {"text": 7.0}}, "say two things of the term text"),
    ({"address": "localhost"}, "address expects HOST:PORT"),
    ({"address": "127.0.0.1:1"}, r"is not at 127.0.0.1:1 \(.*start `slipcast guidance serve --port 1`"),
    ({"token_file": "nowhere"}, r"No such file.*start `slipcast guidance serve"),
    ({"token_file": "launch.py"}, "server says: this is not the server's token; read it anew"),
    ({"weighting_strategy": "fantasia3d"}, "server says: weighting is one of sigma"),
]


def test_latents_go_without_an_encoder_and_what_cannot_be_is_told(clone: Path, tmp_path: Path) -> None:
    with serving(Doubled()) as running:
        task = _task(running, tmp_path) | {"as_latents": True, "steps": [0]}
        task["rgb"] = torch.rand(2, 8, 8, 4)
        task["refused"] = [task["guidance"] | settings for settings, _ in REFUSED]
        told = _answers(clone, tmp_path, task)
    (answer,) = told["answers"]
    torch.testing.assert_close(answer["gradient"], task["rgb"])  # twice what was sent, over two views
    assert answer["loss"] == 0.5
    for (_, said), sentence in zip(REFUSED, told["refusals"], strict=True):
        assert re.search(said, str(sentence)), sentence


def test_the_file_is_python_of_3_8_and_imports_torch_and_threestudio_alone() -> None:
    tree = ast.parse(installed_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {
        "contextlib", "ctypes", "dataclasses", "json", "pathlib", "re", "socket", "struct", "time", "typing",
        "torch", "threestudio",
    }  # fmt: skip
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
    newer = {
        "removeprefix",
        "removesuffix",
        "cache",
        "pairwise",
        "bit_count",
        "untyped_storage",
        "OutOfMemoryError",
    }
    assert not newer & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    strict = [kw.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for kw in node.keywords]
    assert "strict" not in strict
    # Annotations are evaluated there, by dataclasses and OmegaConf: no list[int], no X | None.
    hints = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    hints += [node.annotation for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]
    for hint in hints:
        assert not any(isinstance(part, ast.BinOp) for part in ast.walk(hint))
        heads = [part.value for part in ast.walk(hint) if isinstance(part, ast.Subscript)]
        assert not any(isinstance(head, ast.Name) and head.id in ("list", "dict", "tuple") for head in heads)


@pytest.mark.parametrize(("azimuth_deg", "elevation_deg"), [(0, 0), (90, 0), (-90, 30), (180, 10), (37, -20)])
def test_an_azimuth_means_the_same_side_in_both_worlds(azimuth_deg: float, elevation_deg: float) -> None:
    """threestudio's camera, its world turned so that its front +x becomes our front -y, is ours at the same angles."""
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    theirs = torch.tensor([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert (turn @ torch.tensor([1.0, 0.0, 0.0])).tolist() == [0.0, -1.0, 0.0] and torch.det(turn) == 1
    torch.testing.assert_close(turn @ theirs, orbit_camera(a, e, radius=1.0).position, atol=1e-6, rtol=0)
