"""Which cells there are, what they will cost on this machine, and what a scale needs before it can begin."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ...configs.errors import BadInput
from ...guidance.training import Example
from ...systems.baselines.table import BASELINES
from ...systems.domain.tasks import plain_attention
from ...systems.models.base import Base
from ...systems.models.precision import quiet_libraries
from ...systems.training.loop import compute_dtype
from ...systems.training.memory import GB, activations_of, memory_of
from . import assets, first_paper, second_paper
from .cells import Cell, Cost
from .classes import small_dit
from .learning import Lessons
from .scales import Scale

_PROBE = 16
SHARED = 0.85
"""What each of several cores still does beside the others."""
ASSET_SECONDS = 80.0
"""Of a core, for one asset at the starter's preset without its previews."""


def all_cells(lessons: Lessons) -> list[Cell]:
    """Every cell, each once, those that it needs before it."""
    found: dict[str, Cell] = {}
    for cell in (*first_paper.cells(lessons), *second_paper.cells(lessons), *assets.cells(lessons)):
        found.setdefault(cell.name, cell)
    return list(found.values())


@dataclass(frozen=True)
class Speeds:
    """Seconds of one core for one of each of ``cells.Cost``."""

    trained: float
    drawn: float
    judged: float = 0.08
    rendered: float = 0.12
    assets: float = ASSET_SECONDS
    class_trained: float = 0.0
    class_drawn: float = 0.0

    def of(self, cost: Cost) -> float:
        """Of a cell."""
        return sum(getattr(self, one.name) * getattr(cost, one.name) for one in fields(cost))


def measured(base: Base, scale: Scale) -> Speeds:
    """A step of each kind on this machine, timed once warmed up."""
    channels, side, _ = base.latent_shape
    x, t = torch.randn(_PROBE, channels, side, side), torch.full((_PROBE,), 500)
    dtype = compute_dtype("cpu")  # of training, which trainings on the small DiT share
    with quiet_libraries():
        copied = copy.deepcopy(base.predictor.network).to("cpu", dtype, memory_format=torch.channels_last)
    network: Any = base.family.predictor(
        copied,
        schedule=base.predictor.schedule,
        prediction_type=base.predictor.prediction_type,
        latent_space=base.predictor.latent_space,
        name="timed",
    )
    told = base.condition([scale.said(scale.prompt, token=False)])
    example = Example(x.to(dtype), t, torch.zeros_like(x, dtype=dtype))
    plain_attention(network.network.train().requires_grad_(True))
    trained = _timed(lambda: network.loss(example, told).backward())
    with torch.no_grad():
        drawn = _timed(lambda: base.predictor.predict(x, t, [told]))
    dit: Any = small_dit(scale.classes, channels, side, 40)
    labels = torch.zeros(_PROBE, dtype=torch.long)
    with torch.no_grad():
        class_drawn = _timed(lambda: dit.eval()(x, timestep=t, class_labels=labels))
    with quiet_libraries():
        dit.to(dtype).train()
    class_trained = _timed(
        lambda: dit(x.to(dtype), timestep=t, class_labels=labels).sample.square().mean().backward()
    )
    each = [one / _PROBE for one in (trained, drawn, class_trained, class_drawn)]
    return Speeds(each[0], each[1], class_trained=each[2], class_drawn=each[3])


def _timed(step: Any) -> float:
    """Seconds of this process's cores."""
    step()
    began = time.process_time()
    step()
    return time.process_time() - began


def told(cells: Sequence[Cell], speeds: Speeds, scale: Scale, *, workers: int) -> dict[str, Any]:
    """The plan by table: cells and core seconds, and how long all of it takes; JSON-able."""
    tables: dict[str, dict[str, float]] = {}
    for cell in cells:
        row = tables.setdefault(cell.table, {"cells": 0, "core_minutes": 0.0})
        row["cells"] += 1
        row["core_minutes"] += speeds.of(cell.cost) / 60
    minutes = sum(row["core_minutes"] for row in tables.values())
    return {
        "scale": scale.name,
        "tables": {name: {k: round(v, 1) for k, v in row.items()} for name, row in tables.items()},
        "core_hours": _short(minutes / 60),
        "hours": _short(minutes / 60 / (workers * (SHARED if workers > 1 else 1))),
        "workers": workers,
    }


def _short(hours: float) -> float:
    """Three digits of it: a quick look takes thousandths of an hour."""
    return float(f"{hours:.3g}")


PAPERS_MODELS: Mapping[str, str] = {
    "sd15": "the base (`slipcast fetch sd15`)",
    "canny": "its ControlNet for edges (`slipcast fetch canny`)",
    "dinov2": "the extractor dinov2 (`hf download facebook/dinov2-large`)",
}


def papers_plan(scale: Scale, pictures: Path | None) -> dict[str, Any]:
    """What the papers' own scale needs: memory of every method's training, work, models and pictures; JSON-able.

    Counted on Stable Diffusion 1.5's own networks without numbers, so that no model has to be here.
    """
    memory = {
        method: round(memory_at_sd15(method, scale.at_once or scale.batch) / GB, 1) for method in BASELINES
    }
    steps = scale.steps * len(BASELINES) * len(scale.seeds)
    drawn = len(scale.seeds) * len(BASELINES) * (3 * scale.samples + 3 * scale.per_word * len(scale.words))
    return {
        "scale": scale.name,
        "memory_gb": memory,
        "training_steps_of_32_pictures": steps,
        "network_calls_in_sampling": drawn * scale.sample_steps,
        "gpu_hours": round(
            (steps * scale.batch * TRAINED_TFLOP + drawn * scale.sample_steps * DRAWN_TFLOP)
            / GPU_TFLOPS
            / 3600
        ),
        "models": {name: {"what": what, "here": here(name)} for name, what in PAPERS_MODELS.items()},
        "pictures": str(pictures) if pictures else "a folder of the domain's pictures: --pictures FOLDER",
    }


DRAWN_TFLOP, TRAINED_TFLOP, GPU_TFLOPS = 0.68, 3 * 0.68, 125.0
"""Of one call of Stable Diffusion 1.5's network on a picture of 512 pixels, of one with its backward pass, and what an
A100 does in a second at 40 % of its fp16 peak: an estimate, not a measurement."""


def memory_at_sd15(method: str, batch: int) -> int:
    """Bytes of one training step of a method at Stable Diffusion 1.5's size, on the device "meta"."""
    from diffusers import UNet2DConditionModel

    from ...guidance.null_text import empty_null_text
    from ...systems.baselines.table import baseline_named
    from ...systems.training.loop import Budget

    with torch.device("meta"):
        network: Any = UNet2DConditionModel(cross_attention_dim=768, sample_size=64).requires_grad_(False)
        adapt = baseline_named(method).adapt
        if adapt is None:
            network = empty_null_text(dict(network.config)).requires_grad_(True)
        else:
            adapt(network)
        text = None if adapt is None else torch.empty(batch, 77, 768)
        x, t = torch.empty(batch, 4, 64, 64, requires_grad=True), torch.zeros(batch, dtype=torch.long)
    network.to(torch.float16).train()

    def loss() -> torch.Tensor:
        text_half = None if text is None else text.half()
        return network(x.half(), t, text_half).sample.float().square().mean()

    budget = Budget(steps=1, batch=batch, workers=1, optimizer="adamw8bit", device="cuda", accumulate=4)
    kept = activations_of(network, loss, fused=True).kept
    return memory_of(network, budget, kept).total


def here(name: str) -> bool:
    """Whether a model of the papers' scale is on this machine."""
    from ...systems.evaluation.extractors import EXTRACTORS
    from ...systems.models.aliases import resolve

    try:
        if name in EXTRACTORS:
            EXTRACTORS[name].load("cpu")
        else:
            resolve(name)
    except BadInput:
        return False
    return True


def refuse_missing(scale: Scale, pictures: Path | None) -> None:
    """BadInput, in one sentence, for what the papers' scale lacks."""
    if scale.name != "sd15":
        return
    missing = [what for name, what in PAPERS_MODELS.items() if not here(name)]
    if pictures is None:
        missing.append("a folder of the domain's pictures (--pictures FOLDER)")
    if missing:
        raise BadInput(
            f"--scale sd15 needs {', '.join(missing)}; with --dry-run it tells memory and time without them"
        )
