"""What a training needs before its first step: pictures, base, latents, what to start from, how it fits."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...guidance.conditioning import Conditioning
from ...guidance.null_text import empty_null_text
from ...guidance.training import Example
from ...systems.domain.learning import DomainRecipe, begin_null_text
from ...systems.domain.methods import METHODS, Method, lora_settings, method_for, save_network
from ...systems.domain.recipes import defaults_for
from ...systems.domain.sources import CachedLatents, Framing, cache_latents
from ...systems.domain.tasks import DenoisingTask, plain_attention
from ...systems.domain.words import told_by_frame, words_of
from ...systems.images.collection import Collection, read_collection
from ...systems.models.base import Base
from ...systems.models.precision import quiet_libraries
from ...systems.training.loop import Budget, compute_dtype
from ...systems.training.memory import Activations, Choice, activations_of, fitted, memory_of
from ...systems.training.peers import Peers
from ..run.models import ModelStore
from ..run.progress import Progress
from .settings import Settings, changed_settings, size_budget

FEATURES = "features.json"


@dataclass(frozen=True)
class Prepared:
    """A training that can begin or go on."""

    settings: Settings
    method: Method
    collection: Collection
    base: Base
    store: ModelStore
    recipe: DomainRecipe
    learned: CachedLatents
    held_out: CachedLatents
    classes: tuple[str, ...]
    work: Path

    @property
    def identities(self) -> dict[str, str]:
        """What must be the same when it goes on, as users call it."""
        return {
            "pictures": self.collection.identity,
            "base": f"{self.base.network_identity} {self.base.codec.latent_space}",
            "prompt": self.settings.said,
        }

    def task(
        self, source: CachedLatents, *, checkpointing: bool = False, distil: float = 1.0
    ) -> DenoisingTask:
        """Denoising of one part of the pictures by this training's network."""
        base, nothing = self.base, None
        if distil != 1:
            nothing = base.condition([""])
            if (
                base.family.reads != "text"
            ):  # its own classes came in the place of the base's, and no class behind them
                nothing = Conditioning(labels=torch.tensor([len(self.classes)]))
        return DenoisingTask(
            self.work / "start",
            self.method.load,
            base.family.predictor,
            source,
            base.predictor.schedule,
            base.predictor.prediction_type,
            base.predictor.latent_space,
            self.recipe.noise_shift,
            part=base.family.network,
            checkpointing=checkpointing,
            distil=distil,
            told_nothing=nothing,
        )


def prepare(settings: Settings, work: Path, store: ModelStore, cache: Path, console: Progress) -> Prepared:
    """Read the pictures and the base, and encode what was never encoded.

    Raises: BadInput for a folder of too few pictures, a base that is not here, settings that do not fit it.
    """
    base = store.base
    method = method_for(settings.method, base)
    settings = changed_settings(settings, base, method)
    folder = given_path(settings.pictures, "PICTURES")
    collection = read_collection(
        folder, size=settings.size or 0, advance=lambda total: console.task("reading pictures", total)
    )
    for sentence in collection.sentences():
        console.notice(sentence)
    if len(collection.pictures) < 20:
        console.notice(
            f"{len(collection.pictures)} pictures are few: they will be learned by heart soon; hundreds are better"
        )
    framing = Framing(
        settings.size or base.picture_size, settings.aspect, _cell(base), settings.grounds, settings.flip
    )
    folders = cache_latents(
        collection.pictures,
        base,
        framing,
        cache,
        advance=lambda total: console.task("encoding pictures", total),
    )
    texts, rows = words_of(collection.pictures, folder, base) if METHODS[method].told == "words" else ([], {})
    told = told_by_frame(folders, base, METHODS[method].told, prompt=settings.said, texts=texts)
    learned, held = (
        CachedLatents(folders, part, framing, told, rows) for part in collection.split(settings.held_out)
    )
    recipe = DomainRecipe(
        name=settings.name,
        prompt=settings.said,
        feature_steps=settings.feature_steps,
        feature_learning_rate=settings.feature_learning_rate,
        noise_shift=settings.noise_shift or 1.0,
        licence=settings.licence,
    )
    return Prepared(
        settings, METHODS[method], collection, base, store, recipe, learned, held, tuple(texts), work
    )


def _cell(base: Base) -> int:
    """What sides are multiples of: a UNet's latents are halved three times, and their odd halves cost pictures."""
    return base.cell * 8 if base.family.network == "unet" and base.picture_size >= 256 else base.cell


def begin(prepared: Prepared, parts: int, console: Progress) -> None:
    """Write what the training starts from, unless that was done: ``work/start``.

    Args: parts: how many parts a batch of the text features is computed in.
    """
    settings, base, work = prepared.settings, prepared.base, prepared.work
    if (work / FEATURES).is_file() or (work / "start" / "begun").is_file():
        return
    if settings.method == "null-text":
        advance = console.task("optimising text features", settings.feature_steps)
        recipe = replace(prepared.recipe, feature_parts=parts)
        source = prepared.learned.open(str(base.device))
        begin_null_text(base, source, recipe, work, seed=settings.seed, advance=advance)
    else:
        dit = base.family.reads != "text" and settings.method == "dog"
        save_network(base.predictor.network, work / "start", classes=len(prepared.classes) if dit else None)
        (work / "start" / "begun").touch()


def refuse_changes(prepared: Prepared, told: Mapping[str, Any]) -> None:
    """BadInput, by name, where pictures, base or prompt are not those that a training began with."""
    for name, identity in prepared.identities.items():
        if told.get(name) != identity:
            what = {
                "pictures": f"the pictures in {prepared.settings.pictures} are",
                "base": f"the base {prepared.settings.base!r} is",
                "prompt": "the prompt is",
            }[name]
            raise BadInput(
                f"{what} not what {prepared.work} began with, so it cannot go on; "
                "put that back, or begin a training of another --name"
            )
    features = prepared.work / FEATURES
    if features.is_file():
        said = read_json_object(features, "the features of a training").get("prompt")
        if said != prepared.settings.said:
            raise BadInput(
                f"the prompt is not what {prepared.work} began with ({said!r}), so it cannot go on; "
                "put that back, or begin a training of another --name"
            )


def budget_for(prepared: Prepared, device: str, peers: Peers) -> Budget:
    """The trainer's budget: the pictures of a step are shared by workers, processes and accumulation."""
    settings = prepared.settings
    workers = settings.workers or 1
    if settings.workers is None and device == "cpu" and peers.count == 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, 8, settings.batch or 1)
    share = -(-(settings.batch or 1) // (workers * peers.count * settings.accumulate))
    like = defaults_for(prepared.base, settings.method or "")
    return Budget(
        steps=settings.steps,
        batch=share,
        accumulate=settings.accumulate,
        learning_rate=settings.learning_rate or 1e-5,
        warmup_steps=min(like.warmup, (settings.steps or 1) // 5),
        schedule=settings.schedule or "constant",
        ema_decay=settings.ema or 0.0,
        optimizer=settings.optimizer or "adamw",
        betas=like.betas,
        weight_decay=like.weight_decay,
        precision=settings.precision,
        workers=workers,
        device=device,
        seed=settings.seed,
    )


def choose(prepared: Prepared, budget: Budget, peers: Peers) -> Choice:
    """How the training fits into ``--size-budget``; as it was asked for where there is none.

    Raises: BadInput where nothing fits.
    """
    network = empty_network(prepared)
    with quiet_libraries():
        network.to(compute_dtype(budget.device, budget.precision))

    def activations(batch: int) -> Activations:
        return activations_at(prepared, network, batch, budget.device)

    limit, asked = size_budget(prepared.settings.size_budget), prepared.settings.checkpointing
    if limit is not None and prepared.settings.distil_guidance:  # a second network, which is only asked
        limit -= sum(one.numel() * one.element_size() for one in network.parameters())
    if limit is not None:
        return fitted(network, budget, activations, limit, processes=peers.count, checkpointing=asked)
    found = activations(budget.batch)
    kept = found.checkpointed if asked else found.kept
    return Choice(budget, asked, memory_of(network, budget, kept, processes=peers.count))


def empty_network(prepared: Prepared) -> Any:
    """The network that will be trained, without numbers."""
    own = prepared.base.predictor.network
    if prepared.settings.method == "null-text":
        return empty_null_text(dict(own.config)).requires_grad_(True)
    network = copy.deepcopy(own).to("meta").requires_grad_(prepared.settings.method != "lora")
    if prepared.settings.method == "lora":
        from peft import LoraConfig

        with torch.device("meta"):
            network.add_adapter(LoraConfig(**lora_settings(network)))
    return network


def activations_at(prepared: Prepared, network: Any, batch: int, device: str) -> Activations:
    """What so many pictures at a time leave for the backward pass."""
    base, fused = prepared.base, torch.device(device).type == "cuda"
    if not fused:
        plain_attention(network)
    side = (prepared.settings.size or base.picture_size) // base.pixels_per_latent
    x = torch.empty(batch, base.latent_shape[0], side, side, device="meta")
    example = Example(x, torch.zeros(batch, dtype=torch.long, device="meta"), torch.empty_like(x))
    predictor: Any = prepared.task(prepared.learned).predicting(network.train())
    frame = next(iter(prepared.learned.told))
    told = prepared.learned.condition(frame, torch.zeros(batch, dtype=torch.long))
    return activations_of(network, lambda: predictor.loss(example, told), fused=fused)


@contextlib.contextmanager
def parked(base: Base) -> Iterator[None]:
    """The base waits in main memory while another network is trained on its GPU."""
    device = base.device
    parts = [one for one in base.pipeline.components.values() if isinstance(one, torch.nn.Module)]
    if device.type != "cuda":
        yield
        return
    for part in parts:
        part.to("cpu")
    torch.cuda.empty_cache()
    try:
        yield
    finally:
        for part in parts:
            part.to(device)


def evaluating(base: Base, network: Any, precision: str) -> Any:
    """A trained network as it will be used: on the base's device, in its dtype, in evaluation mode."""
    dtype = base.dtype if precision == "auto" else compute_dtype(str(base.device), precision)
    with quiet_libraries():
        return copy.deepcopy(network).requires_grad_(False).eval().to(base.device, dtype)
