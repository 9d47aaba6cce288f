"""What a denoiser is told beside x_t and t: text, sizes, a class, pictures to follow.

A plain tensor stands for text features alone, and None for no condition at all; ``Conditioning`` holds everything that
the networks of Stable Diffusion, SDXL, DiT and ControlNet may take. First axes are 1 (the same for the whole batch) or
B (one per sample).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .shapes import Pictures, Timesteps


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet (arxiv.org/abs/2302.05543) and the picture it follows.

    Attributes:
        network: a diffusers ``ControlNetModel`` for the same UNet.
        picture: [1 or B, 3, H, W] in [0, 1], at the size of the pictures, not of the latents.
        scale: factor on its residuals, one or [B]; 0 leaves the UNet alone.
        since, until: noise fractions t / T between which it is heard; others are as if it were not there.
    """

    network: Any
    picture: Pictures
    scale: float | Tensor = 1.0
    since: float = 0.0
    until: float = 1.0

    def rows(self, first: int, count: int, batch: int) -> Control:
        """The part for samples first .. first + count."""
        return replace(self, picture=rows_of(self.picture, first, count, batch))

    def at(self, times: Timesteps) -> Control | None:
        """What is heard of it at the samples' noise fractions t / T [B]; None where no sample hears it."""
        if self.since <= 0 and self.until >= 1:
            return self
        heard = (times >= self.since) & (times <= self.until)
        if bool(heard.all()):
            return self
        return replace(self, scale=self.scale * heard) if bool(heard.any()) else None


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """A picture as an IP-Adapter shows it to a UNet (arxiv.org/abs/2308.06721, decoupled cross-attention).

    The adapter's matrices times the picture's tokens stay the same from step to step, so that they are all there is to
    it: no network is kept, and any UNet of the family can be shown the picture.

    Attributes:
        keys, values: {name of a cross-attention: [1 or B, tokens, width]}.
        scale: weight of attention over them, beside that over the text.
        text_width: of the text that UNets of the family read.
    """

    keys: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    scale: float
    text_width: int

    def rows(self, first: int, count: int, batch: int) -> ImagePrompt:
        """The part for samples first .. first + count."""
        keys, values = (
            {name: rows_of(one, first, count, batch) for name, one in many.items()}
            for many in (self.keys, self.values)
        )
        return replace(self, keys=keys, values=values)


class Shown(NamedTuple):
    """A picture as an image prompt: what branches see that hear it, and what the others do, no picture at all."""

    picture: ImagePrompt
    nothing: ImagePrompt


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Everything a network is told.

    Attributes:
        text: text features [1 or B, tokens, width].
        pooled: SDXL's pooled text features [1 or B, width].
        time_ids: SDXL's original size, crop and target size [1 or B, 6].
        labels: DiT's class, whole numbers [1 or B].
        guidance: the guidance weight w that a distilled network (LCM) is told [1 or B].
        controls: ControlNets whose residuals are added up.
        images: pictures whose attention is added to that of the text.
    """

    text: Tensor | None = None
    pooled: Tensor | None = None
    time_ids: Tensor | None = None
    labels: Tensor | None = None
    guidance: Tensor | None = None
    controls: tuple[Control, ...] = ()
    images: tuple[ImagePrompt, ...] = ()

    def rows(self, first: int, count: int, batch: int) -> Conditioning:
        """The part for samples first .. first + count."""
        told = {
            name: value if value is None else rows_of(value, first, count, batch)
            for name, value in (
                ("text", self.text),
                ("pooled", self.pooled),
                ("time_ids", self.time_ids),
                ("labels", self.labels),
                ("guidance", self.guidance),
            )
        }
        parts = {
            name: tuple(one.rows(first, count, batch) for one in getattr(self, name))
            for name in ("controls", "images")
        }
        return replace(self, **told, **parts)  # pyright: ignore

    def following(self, *controls: Control) -> Conditioning:
        """The same with these controls added."""
        return replace(self, controls=self.controls + controls)

    def shown(self, *images: ImagePrompt) -> Conditioning:
        """The same with these pictures added."""
        return replace(self, images=self.images + images)

    def at(self, times: Timesteps) -> Conditioning:
        """The same with those controls that are heard at the samples' noise fractions t / T [B]."""
        if not self.controls:
            return self
        return replace(self, controls=tuple(c for one in self.controls if (c := one.at(times)) is not None))


Condition = Tensor | Conditioning | None


def as_conditioning(condition: Condition) -> Conditioning:
    """A condition in full: a bare tensor is text."""
    if isinstance(condition, Conditioning):
        return condition
    return Conditioning(text=condition)


def rows_of(value: Tensor, first: int, count: int, batch: int) -> Tensor:
    """The part of one tensor that belongs to samples first .. first + count.

    Raises: ValueError when it holds neither 1 nor ``batch`` samples.
    """
    if len(value) == 1:
        return value
    if len(value) != batch:
        raise ValueError(f"A condition holds 1 or {batch} samples, as the latents do, not {len(value)}.")
    return value[first : first + count]


def condition_rows(condition: Condition, first: int, count: int, batch: int) -> Condition:
    """``rows_of`` for any condition."""
    if condition is None:
        return None
    if isinstance(condition, Conditioning):
        return condition.rows(first, count, batch)
    return rows_of(condition, first, count, batch)


def stacked(conditions: Sequence[Condition]) -> Condition:
    """Conditions of single samples as one of a batch, in their order; all say the same kinds of things.

    Raises: ValueError when one has pictures, which belong to a whole batch.
    """
    told = [as_conditioning(one) for one in conditions]
    if any(one.controls or one.images for one in told):
        raise ValueError(
            "Conditions with controls or image prompts cannot be stacked; add them to the stack."
        )

    def joined(values: Sequence[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.cat(there) if there else None

    return Conditioning(
        text=joined([one.text for one in told]),
        pooled=joined([one.pooled for one in told]),
        time_ids=joined([one.time_ids for one in told]),
        labels=joined([one.labels for one in told]),
        guidance=joined([one.guidance for one in told]),
    )
