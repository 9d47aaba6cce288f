"""What a family of bases is: everything that is known of one kind of diffusion pipeline, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ....guidance.conditioning import Conditioning
from ....guidance.networks import Trainable
from ....guidance.offloading import CPUOffload
from ....guidance.schedulers import scheduler_named
from ....guidance.schedules import Schedule, from_diffusers
from ..codec import Codec, VAECodec
from ..single_file.original import Original


class MakePredictor(Protocol):
    """Wraps a family's network as a noise predictor."""

    def __call__(
        self, network: Any, /, *, schedule: Schedule, prediction_type: str, latent_space: str, name: str
    ) -> Trainable: ...


def no_words(pipeline: Any, size: tuple[int, int]) -> Conditioning:
    """Nothing at all."""
    return Conditioning()


def of_scheduler(scheduler: Any) -> str:
    """What the model's own scheduler says that the network predicts."""
    return scheduler.config.prediction_type


def own_size(network: Any, pipeline: Any) -> tuple[int, int, int]:
    """(channels, height, width) of a latent, by the network's config."""
    return network.config.in_channels, network.config.sample_size, network.config.sample_size


class Sides(NamedTuple):
    """What a picture's sides may be, in latents: multiples of one number, and at most another where that is known."""

    multiple: int = 1
    most: int | None = None


class Reader(NamedTuple):
    """The tokenizer that reads the most of a prompt, and how many tokens of it."""

    tokenizer: Any
    tokens: int


def first_reader(pipeline: Any) -> Reader | None:
    """The pipeline's ``tokenizer``, if it has one."""
    words = getattr(pipeline, "tokenizer", None)
    return None if words is None else Reader(words, words.model_max_length)


def told_guidance(network: Any) -> float | None:
    """What a latent consistency model is told of guidance where nobody says it; None for all that are told none."""
    return None if getattr(network.config, "time_cond_proj_dim", None) is None else 8.5


def vae_codec(pipeline: Any, name: str, offload: CPUOffload | None) -> Codec:
    """The pipeline's ``vae``."""
    return VAECodec(pipeline.vae, name, offload)


@dataclass(frozen=True)
class Family:
    """One kind of base. A network of it learns from, and is read by, ``schedule``, ``prediction_type`` and ``codec``.

    Attributes:
        parts: the folders that it is made of, and of which classes of diffusers or transformers each may be; any where
            none is named.
        network: the part that denoises.
        encoders: the parts that read prompts.
        assemble: (parts by name, the content of model_index.json) -> diffusers' pipeline.
        condition: (pipeline, prompts, (height, width) in pixels) -> what the network is told; the empty prompt is the
            unconditional one.
        predictor: wraps the network.
        reads: "text", or "classes".
        optional: parts that a model of it may be without.
        weighs_words: whether prompts may hold weights of words, be of any length, and name embeddings.
        takes_controls: whether there are ControlNets for it.
        takes_images: whether there are IP-Adapters for it.
        null_text: whether its network has cross-attention, which can be taken out (``guidance.null_text``).
        only_square: whether it draws squares alone.
        sides: network -> what sides of pictures it takes.
        reader: pipeline -> who reads the most of a prompt; None where nobody reads any.
        told_guidance: network -> the guidance weight that one with guidance inside is told where nobody says another.
        unconditional: (pipeline, (height, width) in pixels) -> what a network of it that takes no text is still told.
        latent_shape: (network, pipeline) -> (channels, height, width) of a latent at the model's own size.
        sampler: (name, the model's own scheduler) -> a sampler for ``guidance.sampling.sample``.
        schedule: its diffusers scheduler -> how much noise there is when.
        prediction_type: its diffusers scheduler -> a name of ``guidance.schedules.PARAMETERISATIONS``, what the
            network answers and is trained to answer.
        originals: the layouts of its checkpoints in a single file.
        codec: (pipeline, the base's name, offload) -> pictures to latents and back.
    """

    parts: Mapping[str, tuple[str, ...]]
    network: str
    encoders: tuple[str, ...]
    assemble: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    condition: Callable[[Any, list[str], tuple[int, int]], Conditioning]
    predictor: MakePredictor
    reads: str = "text"
    optional: tuple[str, ...] = ()
    weighs_words: bool = True
    takes_controls: bool = False
    takes_images: bool = True
    null_text: bool = True
    only_square: bool = False
    sides: Callable[[Any], Sides] = lambda network: Sides()
    reader: Callable[[Any], Reader | None] = first_reader
    told_guidance: Callable[[Any], float | None] = told_guidance
    unconditional: Callable[[Any, tuple[int, int]], Conditioning] = no_words
    latent_shape: Callable[[Any, Any], tuple[int, int, int]] = own_size
    sampler: Callable[[str, Any], Any] = scheduler_named
    schedule: Callable[[Any], Schedule] = from_diffusers
    prediction_type: Callable[[Any], str] = of_scheduler
    originals: tuple[Original, ...] = ()
    codec: Callable[[Any, str, CPUOffload | None], Codec] = vae_codec
