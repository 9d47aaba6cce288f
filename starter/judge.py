"""The judge: a small classifier of noun, material and domain, for metrics and tests only.

It is trained on other seeds than the models that it judges, and on porcelain of every noun, the held-out ones included.
Nothing in the pipeline asks it; a pipeline that ranked by its own judge would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ..systems.lift.starter import Residual
from ..systems.models.patch_codec import PatchCodec
from ..systems.models.reading import read_network
from ..systems.models.shipped import check_hashes
from ..systems.training.loop import Budget, train
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


@dataclass
class JudgeTask:
    """Cross-entropy of all three answers on disturbed renders; see ``training.Task``."""

    shards: Path
    codec: Path
    nouns: tuple[str, ...]
    materials: tuple[str, ...]

    def modules(self) -> dict[str, nn.Module]:
        """The classifier, seeded."""
        torch.manual_seed(0)
        return {"judge": Judge(self.nouns, self.materials)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open the renders in this process."""
        self._judge, self._device = modules["judge"], device
        self._arrays, _ = load_shards(self.shards, ("rgba", "object", "noun", "material", "domain"))
        self._codec = PatchCodec.from_pretrained(self.codec).requires_grad_(False)

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Half of the pictures pass through the latents, with noise: generated pictures look like that."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        rows = rng.integers(0, len(self._arrays["rgba"]), batch)
        pictures = torch.from_numpy(composite(self._arrays["rgba"][rows], *random_backgrounds(rng, batch)))
        latents = self._codec.encode(pictures[: batch // 2]).latents
        latents = latents + 0.15 * torch.rand(len(latents), 1, 1, 1, generator=generator) * torch.randn(
            latents.shape, generator=generator
        )
        pictures[: batch // 2] = self._codec.decode(latents).sample
        pictures = shifted(pictures, rng) + 0.04 * torch.randn(pictures.shape, generator=generator)
        owner = self._arrays["object"][rows]
        seen = (
            (pictures * 0.5 + 0.5)
            .clamp(0, 1)
            .to(self._device, torch.bfloat16, memory_format=torch.channels_last)
        )
        noun, material, domain = self._judge(seen)
        truth = {
            key: torch.from_numpy(self._arrays[key][owner].astype(np.int64)).to(self._device)
            for key in ("noun", "material", "domain")
        }
        return (
            F.cross_entropy(noun.float(), truth["noun"], label_smoothing=0.05)
            + 0.3 * F.cross_entropy(material.float(), truth["material"], label_smoothing=0.05)
            + 0.5 * F.binary_cross_entropy_with_logits(domain.float(), truth["domain"].float())
        )


def load_judge(folder: Path) -> Judge:
    """Read the judge's folder. BadInput in one sentence when it is damaged or incomplete."""
    check_hashes(folder)
    return read_network(Judge, folder, "the judge")


def shifted(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Moved by up to 8 pixels, wrapping the plain ground round."""
    return torch.roll(pictures, (int(rng.integers(-8, 9)), int(rng.integers(-8, 9))), dims=(2, 3))


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


def train_judge(shards: Path, codec: Path, work: Path, out: Path, budget: Budget) -> Judge:
    """Train (or go on training) and write the judge's folder, float16."""
    _, info = load_shards(shards, ("noun",))
    task = JudgeTask(shards, codec, tuple(info["nouns"]), tuple(info["materials"]))
    judge = train(task, work, budget, label="judge")["judge"]
    assert isinstance(judge, Judge)
    judge.half().save_pretrained(out)
    return judge.float()
