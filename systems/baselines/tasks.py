"""Trainings of the methods of ``table``: tasks for the one loop, and what they learned, read back beside the base."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...configs.atomic import sha256_of_file, write_safetensors
from ...configs.errors import BadInput
from ...guidance.conditioning import Condition, Conditioning
from ...guidance.networks import Trainable
from ...guidance.null_text import load_null_text
from ..domain.learning import DomainRecipe, begin_null_text
from ..domain.methods import load_network, save_network
from ..domain.sources import Batches, LatentSource
from ..domain.tasks import DenoisingTask
from ..images.files import Size
from ..models.base import Base
from ..models.precision import ready
from ..training.checkpoints import parameters_of
from .table import OURS, baseline_named
from .words import ids_of, load_encoder, load_tokenizer, read, save_words, word_number

TEXT_ENCODER = "text_encoder"


@dataclass(frozen=True)
class Reading:
    """Batches beside which the network is told what an encoder, which learns, says of the prompt now."""

    source: Batches
    encoder: Any
    ids: Tensor

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """See ``domain.sources.Batches``; the condition is differentiable."""
        latents, _ = self.source.draw(batch, generator)
        return latents, Conditioning(text=self.encoder(self.ids).last_hidden_state.float())


@dataclass
class BaselineTask(DenoisingTask):
    """Denoising by a network, and a text encoder with a new word beside it where the method has one.

    Attributes:
        ids: the prompt of training, token ids [1, T]; None where no word learns.
        number: of the new word.
    """

    ids: Tensor | None = None
    number: int = 0

    def modules(self) -> dict[str, nn.Module]:
        """See ``training.Task``."""
        found = super().modules()
        if self.ids is not None:
            found[TEXT_ENCODER] = load_encoder(self.start, self.number)
        return found

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """See ``training.Task``."""
        super().open(modules, device)
        if self.ids is not None:
            self._source = Reading(self._source, modules[TEXT_ENCODER], self.ids.to(device))


def load_adapted(method: str, folder: Path) -> Any:
    """The network as a method begins with it; only what the method trains requires a gradient."""
    adapt = baseline_named(method).adapt
    if adapt is None:
        return load_null_text(folder).requires_grad_(True)
    network = load_network(folder).requires_grad_(False)
    torch.manual_seed(0)
    adapt(network)
    return network


def begin(
    method: str,
    base: Base,
    source: LatentSource,
    recipe: DomainRecipe,
    work: Path,
    *,
    seed: int,
    classes: int | None = None,
) -> Path:
    """Write what a method's training starts from; the folder.

    Args:
        source: the domain's latents; ours optimises its text features on them.
        recipe: its ``prompt`` is the domain's, without a new word.
        classes: for DiT, how many classes of its own it will have.
    """
    start = work / "start"
    if method == OURS:
        begin_null_text(base, source.open(str(base.device)), recipe, work, seed=seed)
        return start
    save_network(base.predictor.network, start, classes=classes)
    if baseline_named(method).token:
        save_words(base, recipe.prompt, start)
    return start


def task_for(
    method: str, base: Base, source: LatentSource, start: Path, *, prompt: str, noise_shift: float
) -> BaselineTask:
    """The training of a method.

    Args:
        source: says what a network without a new word is told beside each picture.
        start: what ``begin`` wrote.
        prompt: with the new word, for methods that learn one.
    """
    ids, number = None, 0
    if baseline_named(method).token:
        tokenizer = load_tokenizer(start)
        ids, number = ids_of(tokenizer, prompt), word_number(tokenizer)
    return BaselineTask(
        start,
        functools.partial(load_adapted, method),
        base.family.predictor,
        source,
        base.predictor.schedule,
        base.predictor.prediction_type,
        base.predictor.latent_space,
        noise_shift,
        part=base.family.network,
        ids=ids,
        number=number,
    )


@dataclass(frozen=True)
class Learned:
    """What a method learned, beside its base: a ``guidance.predictors.ConditionalDenoiser``.

    Attributes:
        labels: for classes of its own, their numbers by name; "" is none of them.
        hears: ours hears no prompt, and is told the same whatever it is.
    """

    base: Base
    predictor: Trainable
    identity: str
    tokenizer: Any = None
    encoder: Any = None
    labels: Mapping[str, int] | None = None
    hears: bool = True

    @property
    def name(self) -> str:
        """For error sentences."""
        return self.predictor.name

    def condition(self, prompts: Sequence[str], *, size: Size | None = None) -> Condition:
        """What the network is told for each prompt."""
        if not self.hears:
            return self.base.unconditional
        if self.labels is not None:
            return Conditioning(labels=torch.tensor([self.labels[prompt] for prompt in prompts]))
        if self.encoder is None:
            return self.base.condition(prompts, size=size)
        return read(self.base, self.tokenizer, self.encoder, prompts)


def save_learned(modules: Mapping[str, nn.Module], path: Path) -> None:
    """Write the numbers that a training moved, float32, and no others."""
    moved = {name: one.detach().float().contiguous() for name, one in parameters_of(modules).items()}
    write_safetensors(path, moved)


def read_learned(
    method: str, base: Base, task: BaselineTask, path: Path, *, labels: Mapping[str, int] | None = None
) -> Learned:
    """What ``save_learned`` wrote, put into the network that the task began with, ready beside its base.

    Raises: BadInput for a file of another training.
    """
    modules, moved = task.modules(), load_file(path)
    own = parameters_of(modules)
    if own.keys() != moved.keys():
        raise BadInput(f"{path} holds the numbers of another training than {method}; delete it to train anew")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(moved[name])
    network: Any = modules[task.part].requires_grad_(False).eval()
    predictor = task.predicting(ready(network, str(base.device), base.dtype))
    encoder: Any = modules.get(TEXT_ENCODER)
    tokenizer = None
    if encoder is not None:
        encoder.requires_grad_(False).eval().to(base.device)
        tokenizer = load_tokenizer(task.start)
    return Learned(base, predictor, sha256_of_file(path), tokenizer, encoder, labels, hears=method != OURS)
