"""How near the starter's pictures and assets are to true porcelain, told by networks that nobody here trained.

    pip install "slipcast[eval]"
    python -m benchmarks.fidelity [--only truth codec pictures assets] [--data DIR] [--runs runs-benchmark]
                                  [--out benchmarks/results]

FD48: squared Frechet distance over the 48 leading directions of a network's features to true renders (``frechet``), for
EfficientNet-Lite0 and -Lite1 with ImageNet weights. Recognised: share of pictures with a class of their noun among the
network's first five, averaged over nouns. Beside them the starter's own judge, which never saw a bad picture in its
training and calls nearly everything porcelain: it may speak of nouns, and proves nothing about fidelity.

Fixed before anything was trained to it, and to be left alone: nine nouns, their classes, prompt, seeds, true sets and
directions (kept in fidelity_truth.safetensors, so that a changed generator does not move the goal), N = 72 pictures a
figure. Three seeds are three figures, averaged: one figure of all their pictures would be smaller for nothing. The
judge is the one with the hash below.

    views    8 views of 9 nouns, 256 px, against 432 true ones: floor, other materials, refined assets (as GLB readers
             see them; lit softly as in previews, and as painted)
    fronts   8 front views of 9 nouns, 128 px, against 144 true ones: floor, other materials, the true ones through the
             codec and back, our pictures (25 steps, the preset's weights and sampler, cut out, on the truth's ground)

Eight views of one object are not eight objects: even true renders are at twice the distance when a figure shows one
object of each noun, as those of assets do. So assets are to be compared with the rows "one object a noun", pictures
with the other fronts.

Finished runs are used again, and rows that were not asked for stay in the results as they were.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipcast.configs.atomic import sha256_of_file
from slipcast.configs.errors import SlipcastError
from slipcast.starter.judge import Judge
from slipcast.systems.evaluation.frechet import Reference, save_references
from slipcast.systems.evaluation.imagenet import (
    INPUT_SIZE,
    NETWORKS,
    features_and_ranks,
    load_network,
    recognised,
)
from slipcast.systems.models.known import WEIGHTS

from . import truths
from .fidelity_pools import GROUPS, Pictures, Pool
from .machine import provenance, report

CLASSES = {
    "teapot": (849, 505), "vase": (883,), "mug": (504, 968), "pitcher": (725, 899, 901), "goblet": (572,),
    "lamp": (846, 619), "chair": (559, 765, 423, 857), "bottle": (898, 907, 440, 737), "cup": (504, 968),
}  # fmt: skip
"""ImageNet's classes that count as a noun."""
JUDGE_SHA256 = "b22c8fef81b8ac566c7b5bec1c60f6bf02130d69573fa7e918cfa0e7cc34e233"
TRUTH_SHA256 = "34aac2096eb8b7403b23554d60bb81359f4b3d3dd511d57ee45fbf47a97b0f5a"
TRUTH = Path(__file__).with_name("fidelity_truth.safetensors")
PURE_BLUE = (40, 40, 225)  # red and green below, blue above


def main() -> None:
    """Measure the rows asked for, print and keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--data", type=Path, default=truths.default_folder(), help="keeps the true renders")
    parser.add_argument("--runs", type=Path, default=Path("runs-benchmark"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    if sha256_of_file(WEIGHTS / "judge/diffusion_pytorch_model.safetensors") != JUDGE_SHA256:
        raise SlipcastError(
            "the starter's judge is not the one of the earlier figures; put it back, it is frozen"
        )
    if sha256_of_file(TRUTH) != TRUTH_SHA256:
        raise SlipcastError(f"{TRUTH.name} is not that of the earlier figures; put it back, it is frozen")
    jury, kept = Jury(), given.out / "fidelity.json"
    figures = json.loads(kept.read_text())["figures"] if kept.exists() else {}
    for group in given.only:
        for pool in GROUPS[group](given.data, given.runs):
            commit = {"commit": provenance()["commit"]}
            figures |= {name: commit | row for name, row in jury.rows(pool).items()}
            report("fidelity", figures, given.out)  # after every pool: what was measured stays


def freeze(data: Path) -> None:
    """Write the true sets' directions, means and covariances: done once, before the first figure."""
    sets = {
        "views": truths.views(data, truths.REFERENCE_SEED),
        "fronts": truths.fronts(data, truths.REFERENCE_SEED, truths.REFERENCE_FRONTS),
    }
    references = {
        f"{network}/{kind}": Reference.of(
            features_and_ranks(load_network(network), tensor_of(one))[0].numpy()
        )
        for network in NETWORKS
        for kind, one in sets.items()
    }
    save_references(TRUTH, references)


class Jury:
    """The networks and what they remember of the truth, and the starter's judge."""

    def __init__(self) -> None:
        self.networks = {name: load_network(name) for name in NETWORKS}
        self.judge = Judge.from_pretrained(WEIGHTS / "judge").eval()

    def rows(self, pool: Pool) -> dict[str, Any]:
        """Every row of a pool: {row: averages of its figures}."""
        tensors, small = tensor_of(pool.pictures), tensor_of(pool.pictures, 128)
        seen = {name: features_and_ranks(network, tensors) for name, network in self.networks.items()}
        verdict = self.judge.judge(small)
        right = np.array(self.judge.nouns)[verdict.noun] == pool.nouns
        red, green, blue = np.moveaxis(pool.pictures, -1, 0)
        pure = ((red < PURE_BLUE[0]) & (green < PURE_BLUE[1]) & (blue > PURE_BLUE[2])).mean((1, 2))

        def figure(chosen: np.ndarray) -> dict[str, Any]:
            told: dict[str, Any] = {"pictures": len(chosen)}
            for name, (features, ranks) in seen.items():
                hits = {
                    noun: recognised(ranks[chosen[pool.nouns[chosen] == noun]], CLASSES[noun])
                    .float()
                    .mean()
                    .item()
                    for noun in truths.NOUNS
                }
                distance = Reference.load(TRUTH, f"{name}/{pool.kind}").distance(features[chosen].numpy())
                told[name] = {
                    "fd48": distance,
                    "recognised": float(np.mean(list(hits.values()))),
                    "nouns": hits,
                }
            told["judge"] = {
                "noun": float(right[chosen].mean()),
                "in_domain": float((verdict.in_domain[chosen] > 0.5).mean()),
            }
            return told | {"pure_blue": float(pure[chosen].mean())}

        return {name: mean_of([figure(chosen) for chosen in figures]) for name, figures in pool.rows.items()}


def tensor_of(pictures: Pictures, size: int = INPUT_SIZE) -> torch.Tensor:
    """[N, 3, size, size] in [0, 1], resized bicubically."""
    resized = [
        np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)) for one in pictures
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def mean_of(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Averages of figures that were measured one by one, and how many they are."""
    return {"figures": len(figures), **_mean(figures)}


def _mean(values: list[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: _mean([value[key] for value in values]) for key in values[0]}
    return round(float(np.mean(values)), 4)


if __name__ == "__main__":
    main()
