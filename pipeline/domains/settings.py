"""What a training was asked for, and what it settles on: written down once, followed by every resume."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.atomic import read_json_object, write_json
from ...configs.errors import BadInput
from ...configs.names import shown, unknown_name

if TYPE_CHECKING:
    from ...systems.models.base import Base

SETTINGS = "settings.json"
WORDS = ("teapot", "chair", "vase")
"""Looked for in samples where nobody says others."""
_GB = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|G|MB|M)?", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """One training. Null is left to the base's family (``systems.domain.recipes``), to the device, or off.

    Attributes:
        words: things that the domain's pictures need not show, looked for in its pictures while it learns.
        held_out: share of the pictures that is never trained on.
        distil_guidance: the weight of domain guidance that a network of the method ``dog`` takes into itself during
            the second half of its steps; it then draws without the base beside it.
        samples: pictures that are drawn for each Frechet distance; 0 draws none.
    """

    pictures: str
    name: str
    base: str
    licence: str
    prompt: str | None = None
    method: str | None = None
    steps: int | None = None
    batch: int | None = None
    accumulate: int = 1
    learning_rate: float | None = None
    size: int | None = None
    aspect: str = "crop"
    grounds: int = 4
    flip: bool = True
    precision: str = "auto"
    ema: float | None = None
    optimizer: str | None = None
    schedule: str | None = None
    checkpointing: bool = False
    size_budget: str | None = None
    feature_steps: int = 100
    feature_learning_rate: float = 5e-3
    noise_shift: float | None = None
    distil_guidance: float | None = None
    held_out: float = 0.1
    evaluate_every: int | None = None
    samples: int = 32
    sample_steps: int = 20
    extractor: str | None = "efficientnet-lite0"
    words: tuple[str, ...] = WORDS
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        from ...systems.images.framing import ASPECTS

        if self.aspect not in ASPECTS:
            raise unknown_name("aspect", self.aspect, ASPECTS)
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise unknown_name("precision", self.precision, ("auto", "float32", "bfloat16", "float16"))
        for name, least in (
            ("steps", 1), ("batch", 1), ("accumulate", 1), ("size", 8), ("grounds", 1), ("evaluate_every", 1),
            ("sample_steps", 1), ("workers", 1), ("samples", 0), ("feature_steps", 0),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInput(
                    f"--{name.replace('_', '-')} expects a whole number from {least} up, not {value}"
                )
        for name in ("learning_rate", "feature_learning_rate", "noise_shift", "distil_guidance"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise BadInput(f"--{name.replace('_', '-')} expects a number above 0, not {value}")
        if not 0 < self.held_out <= 0.5:
            raise BadInput(f"--held-out expects a share above 0 and up to 0.5, not {self.held_out}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise BadInput(f"--ema expects a number from 0 (off) to below 1, not {self.ema}")
        size_budget(self.size_budget)
        if not self.licence.strip():
            raise BadInput(
                "--licence says under which terms the pictures, and so the domain, may be used, such as CC-BY-4.0; "
                "nothing is assumed: ask who made them, or say 'unknown'"
            )

    @property
    def said(self) -> str:
        """The prompt that stands for the domain."""
        return self.prompt or f"a photo of {self.name}"


def size_budget(text: str | None) -> int | None:
    """``12GB`` in bytes, of 10^9 each."""
    if text is None:
        return None
    found = _GB.fullmatch(text.strip())
    if not found or float(found[1]) <= 0:
        raise BadInput(f"--size-budget expects a size such as 12GB, not {shown(text)}")
    return int(float(found[1]) * (10**6 if (found[2] or "GB").upper().startswith("M") else 10**9))


def write_settings(folder: Path, settings: Settings, **found: Any) -> None:
    """Write down what a training is, once: its settings, and the identities that it must find again."""
    write_json(folder / SETTINGS, {"settings": asdict(settings), **found})


def read_settings(folder: Path) -> tuple[Settings, dict[str, Any]]:
    """(settings, the rest) of a training's folder. BadInput for none, or one that is damaged."""
    if not (folder / SETTINGS).is_file():
        raise BadInput(f"{folder} holds no training; `slipcast domain train` begins one")
    told = read_json_object(folder / SETTINGS, "the settings of a training")
    own = told.get("settings")
    known = {one.name for one in fields(Settings)}
    if not isinstance(own, dict) or not set(own) <= known:
        raise BadInput(f"{folder / SETTINGS} is damaged; begin a new training")
    try:
        settings = Settings(**{**own, "words": tuple(own.get("words", ()))})
    except TypeError as error:
        raise BadInput(f"{folder / SETTINGS} is damaged ({error}); begin a new training") from error
    return settings, {key: value for key, value in told.items() if key != "settings"}


def changed_settings(settings: Settings, base: Base, method: str) -> Settings:
    """With nothing left open that the base's family decides."""
    from dataclasses import replace

    from ...systems.domain.recipes import defaults_for

    found = defaults_for(base, method)
    steps = settings.steps or found.steps
    own: Mapping[str, Any] = {
        "method": method,
        "prompt": settings.said,
        "steps": steps,
        "batch": settings.batch or found.batch,
        "learning_rate": settings.learning_rate or found.learning_rate,
        "size": settings.size or base.picture_size,
        "ema": found.ema if settings.ema is None else settings.ema,
        "optimizer": settings.optimizer or found.optimizer,
        "schedule": settings.schedule or found.schedule,
        "noise_shift": settings.noise_shift or found.noise_shift,
        "evaluate_every": settings.evaluate_every or -(-steps // 8),  # so that no rest is left over
    }
    if own["size"] % base.cell:
        near = max(base.cell, round(own["size"] / base.cell) * base.cell)
        raise BadInput(
            f"--size must be a multiple of {base.cell} for {base.name!r}, not {own['size']}; try {near}"
        )
    if settings.distil_guidance is not None and method != "dog":
        raise BadInput(f"--distil-guidance takes domain guidance into a model of --method dog, not {method}")
    if base.only_square and settings.aspect == "bucket":
        raise BadInput(f"the base {base.name!r} draws squares alone; choose --aspect crop or pad")
    return replace(settings, **own)
