"""Cells that learn: the domain's pictures, its latents, and every method's training, by the one loop."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...configs.atomic import read_json_object
from ...starter.dataset import NOUNS
from ...starter.generator.objects import nouns
from ...systems.baselines.sources import LatentFile, write_latents
from ...systems.baselines.table import OURS, Baseline, baseline_named, trained_parameters
from ...systems.baselines.tasks import BaselineTask, Learned, begin, read_learned, save_learned, task_for
from ...systems.domain.learning import DomainRecipe
from ...systems.domain.tasks import DenoisingTask
from ...systems.training.loop import Budget, outcome, train
from .bench import Bench
from .cells import Cell, Cost, Figures
from .scales import Scale
from .store import WORK, Store
from .world import read, rendered, write_pictures

LATENTS, PICTURES = "latents.safetensors", "pictures.safetensors"
DOMAIN_NOUNS = tuple(nouns(domain=True))


@dataclass(frozen=True)
class Lessons:
    """The trainings of one base.

    Attributes:
        bench: of the scale.
        store: where their cells are.
        pictures: a folder of the domain's pictures; the starter's generator draws them if None.
        source: what the pictures come from.
    """

    bench: Bench
    store: Store
    pictures: Path | None
    source: str

    @property
    def scale(self) -> Scale:
        """Of the bench."""
        return self.bench.scale

    def data(self, kind: str) -> Cell:
        """The cell of pictures of a kind of ``world.KINDS``, and of their latents."""
        scale = self.scale
        objects = scale.true_objects if kind == "true" else scale.objects
        views = 1 if kind == "true" else scale.views
        if kind == "open":
            objects *= 3

        def make(folder: Path) -> Figures:
            base, console = self.bench.base, self.bench.console
            if self.pictures is None:
                advance = console.task("drawing the world", objects)
                every, named = rendered(kind, objects, views, base.picture_size, advance)
                shown = iter(every.split(64))
            else:
                reading = functools.partial(console.task, "reading pictures")
                shown, count = read(self.pictures, kind, base.picture_size, reading)
                named = torch.zeros(count, dtype=torch.long)
            if kind == "true":
                write_pictures(folder / PICTURES, torch.cat(list(shown)), named)
            else:
                write_latents(folder / LATENTS, base, shown, named)
            return {"pictures": len(named)}

        depends = {"source": self.source, "objects": objects, "views": views}
        return Cell(f"data/{kind}", make, depends, cost=Cost(rendered=objects))

    def latents(self, kind: str) -> Path:
        """Where they are."""
        return self.store.place(f"data/{kind}") / LATENTS

    def training(self, method: str, seed: int) -> Cell:
        """The cell of a method's training: what it moved after each mark, and at the end."""
        scale, chosen = self.scale, baseline_named(method)
        marks = [*(scale.marks if method in ("full", OURS) else ()), 1.0]
        steps = sorted({max(1, round(part * scale.steps)) for part in marks})

        def make(folder: Path) -> Figures:
            work, base = folder / WORK, self.bench.base
            note = work / "start" / "begun"
            if not note.exists():
                begin(method, base, self.told(chosen), self.recipe, work, seed=seed)
                note.touch()
            task = self.task(method, work / "start")
            budget = self.budget(chosen, seed)
            for until in steps:
                mark = work / "marks" / f"step-{until}.safetensors"
                if not mark.is_file():  # a training that was stopped later has gone past it
                    label = f"{method} {until}/{scale.steps}"
                    modules = self.trained(task, work, replace(budget, pause=until), label)
                    mark.parent.mkdir(exist_ok=True)
                    save_learned(modules, mark)
                shutil.copy(mark, folder)
            shutil.copytree(work / "start", folder / "start")
            features = work / "features.json"
            told = read_json_object(features, "the features")["losses"] if features.is_file() else []
            return {
                "parameters": trained_parameters(*task.modules().values()),
                "feature_losses": told,
                **outcome(work / "steps", budget),
            }

        depends = {
            "method": method,
            "seed": seed,
            "marks": steps,
            "rate": [chosen.rate, chosen.quick_rate, chosen.optimizer],
            "dropped": scale.classes.dropped if chosen.words else 0,
            "told": scale.said(scale.prompt, token=chosen.token),
            **{name: getattr(scale, name) for name in ("steps", "batch", "warmup", "noise_shift")},
            "feature_steps": scale.feature_steps if method == OURS else 0,
        }
        cost = Cost(trained=scale.steps * scale.batch)
        return Cell(f"train/{method}-{seed}", make, depends, ("data/train",), cost=cost)

    def trained(self, task: DenoisingTask, work: Path, budget: Budget, label: str) -> dict[str, Any]:
        """Train in the folder of a cell's work, going on from where it was stopped; the modules."""
        total = int(budget.pause or budget.steps or 0)
        advance, seen = self.bench.console.task(f"training {label}", total), 0

        def watch(step: int, seconds: float, loss: float) -> None:
            nonlocal seen
            if step > seen:
                advance(step - seen)
                seen = step

        return train(task, work / "steps", budget, label=label, watch=watch)

    @property
    def recipe(self) -> DomainRecipe:
        """How ours begins: the paper's batches of 32."""
        scale = self.scale
        prompt = scale.said(scale.prompt, token=False)
        return DomainRecipe(
            scale.domain,
            prompt,
            feature_steps=scale.feature_steps,
            feature_batch=min(32, 2 * scale.batch),
            noise_shift=scale.noise_shift,
        )

    def told(self, method: Baseline) -> LatentFile:
        """What a network learns from, and is told beside each picture."""
        base = self.bench.base
        if method.adapt is None:
            return LatentFile(self.latents("train"), base.unconditional)
        if not method.words:
            return LatentFile(self.latents("train"), base.condition([self.recipe.prompt]))
        texts = [*(f"a {noun}" for noun in NOUNS), ""]
        return LatentFile(self.latents("train"), base.condition(texts), self.scale.classes.dropped)

    def task(self, method: str, start: Path) -> BaselineTask:
        """The training of a method from what was written."""
        scale, chosen = self.scale, baseline_named(method)
        return task_for(
            method,
            self.bench.base,
            self.told(chosen),
            start,
            prompt=scale.said(scale.prompt, token=chosen.token),
            noise_shift=scale.noise_shift,
        )

    def budget(self, method: Baseline, seed: int) -> Budget:
        """As a domain's on this family of bases (``systems.domain.recipes``)."""
        scale, paper = self.scale, self.bench.base.reads_weights
        at_once = scale.at_once or scale.batch
        return Budget(
            steps=scale.steps,
            batch=at_once,
            accumulate=scale.batch // at_once,
            workers=1,
            warmup_steps=scale.warmup,
            seed=seed,
            device=self.bench.device,
            learning_rate=method.rate if paper else method.quick_rate,
            optimizer="adamw8bit" if paper else method.optimizer,
            schedule="constant" if paper else "decay",
            ema_decay=0.9999 if paper else 0.98,
            betas=(0.9, 0.999) if paper else (0.9, 0.99),
            weight_decay=0.01 if paper else 0.0,
        )

    def learned(self, method: str, seed: int, *, part: float = 1.0) -> Learned:
        """What a method learned, at the end or at a mark."""
        folder = self.store.place(f"train/{method}-{seed}")
        step = max(1, round(part * self.scale.steps))
        task = self.task(method, folder / "start")
        return read_learned(method, self.bench.base, task, folder / f"step-{step}.safetensors")
