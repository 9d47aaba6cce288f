"""Paper 1's tables (arxiv.org/abs/2312.08195): Table 1, the forgetting curve, drift and rectification."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...guidance.evaluation import GuidedNoise
from ...guidance.noise import named_generator
from ...systems.baselines.table import BASELINES, OURS
from ...systems.baselines.tasks import Learned
from ...systems.models.base import Base
from .bench import Bench, Pictures, discrepancy, strip
from .cells import Cell, Cost, Figures
from .guiding import PRIOR, guided, null_of, rectified, unguided, weights_of
from .learning import Lessons

TABLE_1, FORGETTING, RECTIFIED = "table1", "forgetting", "rectification"
CUSTOM = ("full", "lora")
"""Models that somebody fine-tuned, whose null text drifted."""
_SHOWN = 4


def cells(lessons: Lessons) -> Iterator[Cell]:
    """All of paper 1, what is needed first."""
    scale = lessons.scale
    yield lessons.data("train")
    yield lessons.data("true")
    for seed in scale.seeds:
        for method in BASELINES:
            yield lessons.training(method, seed)
        for method in (PRIOR, *BASELINES):
            yield _row(lessons, method, seed)
    for seed in scale.seeds:
        for method in ("full", OURS):
            for part in scale.marks:
                yield _mark(lessons, method, seed, part)
        for method in CUSTOM:
            yield _rectified(lessons, method, seed)


def _needs(method: str, seed: int) -> tuple[str, ...]:
    return ("data/true",) if method == PRIOR else ("data/true", f"train/{method}-{seed}")


def _model(lessons: Lessons, method: str, seed: int, part: float = 1.0) -> Learned | Base:
    return lessons.bench.base if method == PRIOR else lessons.learned(method, seed, part=part)


def words_drawn(
    bench: Bench, method: str, model: Learned | Base, weights: dict[str, float], seed: int
) -> dict[str, Pictures]:
    """Pictures of every word of the alignment."""
    scale = bench.scale
    return {
        word: bench.draw(
            guided(method, model, scale, weights, word=word), scale.per_word, 1000 * seed + number
        )
        for number, word in enumerate(scale.words)
    }


def _measure(scale: Any) -> dict[str, Any]:
    names = (
        "samples",
        "per_word",
        "known",
        "held_out",
        "prompt",
        "asked",
        "scheduler",
        "sample_steps",
        "total",
    )
    return {name: getattr(scale, name) for name in (*names, "extractors", "directions", "draws")}


def _row(lessons: Lessons, method: str, seed: int) -> Cell:
    """One method's row of Table 1 at one seed."""
    bench, scale = lessons.bench, lessons.scale

    def make(folder: Path) -> Figures:
        model = _model(lessons, method, seed)
        weights = weights_of(method, model, scale)
        alone = bench.draw(guided(method, model, scale, weights), scale.samples, seed)
        plain = bench.draw(unguided(method, model, scale), scale.samples, seed)
        asked = words_drawn(bench, method, model, weights, seed)
        wanted, edges = bench.edges(scale.edges)

        def following(some: range) -> GuidedNoise:
            control = bench.follow(edges[some.start : some.stop])
            return guided(method, model, scale, weights, controls=(control,))

        drawn = bench.draw_each(following, len(edges), seed)
        strip(
            [*alone[:_SHOWN], *(made[0] for made in list(asked.values())[: 2 * _SHOWN])],
            folder / "pictures.png",
        )
        unguided_figures = bench.distances(plain)
        return {
            "weights": weights,
            **bench.distances(alone),
            **{
                f"unguided_{name}": value
                for name, value in unguided_figures.items()
                if name.startswith("fd_")
            },
            **bench.recognised(asked),
            "canny": discrepancy(drawn, wanted),
        }

    depends = {"method": method, "seed": seed, "edges": scale.edges, **_measure(scale)}
    words = len(scale.words) * scale.per_word
    drawn = scale.sample_steps * (3 * scale.samples + 3 * words + 4 * scale.edges)
    cost = Cost(drawn=drawn, judged=2 * scale.samples * len(scale.extractors))
    return Cell(f"{TABLE_1}/{method}-{seed}", make, depends, _needs(method, seed), cost=cost)


def _mark(lessons: Lessons, method: str, seed: int, part: float) -> Cell:
    """A point of the forgetting curve: what a training has learned, and forgotten, so far."""
    bench, scale = lessons.bench, lessons.scale

    def make(folder: Path) -> Figures:
        model = _model(lessons, method, seed, part)
        weights = weights_of(method, model, scale)
        alone = bench.draw(guided(method, model, scale, weights), scale.samples, seed)
        asked = words_drawn(bench, method, model, weights, seed)
        return {"weights": weights, **bench.distances(alone), **bench.recognised(asked)}

    depends = {"method": method, "seed": seed, "part": part, **_measure(scale)}
    words = len(scale.words) * scale.per_word
    cost = Cost(
        drawn=scale.sample_steps * (2 * scale.samples + 3 * words),
        judged=scale.samples * len(scale.extractors),
    )
    return Cell(f"{FORGETTING}/{method}-{part:g}-{seed}", make, depends, _needs(method, seed), cost=cost)


def _rectified(lessons: Lessons, method: str, seed: int) -> Cell:
    """How far a fine-tuned model's null text drifted, and what putting the base's in its place is worth."""
    bench, scale = lessons.bench, lessons.scale

    def make(folder: Path) -> Figures:
        model = lessons.learned(method, seed)
        own, base = null_of(model), null_of(bench.base)
        apart, length = [], []
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            t = torch.full((8,), int(part * len(bench.base.predictor.schedule)))
            noise = torch.randn(
                8, *bench.base.latent_shape, generator=named_generator(seed, "drift", str(part))
            )
            with torch.no_grad():
                said, before = own(noise, t), base(noise, t)
            apart.append(float((said - before).flatten(1).norm(dim=1).mean()))
            length.append(float(before.flatten(1).norm(dim=1).mean()))
        figures = bench.distances(bench.draw(rectified(method, model, scale), scale.samples, seed))
        silent = bench.distances(bench.draw(own, scale.samples, seed))
        return {
            "drift": sum(apart) / sum(length),
            **figures,
            **{f"silent_{name}": value for name, value in silent.items() if name.startswith("fd_")},
        }

    depends = {"method": method, "seed": seed, **_measure(scale)}
    cost = Cost(
        drawn=3 * scale.sample_steps * scale.samples, judged=2 * scale.samples * len(scale.extractors)
    )
    return Cell(f"{RECTIFIED}/{method}-{seed}", make, depends, _needs(method, seed), cost=cost)
