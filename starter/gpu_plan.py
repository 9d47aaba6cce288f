"""How a run of the GPU kit (``on_gpu``) divides its minutes, its cores and its batches."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Part:
    """A step's share of the training time, the slices it comes in, and how many pictures (solids) it takes at once."""

    share: float
    slices: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        minutes: from start to end, all together; reserve: of them, for packing.
        objects: of prior and domain that this run may render; shard_objects: of one file.
        renderers: processes of each.
        device: of the trainings; widths: of the prior's UNet; feature_steps: of the domain's text features.
    """

    minutes: float
    parts: dict[str, Part]
    objects: dict[str, int]
    shard_objects: int
    renderers: dict[str, int]
    device: str = "cuda"
    reserve: float = 0.5
    widths: tuple[int, ...] = (96, 192)
    feature_steps: int = 100


PARTS = {
    "codec": Part(0.24, 2, 384),  # ``build`` gives codec and image-to-3D half of a batch
    "prior": Part(0.38, 4, 512),
    "domain": Part(0.11, 1, 256),
    "control": Part(0.10, 1, 256),
    "lora": Part(0.03, 1, 128),
    "lift": Part(0.14, 1, 128),
}


def plan_for(cores: int, minutes: float) -> Plan:
    """A run on a GPU: one core feeds it, the others render, every fifth of them for the domain."""
    domain = max(1, (cores - 1) // 5)
    return Plan(
        minutes=minutes,
        parts=PARTS,
        objects={"prior": 24_576, "domain": 6_144},
        shard_objects=32,
        renderers={"prior": max(1, cores - 1 - domain), "domain": domain},
    )


def rehearsal(minutes: float) -> Plan:
    """Every step for a moment on this CPU, to see that all goes together and what a step costs."""
    return Plan(
        minutes=minutes,
        parts={name: replace(part, batch=4) for name, part in PARTS.items()},
        objects={"prior": 8, "domain": 8},
        shard_objects=4,
        renderers={"prior": 1, "domain": 1},
        device="cpu",
        reserve=0.1 * minutes,
        feature_steps=1,
    )
