"""In-domain pictures: the paper's claim in one table, judged by the starter's classifier.

    python -m benchmarks.images [--out benchmarks/results]

For 20 nouns x 2 seeds (held-out nouns included), each method draws ONE picture per noun and seed (no ranking):

    prior alone        CFG of the frozen prior: follows the noun, leaves the domain
    domain alone       the domain's null-text UNet: in the domain, blind to the noun
    in-domain          both in one sum (paper 1, Eq. 6) at the preset's weights

Twice: with prompts that name the domain ("a blue and white porcelain teapot"), as users type them, and with the noun
alone ("a teapot"), where the domain can come from its pictures only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.configs.schema import ImageConfig
from slipcast.guidance.algebra import Branch
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.recipes import cfg, in_domain, interval
from slipcast.guidance.sampling import sample
from slipcast.pipeline.run.models import open_models
from slipcast.starter.judge import Judge, load_judge
from slipcast.systems.domain.model import Domain
from slipcast.systems.guided.branches import framed
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.base import Base
from slipcast.systems.models.known import WEIGHTS

from .machine import report
from .prompts import HELD_OUT, NOUNS, SEEDS, bare_prompt, prompt


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--domain-weight", type=float)
    parser.add_argument("--text-weight", type=float)
    parser.add_argument("--domain-until", type=float)
    given = parser.parse_args()
    config = load_config("starter")
    models = open_models(config)
    image = settled(config, models.uses()).image
    weights = {
        "domain": image.weights["domain"] if given.domain_weight is None else given.domain_weight,
        "text": image.weights["text"] if given.text_weight is None else given.text_weight,
    }
    end = image.domain_until if given.domain_until is None else given.domain_until
    base, domain = models.base, models.domain
    judge = load_judge(WEIGHTS / "judge")
    figures: dict[str, Any] = {"weights": weights | {"domain_until": end}}
    given.out.mkdir(parents=True, exist_ok=True)
    for wording, phrase in (("domain named", prompt), ("noun alone", bare_prompt)):
        texts = [framed(phrase(noun), image.view or "", image.background or "") for noun in NOUNS]
        figures[wording] = {}
        for method, guided in methods(base, domain, texts, weights, end).items():
            pictures = torch.cat([draw(guided, base, seed, image) for seed in SEEDS])
            figures[wording][method] = judged(judge, pictures, NOUNS * len(SEEDS))
            sheet(pictures, given.out / f"images-{wording}-{method}.png".replace(" ", "-"))
            print(wording, method, figures[wording][method], flush=True)
    report("images", figures, given.out)


def methods(
    base: Base, domain: Domain, texts: list[str], weights: dict[str, float], end: float
) -> dict[str, GuidedNoise]:
    """The three ways to draw, for one list of prompts."""
    null, text = (
        Branch(name, base.predictor, base.condition(told)) for name, told in (("null", [""]), ("text", texts))
    )
    of_domain = Branch("domain", domain.predictor, domain.condition)
    limited = (of_domain, interval(weights["domain"], t_max=end))
    return {
        "prior alone": GuidedNoise(cfg(null, text, weights["text"])),
        "domain alone": GuidedNoise(cfg(of_domain, of_domain, 1.0)),
        "in-domain": GuidedNoise(in_domain(null, limited, [(text, weights["text"])])),
    }


def draw(noise_fn: GuidedNoise, base: Base, seed: int, image: ImageConfig) -> torch.Tensor:
    """One picture per noun, [20, 3, S, S] in [0, 1]; the same noise for all methods."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(NOUNS), *base.latent_shape, generator=generator)
    sampler = base.sampler(image.scheduler)
    return base.decode(sample(noise_fn, sampler, noise, steps=image.steps, generator=generator))


def judged(judge: Judge, pictures: torch.Tensor, nouns: tuple[str, ...]) -> dict[str, float]:
    """Noun accuracy (all, held-out only) and in-domain rate."""
    verdict = judge.judge(pictures)
    hit = np.array([judge.nouns[index] == noun for index, noun in zip(verdict.noun, nouns, strict=True)])
    held = np.array([noun in HELD_OUT for noun in nouns])
    inside = verdict.in_domain > 0.5
    return {
        "noun": round(float(hit.mean()), 3),
        "noun_held_out": round(float(hit[held].mean()), 3),
        "in_domain": round(float(inside.mean()), 3),
        "in_domain_held_out": round(float(inside[held].mean()), 3),
        "both": round(float((hit & inside).mean()), 3),
    }


def sheet(pictures: torch.Tensor, path: Path, columns: int = 10) -> None:
    """All pictures in rows of ten."""
    tiles = (pictures.permute(0, 2, 3, 1).numpy() * 255 + 0.5).astype(np.uint8)
    rows = [np.concatenate(list(tiles[i : i + columns]), 1) for i in range(0, len(tiles), columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


if __name__ == "__main__":
    main()
