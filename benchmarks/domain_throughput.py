"""Steps of a domain's training against a bare loop over the same network, batches and optimiser.

``python -m benchmarks.domain_throughput [--steps 20] [--device cpu]``: the starter's prior as a null-text UNet, random
latents in main memory. The bare loop is what one would write by hand: forward, backward, clip, step. What the trainer
adds (float32 masters, averages, its clock, its log) is the difference; it should stay within 5 %. On a CPU the
process's own time is taken, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slipcast.guidance.conditioning import Condition, Conditioning
from slipcast.guidance.null_text import make_null_text, null_text_features, save_null_text
from slipcast.systems.domain.learning import DomainRecipe, null_text_task
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.training.loop import Budget, compute_dtype, train

from .machine import report


@dataclass
class Latents:
    """So many random latents."""

    shape: tuple[int, int, int]
    count: int = 512

    def open(self, device: str) -> Latents:
        """The same in every process."""
        self.held = torch.randn(self.count, *self.shape, generator=torch.Generator().manual_seed(0))
        self.device = device
        return self

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """As a ``LatentSource``."""
        rows = torch.randint(self.count, (batch,), generator=generator)
        return self.held[rows].to(self.device), Conditioning()


def clock_of(device: str) -> Callable[[], float]:
    """Seconds: of this process on a CPU, of the wall on a GPU, which computes beside it."""
    return time.process_time if device == "cpu" else time.perf_counter


def bare(task: Any, device: str, batch: int, steps: int, warm: int) -> float:
    """Seconds a step of a loop by hand."""
    clock = clock_of(device)
    modules = task.modules()
    unet = modules["unet"].to(device, compute_dtype(device)).to(memory_format=torch.channels_last)
    task.open(modules, device)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=1e-5)
    began = 0.0
    for step in range(warm + steps):
        if step == warm:
            began = clock()
        loss = task.loss(batch, torch.Generator().manual_seed(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss.item()
    return (clock() - began) / steps


def trained(task: Any, device: str, batch: int, steps: int, warm: int) -> float:
    """Seconds a step of the trainer."""
    clock = clock_of(device)
    with tempfile.TemporaryDirectory() as folder:
        budget = Budget(
            steps=warm + steps, batch=batch, workers=1, device=device, optimizer="adamw", learning_rate=1e-5,
            schedule="constant", checkpoint_minutes=60.0,
        )  # fmt: skip
        seen: list[float] = []
        train(
            task,
            Path(folder),
            budget,
            label="trained",
            watch=lambda step, seconds, loss: seen.append(clock()),
        )
        return (seen[-1] - seen[warm - 1]) / steps


def main() -> None:
    """Measure both, one after the other and once more the other way round, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    base = load_base(WEIGHTS / "prior", name="starter", device="cpu")
    source, recipe = Latents(base.latent_shape), DomainRecipe("noise", "a photo")
    with tempfile.TemporaryDirectory() as folder:
        unet, told = base.predictor.network, base.condition(["a photo"])
        x, t = torch.randn(4, *base.latent_shape), torch.full((4,), 500)
        start = make_null_text(unet, null_text_features(unet, told, x, t))
        save_null_text(start.float().requires_grad_(True), Path(folder) / "start")
        task = null_text_task(base, source, Path(folder) / "start", recipe)
        took: dict[str, list[float]] = {"bare": [], "trained": []}
        for order in (("bare", "trained"), ("trained", "bare")):
            for name in order:
                run = bare if name == "bare" else trained
                took[name].append(run(task, asked.device, asked.batch, asked.steps, 3))
    best = {name: min(seconds) for name, seconds in took.items()}
    result = {
        "device": asked.device,
        "batch": asked.batch,
        "steps": asked.steps,
        "seconds_a_step": {name: round(one, 4) for name, one in best.items()},
        "slower_percent": round(100 * (best["trained"] / best["bare"] - 1), 1),
    }
    report("domain_throughput", result, asked.out)


if __name__ == "__main__":
    main()
