"""Paper 2's own setting at starter scale: a small DiT from nothing on the starter's nouns, then on the domain's.

The recipe is here and no weights ship: a DiT of two-by-two patches on the starter's latents, DiT's linear noise
schedule and first parameters (adaLN-Zero; arxiv.org/abs/2212.09748), labels dropped in a tenth of the pictures;
fine-tuned, as paper 2 does, with a new table of classes, each of which begins as no class (arxiv.org/abs/2504.01521).
One thing is not DiT's: this one predicts v. Near pure noise an eps that is wrong by 0.002 means a picture that is
wrong by thirty times what it is. DiT saw more than a billion pictures until it was right; here, after 64,000, such a
network drew nothing but patches.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...guidance.conditioning import Conditioning
from ...starter.dataset import NOUNS
from ...systems.baselines.sources import LatentFile
from ...systems.baselines.tasks import BaselineTask, Learned, begin, read_learned, save_learned, task_for
from ...systems.domain.methods import load_network, save_network
from ...systems.domain.tasks import DenoisingTask
from ...systems.models.base import Base, load_base
from ...systems.models.families.dit import DIT
from ...systems.models.precision import quiet_libraries
from ...systems.training.loop import Budget, outcome
from .cells import Cell, Cost, Figures
from .learning import DOMAIN_NOUNS, Lessons
from .scales import Classes
from .store import WORK

BASE = "classes/base"
PREDICTION = "v_prediction"
_FILE = "learned.safetensors"


def small_dit(settings: Classes, channels: int, side: int, classes: int) -> Any:
    """A DiT over latents [B, channels, side, side], seeded; every block begins as the identity, the answer as 0."""
    from diffusers import DiTTransformer2DModel

    torch.manual_seed(0)
    with quiet_libraries():
        network: Any = DiTTransformer2DModel(
            num_attention_heads=settings.heads,
            attention_head_dim=settings.width // settings.heads,
            num_layers=settings.layers,
            in_channels=channels,
            out_channels=channels,
            sample_size=side,
            patch_size=2,
            num_embeds_ada_norm=classes,
        )
    # diffusers has no need of adaLN-Zero's beginning, since it loads what others trained.
    modulations = [block.norm1.linear for block in network.transformer_blocks]
    for layer in (*modulations, network.proj_out_1, network.proj_out_2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return network


def scheduler() -> Any:
    """DiT's, linear, of what our network predicts."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False, prediction_type=PREDICTION
    )


@dataclass(frozen=True)
class ClassLessons:
    """The trainings of the small DiT, beside those of the text base whose latents and pictures they share."""

    lessons: Lessons

    @property
    def settings(self) -> Classes:
        """Of the scale."""
        return self.lessons.scale.classes

    @cached_property
    def base(self) -> Base:
        """The DiT of all nouns."""
        return load_base(
            self.lessons.store.place(BASE) / "model", name="small DiT", device=self.lessons.bench.device
        )

    @property
    def labels(self) -> dict[str, int]:
        """The fine-tuned DiT's classes; "" is none."""
        return {noun: number for number, noun in enumerate((*DOMAIN_NOUNS, ""))}

    def _of_network(self) -> dict[str, Any]:
        settings = self.settings
        names = ("width", "heads", "layers", "batch", "dropped")
        return {"predicts": PREDICTION, **{name: getattr(settings, name) for name in names}}

    def pretraining(self) -> Cell:
        """The cell of the DiT of all nouns: from nothing, on the starter's open world."""
        settings, lessons = self.settings, self.lessons

        def make(folder: Path) -> Figures:
            from diffusers import DiTPipeline

            text, work = lessons.bench.base, folder / WORK
            channels, side, _ = text.latent_shape
            save_network(small_dit(settings, channels, side, len(NOUNS)), work / "start")
            schedule = DIT.schedule(scheduler())
            told = Conditioning(labels=torch.arange(len(NOUNS) + 1))
            source = LatentFile(lessons.latents("open"), told, settings.dropped)
            task = DenoisingTask(
                work / "start", load_network, DIT.predictor, source, schedule, PREDICTION,
                text.predictor.latent_space, 1.0, part="transformer",
            )  # fmt: skip
            budget = self._budget(settings.steps, settings.rate, seed=0)
            network: Any = lessons.trained(task, work, budget, "a DiT of all nouns")["transformer"]
            names: Any = dict(enumerate(NOUNS))
            parts: Any = {"transformer": network.eval(), "vae": text.pipeline.vae, "scheduler": scheduler()}
            with quiet_libraries():
                pipe = DiTPipeline(**parts, id2label=names)
                pipe.register_to_config(id2label=names)  # so that it is written, too
                pipe.save_pretrained(folder / "model")
            return {
                "parameters": sum(one.numel() for one in network.parameters()),
                **outcome(work / "steps", budget),
            }

        depends = {**self._of_network(), "steps": settings.steps, "rate": settings.rate}
        cost = Cost(class_trained=settings.steps * settings.batch)
        return Cell(BASE, make, depends, ("data/open",), cost=cost)

    def tuning(self, seed: int) -> Cell:
        """The cell of the DiT on the domain's classes."""
        settings, lessons = self.settings, self.lessons

        def make(folder: Path) -> Figures:
            work = folder / WORK
            begin(
                "words", self.base, self._told(), lessons.recipe, work, seed=seed, classes=len(DOMAIN_NOUNS)
            )
            task = self._task(work / "start")
            budget = self._budget(settings.tune_steps, settings.tune_rate, seed=seed)
            save_learned(lessons.trained(task, work, budget, "a DiT of the domain's nouns"), folder / _FILE)
            shutil.copytree(work / "start", folder / "start")
            return outcome(work / "steps", budget)

        depends = {
            **self._of_network(),
            "steps": settings.tune_steps,
            "rate": settings.tune_rate,
            "seed": seed,
        }
        cost = Cost(class_trained=settings.tune_steps * settings.batch)
        return Cell(f"classes/tuned-{seed}", make, depends, (BASE, "data/train"), cost=cost)

    def tuned(self, seed: int) -> Learned:
        """The DiT of the domain's classes."""
        place = self.lessons.store.place(f"classes/tuned-{seed}")
        return read_learned(
            "words", self.base, self._task(place / "start"), place / _FILE, labels=self.labels
        )

    def _told(self) -> LatentFile:
        own: Mapping[str, int] = self.labels
        rows = torch.tensor([own.get(noun, own[""]) for noun in (*NOUNS, "")])
        return LatentFile(self.lessons.latents("train"), Conditioning(labels=rows), self.settings.dropped)

    def _task(self, start: Path) -> BaselineTask:
        return task_for("words", self.base, self._told(), start, prompt="", noise_shift=1.0)

    def _budget(self, steps: int, rate: float, *, seed: int) -> Budget:
        return Budget(
            steps=steps,
            batch=self.settings.batch,
            workers=1,
            warmup_steps=min(50, steps // 5),
            learning_rate=rate,
            optimizer="adamw",
            ema_decay=0.995 if steps > 200 else 0.9,
            seed=seed,
            device=self.lessons.bench.device,
        )
