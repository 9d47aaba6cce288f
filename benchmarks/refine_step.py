"""Where the time of a step of refinement goes on the CPU: the networks', and each part of our own code.

    python -m benchmarks.refine_step [--noun teapot] [--field voxels hashgrid] [--steps 60] [--threads 2] [--out DIR]

The starter's preset as it is (2 views of 128 pixels), of a picture of the starter's generator that the starter lifted.
So many of the preset's steps are taken, evenly over the run, so that the field hardens and the terms change their
weights as they do there. Milliseconds, medians over the steps without the first three. A part's time is without that
of the parts inside it, so that all parts of a step make up its whole; ``networks`` is the denoiser, the texts' encoder
and the pictures' encoder with its backward pass, ``own`` is all else. Steps that look at the picture, every second one,
render a third view: ``own`` is the mean of both kinds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import radians
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from slipcast.configs.loading import load_config
from slipcast.guidance import evaluation
from slipcast.pipeline.make import make
from slipcast.pipeline.run.models import open_models
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.guided_views import guided_views
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.voxels import FrozenGrid
from slipcast.systems.images.files import read_subject
from slipcast.systems.models.base import Base
from slipcast.systems.refine import step as steps_module
from slipcast.systems.refine.loop import Refinement
from slipcast.systems.refine.target import Target
from slipcast.systems.refine.trainable import trainable_field

from .fields import draw
from .machine import report
from .prompts import prompt

NETWORKS = ("denoiser", "texts", "encoder", "encoder, backward")
SEED = 0
_WARM_UP = 3


class Clock:
    """Milliseconds by part, of one step after the other; a part's time is without that of the parts inside it."""

    def __init__(self) -> None:
        self.steps = list[dict[str, float]]()
        self._inside = list[float]()

    @contextmanager
    def step(self) -> Iterator[None]:
        """All that is done here is one step; what belongs to no part of it is ``else``."""
        self.steps.append(defaultdict(float))
        with self.part("else"):
            yield

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """All that is done here belongs to this part."""
        self._inside.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            taken = 1000 * (time.perf_counter() - began)
            self.steps[-1][name] += taken - self._inside.pop()
            if self._inside:
                self._inside[-1] += taken

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, as a part."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return call


class Watched(torch.autograd.Function):
    """A differentiable function of one tensor, a part in its forward pass and another one in its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, function: Callable[..., Any], clock: Clock, name: str
    ) -> torch.Tensor:
        with torch.enable_grad(), clock.part(name):
            ctx.inner = x.detach().requires_grad_()
            ctx.made = function(ctx.inner)
        ctx.clock, ctx.name = clock, name
        return ctx.made.detach()

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        with ctx.clock.part(f"{ctx.name}, backward"):
            # Kept: at some steps the curve of the losses goes back through the graph, too.
            (grad,) = torch.autograd.grad(ctx.made, ctx.inner, upstream, retain_graph=True)
        return grad, None, None, None


class WatchedField:
    """A ``TrainableField`` whose work is timed."""

    def __init__(self, field: Any, clock: Clock) -> None:
        self._field, self._clock = field, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._field, name)

    def shown(self) -> Any:
        """As the field is at this step."""
        return self._clock.timed("field made ready", self._field.shown)()

    def shape_losses(self) -> Mapping[str, Any]:
        """The field's own terms, each a part."""
        own = self._field.shape_losses()
        return {name: self._clock.timed(f"term: {name}", loss) for name, loss in own.items()}


def refinement(noun: str, field: str, folder: Path, clock: Clock, settings: Sequence[str] = ()) -> Refinement:
    """The starter's refinement of a lifted picture of the noun, field and encoder watched."""
    config = load_config(
        "starter", [f"image.picture=[{draw(noun, folder)}]", f"refine.field={field}", *settings]
    )
    store = open_models(config)
    run = make(prompt(noun), config, out=folder, until_stage="lift", open_models=lambda _: store).run
    context = StageContext(prompt(noun), config, folder, {}, SEED, "refine", Quiet(), store)
    made = trainable_field(field)(FrozenGrid.load(run / "20-lift/field.safetensors"), config.refine)
    watched: Any = WatchedField(made, clock)
    camera = orbit_camera(0.0, radians(config.image.elevation_deg))
    return Refinement(
        watched,
        Target(read_subject(run / "10-image/image.png"), camera, config.refine.size),
        guided_views(context, config.refine),
        lambda pictures: Watched.apply(pictures, store.base.encode, clock, "encoder"),
        config.refine,
        SEED,
    )


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Everything else that is a part of a step, timed."""
    with ExitStack() as stack:
        for owner, name, part in (
            (evaluation, "_predict_in_chunks", "denoiser"),
            (Base, "condition", "texts"),
            (steps_module, "render_rays", "render"),
            (torch.Tensor, "backward", "backward"),
            (torch.optim.Adam, "step", "optimiser"),
        ):
            stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        yield


def taken(refined: Refinement, clock: Clock, total: int, count: int) -> dict[str, Any]:
    """Take so many steps and tell of them."""
    stride = max(1, total // count) | 1  # odd: with and without the picture in turn
    with watched(clock):
        for index in range(0, total, stride):
            with clock.step():
                refined.step(index)
    return told(clock.steps[_WARM_UP:])


def told(steps: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Medians of the parts and of the sums."""
    own = [sum(ms for name, ms in step.items() if name not in NETWORKS) for step in steps]
    networks = [sum(step.get(name, 0.0) for name in NETWORKS) for step in steps]
    kinds = [median(own[first::2]) for first in (0, 1) if own[first::2]]
    names = dict.fromkeys(name for step in steps for name in step)
    return {
        "steps": len(steps),
        "own_ms": round(sum(kinds) / len(kinds), 1),
        "own_ms_with_and_without_the_picture": sorted((round(one, 1) for one in kinds), reverse=True),
        "networks_ms": round(median(networks), 1),
        "parts_ms": {name: round(median(step.get(name, 0.0) for step in steps), 2) for name in names},
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--noun", default="teapot")
    parser.add_argument("--field", nargs="+", default=["voxels"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    figures: dict[str, Any] = {"noun": given.noun, "threads": given.threads}
    with tempfile.TemporaryDirectory() as scratch:
        for field in given.field:
            clock = Clock()
            refined = refinement(given.noun, field, Path(scratch) / field, clock)
            figures[field] = taken(refined, clock, load_config("starter", []).refine.steps, given.steps)
    report("refine_step", figures, given.out)


if __name__ == "__main__":
    main()
