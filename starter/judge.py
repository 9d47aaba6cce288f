"""The judge: a small classifier of noun, material and domain, for metrics and tests only.

It was trained on other seeds than the models that it judges and on porcelain of every noun, the held-out ones included,
with half of the pictures passed through the first codec. It is frozen since (README.md tells how it was made), so that
figures of different starters can be compared. Nothing in the pipeline asks it; a pipeline that ranked by its own judge
would prove nothing. It never saw a bad picture, so what it says of the domain is worth little.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ..systems.lift.starter import Residual
from ..systems.models.reading import read_network
from ..systems.models.shipped import check_hashes
from .batches import composite, random_backgrounds
from .dataset import load_shards


@dataclass(frozen=True)
class Verdict:
    """What the judge says of B pictures: noun [B] and material [B] as indices, in_domain [B] as probability."""

    noun: np.ndarray
    material: np.ndarray
    in_domain: np.ndarray


class Judge(ModelMixin, ConfigMixin):
    """Pictures [B, 3, 128, 128] in [0, 1] over any plain ground -> logits of noun, material and domain."""

    @register_to_config
    def __init__(
        self, nouns: tuple[str, ...], materials: tuple[str, ...], widths: tuple[int, ...] = (32, 64, 128, 192)
    ) -> None:
        super().__init__()
        self.nouns, self.materials = list(nouns), list(materials)
        self.enter = nn.Conv2d(12, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            Residual(a, b) for a, b in zip((widths[0], *widths), (*widths, widths[-1]), strict=True)
        )
        self.noun = nn.Linear(widths[-1], len(self.nouns))
        self.material = nn.Linear(widths[-1], len(self.materials))
        self.domain = nn.Linear(widths[-1], 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, nouns], [B, materials], [B]."""
        x = self.enter(F.pixel_unshuffle(pictures * 2 - 1, 2))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.blocks) - 1:
                x = F.avg_pool2d(x, 2)
        x = F.silu(x).mean((2, 3))
        return self.noun(x), self.material(x), self.domain(x)[:, 0]

    @torch.no_grad()
    def judge(self, pictures: Tensor) -> Verdict:
        """Pictures [B, 3, 128, 128] in [0, 1] -> the most likely noun and material, and P(in domain)."""
        noun, material, domain = self(pictures.to(self.dtype))
        return Verdict(noun.argmax(1).numpy(), material.argmax(1).numpy(), domain.float().sigmoid().numpy())


def load_judge(folder: Path) -> Judge:
    """Read the judge's folder. BadInput in one sentence when it is damaged or incomplete."""
    check_hashes(folder)
    return read_network(Judge, folder, "the judge")


def evaluate_judge(judge: Judge, shards: Path) -> dict[str, float]:
    """Accuracy on renders of further seeds."""
    arrays, _ = load_shards(shards, ("rgba", "object", "noun", "material", "domain"))
    rng = np.random.default_rng(0)
    right = {"noun": 0, "noun_porcelain": 0, "material": 0, "in_domain": 0}
    count, porcelain = len(arrays["rgba"]), 0
    for start in range(0, count, 64):
        rows = np.arange(start, min(start + 64, count))
        pictures = (
            torch.from_numpy(composite(arrays["rgba"][rows], *random_backgrounds(rng, len(rows)))) * 0.5 + 0.5
        )
        verdict, owner = judge.judge(pictures), arrays["object"][rows]
        hit, inside = verdict.noun == arrays["noun"][owner], arrays["domain"][owner].astype(bool)
        right["noun"] += int(hit.sum())
        right["noun_porcelain"] += int((hit & inside).sum())
        porcelain += int(inside.sum())
        right["material"] += int((verdict.material == arrays["material"][owner]).sum())
        right["in_domain"] += int(((verdict.in_domain > 0.5) == inside).sum())
    return {key: value / (porcelain if key == "noun_porcelain" else count) for key, value in right.items()}
