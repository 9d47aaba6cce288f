"""The hash grid's encoding on the CPU: kernels against plain torch, one look-up for each corner.

    python -m benchmarks.hash_grid [--points 262144] [--laps 5] [--out benchmarks/results]

8 levels of 2 features, 2^16 rows, base 16, growth 1.5, as in the figures from which the kernels were planned; points
along rays as refinement asks for them, and anywhere. Processor seconds of one thread, the best lap of each: they are
hardly longer on a busy machine. Forward, then backward to the table, and to table and points (normals).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slipcast.systems.field.hash_grid import encode
from slipcast.systems.field.hash_levels import GridShape

from .machine import report

SHAPE = GridShape(n_levels=8, log2_hashmap_size=16, per_level_scale=1.5)
BACKENDS = ("numba", "torch")


def main() -> None:
    """Time, compare, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=262_144)
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"points": given.points}
    for name, points in {"along rays": along_rays(given.points), "anywhere": anywhere(given.points)}.items():
        figures[name] = compared(points, given.laps)
    report("hash_grid", figures, given.out)


def anywhere(count: int) -> torch.Tensor:
    """[N, 3] in [0, 1]^3."""
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0))


def along_rays(count: int) -> torch.Tensor:
    """32 on each of many short rays in the middle, [N, 3] in [0, 1]^3."""
    generator = torch.Generator().manual_seed(0)
    middles = torch.rand(-(-count // 32), 1, 3, generator=generator) / 2 + 0.25
    ways = torch.randn(len(middles), 1, 3, generator=generator)
    ways = torch.nn.functional.normalize(ways, dim=-1)
    return (middles + ways * torch.linspace(-0.05, 0.05, 32)[:, None]).reshape(-1, 3)[:count]


def compared(points: torch.Tensor, laps: int) -> dict[str, Any]:
    """Milliseconds of each backend and how far apart their answers are, relative to the largest."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(SHAPE.rows, SHAPE.n_features_per_level, generator=generator) * 0.1
    signal = torch.randn(len(points), SHAPE.width, generator=generator)
    told, answers = dict[str, Any](), []
    for backend in BACKENDS:
        rows, places = table.clone().requires_grad_(), points.clone().requires_grad_()

        def features(asked: torch.Tensor, rows: torch.Tensor = rows, backend: str = backend) -> torch.Tensor:
            return encode(rows, asked, SHAPE, backend)

        made = features(places)
        answers.append([made.detach(), *torch.autograd.grad(made, (rows, places), signal)])
        del made
        forward, backward, both = [], [], []
        for _ in range(laps if backend == "numba" else 1 + laps // 3):
            taken, made = timed(lambda features=features: features(points))
            forward.append(taken)
            backward.append(timed(lambda made=made, rows=rows: torch.autograd.grad(made, rows, signal))[0])
            made = features(places)
            both.append(timed(lambda made=made, on=(rows, places): torch.autograd.grad(made, on, signal))[0])
        told[backend] = {
            "forward_ms": min(forward),
            "backward_ms": min(backward),
            "backward_to_points_too_ms": min(both),
            "forward_and_backward_ms": round(min(forward) + min(backward), 1),
        }
    ours, plain = (told[backend]["forward_and_backward_ms"] for backend in BACKENDS)
    apart = [
        ((one - other).abs().max() / other.abs().max()).item() for one, other in zip(*answers, strict=True)
    ]
    return told | {"times_quicker": round(plain / ours, 1), "largest_relative_difference": max(apart)}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of the processor, and what came of it."""
    start = time.process_time()
    made = work()
    return round(1000 * (time.process_time() - start), 1), made


if __name__ == "__main__":
    main()
