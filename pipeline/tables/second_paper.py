"""Paper 2's tables (arxiv.org/abs/2504.01521): guidances of one fine-tuned network, compared and swept.

Each guides the same network, which was trained with a tenth of its words or classes left out, so that plain guidance
has its null branch; domain guidance needs none. Coverage stands beside every distance: what purity costs in modes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...guidance.algebra import Branch, Guidance
from ...guidance.evaluation import GuidedNoise
from ...guidance.mixture import SD, toy_figures
from ...guidance.recipes import cfg, class_and_domain, domain_guidance
from ...guidance.toy import CASES, WEIGHTS, draw_samples
from ...systems.baselines.table import WITH_WORDS
from ...systems.baselines.tasks import Learned
from ...systems.models.base import Base
from .bench import Bench, strip
from .cells import Cell, Cost, Figures
from .classes import BASE, ClassLessons
from .learning import DOMAIN_NOUNS, Lessons
from .scales import Classes, Scale

COMPARISON, CLASSES, STRENGTH, STEPS, AXES, TOY = "comparison", "classes", "strength", "steps", "axes", "toy"
NONE, CFG, DOG = "none", "cfg", "dog"
AXES_APART = ((1.0, 1.5), (1.0, 2.0), (1.5, 2.0), (2.0, 1.5))
"""(w_class, w_domain); at w_domain = 1 it is plain guidance, at equal weights domain guidance, and both are swept."""

Guide = Callable[[Branch, Branch, Branch], Guidance]
"""(fine-tuned, fine-tuned null, pre-trained null) -> guidance."""


def guide_of(name: str, weight: float, domain_weight: float | None = None) -> Guide:
    """One of the compared guidances at a weight; with two weights, both axes apart."""
    if domain_weight is not None:
        return lambda own, null, prior: class_and_domain(own, null, prior, weight, domain_weight)
    return {
        NONE: lambda own, null, prior: Guidance(own),
        CFG: lambda own, null, prior: cfg(null, own, weight),
        DOG: lambda own, null, prior: domain_guidance(prior, own, weight),
    }[name]


def guides_of(method: str, scale: Scale) -> list[tuple[str, float]]:
    """The guidances that a method of words is compared under; the LoRA at the first weight alone."""
    weights = scale.guided if method == "words" else scale.guided[:1]
    return [(NONE, 1.0), *((guide, weight) for weight in weights for guide in (CFG, DOG))]


def swept(settings: Classes) -> list[tuple[str, float]]:
    """The guidances of the sweep over w; at 1 all are none."""
    return [
        (guide, weight) for weight in settings.strengths for guide in ((NONE,) if weight == 1 else (CFG, DOG))
    ]


def cells(lessons: Lessons) -> Iterator[Cell]:
    """All of paper 2, what is needed first; with a folder of pictures, which has no classes, the toy alone."""
    scale = lessons.scale
    if lessons.pictures is None and scale.base == "starter":
        yield from _of_words(lessons)
        yield from _of_classes(ClassLessons(lessons))
    yield _toy(lessons)


def _of_words(lessons: Lessons) -> Iterator[Cell]:
    scale = lessons.scale
    for seed in scale.seeds:
        for method in WITH_WORDS:
            yield lessons.training(method, seed)
            for guide, weight in guides_of(method, scale):
                yield _word_cell(lessons, method, guide, weight, seed)


def _of_classes(known: ClassLessons) -> Iterator[Cell]:
    settings = known.settings
    yield known.lessons.data("open")
    yield known.pretraining()
    for seed in known.lessons.scale.seeds:
        yield known.tuning(seed)
    for seed in known.lessons.scale.seeds:
        for guide, weight in swept(settings):
            name = f"{STRENGTH}/{guide}-{weight:g}"
            yield _class_cell(known, name, guide_of(guide, weight), (guide, weight), seed)
        for steps in settings.step_counts:
            for guide in (CFG, DOG):
                weight = settings.strength
                name = f"{STEPS}/{guide}-{steps}"
                yield _class_cell(known, name, guide_of(guide, weight), (guide, weight), seed, steps=steps)
        for of_class, of_domain in AXES_APART:
            name = f"{AXES}/{of_class:g}-{of_domain:g}"
            yield _class_cell(
                known, name, guide_of(DOG, of_class, of_domain), ("axes", of_class, of_domain), seed
            )


def _branches(own: Learned, prior: Base, prompts: Sequence[str]) -> tuple[Branch, Branch, Branch]:
    return (
        Branch("model", own.predictor, own.condition(prompts)),
        Branch("model null", own.predictor, own.condition([""])),
        Branch("null", prior.predictor, prior.condition([""])),
    )


def _drawn(
    bench: Bench,
    own: Learned,
    prior: Base,
    guide: Guide,
    prompts: Sequence[str],
    count: int,
    seed: int,
    steps: int,
) -> Any:
    """Pictures of the prompts in turn."""

    def guided(some: range) -> GuidedNoise:
        asked = [prompts[place % len(prompts)] for place in some]
        return GuidedNoise(guide(*_branches(own, prior, asked)))

    return bench.draw_each(guided, count, seed, steps=steps, base=prior)


def _word_cell(lessons: Lessons, method: str, guide: str, weight: float, seed: int) -> Cell:
    """One guidance of the text base's fine-tuned network."""
    bench, scale = lessons.bench, lessons.scale

    def make(folder: Path) -> Figures:
        own, chosen, base = lessons.learned(method, seed), guide_of(guide, weight), bench.base
        prompts = [f"a {noun}" for noun in DOMAIN_NOUNS]
        made = _drawn(bench, own, base, chosen, prompts, scale.samples, seed, scale.sample_steps)
        strip(made[:8], folder / "pictures.png")
        asked = {
            word: _drawn(
                bench, own, base, chosen, [f"a {word}"], scale.per_word, 1000 * seed + i, scale.sample_steps
            )
            for i, word in enumerate(scale.words)
        }
        return {**bench.distances(made), **bench.recognised(asked)}

    names = (
        "samples",
        "per_word",
        "known",
        "held_out",
        "scheduler",
        "sample_steps",
        "extractors",
        "directions",
        "draws",
    )
    depends = {"guide": [guide, weight], "seed": seed, **{name: getattr(scale, name) for name in names}}
    drawn = (
        scale.sample_steps * (scale.samples + len(scale.words) * scale.per_word) * (1 if guide == NONE else 2)
    )
    cost = Cost(drawn=drawn, judged=scale.samples * len(scale.extractors))
    needs = ("data/true", f"train/{method}-{seed}")
    return Cell(f"{COMPARISON}/{method}-{guide}-{weight:g}-{seed}", make, depends, needs, cost=cost)


def _class_cell(
    known: ClassLessons,
    name: str,
    guide: Guide,
    told: tuple[Any, ...],
    seed: int,
    *,
    steps: int | None = None,
) -> Cell:
    """One guidance of the small DiT."""
    bench, scale, settings = known.lessons.bench, known.lessons.scale, known.settings
    steps = steps or settings.sample_steps

    def make(folder: Path) -> Figures:
        own = known.tuned(seed)
        made = _drawn(bench, own, known.base, guide, DOMAIN_NOUNS, settings.samples, seed, steps)
        strip(made[:8], folder / "pictures.png")
        by_noun = {
            DOMAIN_NOUNS[i]: made[i :: len(DOMAIN_NOUNS)] for i in range(min(len(DOMAIN_NOUNS), len(made)))
        }
        return {**bench.distances(made), "align": bench.named(by_noun)}

    names = ("scheduler", "extractors", "directions", "draws")
    depends = {"guide": list(told), "seed": seed, "steps": steps, "samples": settings.samples}
    depends |= {one: getattr(scale, one) for one in names}
    cost = Cost(class_drawn=2 * steps * settings.samples, judged=settings.samples * len(scale.extractors))
    needs = ("data/true", BASE, f"classes/tuned-{seed}")
    return Cell(f"{name}-{seed}", make, depends, needs, cost=cost)


def _toy(lessons: Lessons) -> Cell:
    """Every case of the plane where all scores are known."""
    count = lessons.scale.toy_samples

    def make(folder: Path) -> Figures:
        rows = {}
        for name, case in CASES.items():
            for weight in WEIGHTS:
                found = asdict(toy_figures(draw_samples(case, weight, count=count, seed=0)))
                rows[f"{name}, w = {weight:g}"] = found | {"distance": found["distance"] / SD}
        return rows

    return Cell(f"{TOY}/plane", make, {"samples": count, "strengths": WEIGHTS})
