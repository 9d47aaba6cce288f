"""What a client asks to be scored, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput
from ...configs.names import shown
from ...guidance.distillation import WEIGHTINGS
from ...systems.field.cameras import view_word
from ..run.prompts import check_prompt

MOST_VIEWS, LARGEST_SIDE = 64, 2048
_NAMES = frozenset({
    "ask", "token", "protocol", "tensors", "prompts", "views", "azimuth_deg", "elevation_deg", "t_range", "seed",
    "step", "weights", "weighting", "clamp", "norms",
})  # fmt: skip
_TENSORS = frozenset({"pictures", "latents", "t", "noise"})


@dataclass(frozen=True)
class Asked:
    """One batch to score.

    Attributes:
        pictures: [B, 3, H, W], sRGB in [0, 1]; None where latents are given.
        latents: [B, C, h, w], in the scale of the served base.
        t: timesteps [B]; drawn from ``t_range`` where None.
        noise: [B, C, h, w]; drawn where None.
        prompts: a text for each view; None is the server's own.
        views: words for each view, added to its prompt.
        draw: (seed, step) of what is drawn.
        weighting: a key of ``guidance.distillation.WEIGHTINGS``.
        clamp: largest entry of the latents' gradient.
    """

    pictures: Tensor | None
    latents: Tensor | None
    t: Tensor | None
    noise: Tensor | None
    prompts: list[str] | None
    views: list[str]
    t_range: tuple[float, float]
    draw: tuple[int, int]
    weights: dict[str, float]
    weighting: str
    clamp: float | None
    norms: bool

    @property
    def batch(self) -> int:
        """Number of views."""
        return len(self.views)


def asked_of(header: Mapping[str, Any], tensors: Mapping[str, Tensor], channels: int) -> Asked:
    """A request, as it came over the wire.

    Args:
        channels: of the served latents.
    Raises:
        BadInput: in one sentence, what was expected and what came.
    """
    unknown = sorted((header.keys() - _NAMES) | (tensors.keys() - _TENSORS))
    if unknown:
        raise BadInput(
            f"a request has no {shown(unknown[0])}; it may have {', '.join(sorted(_NAMES | _TENSORS))}"
        )
    pictures, latents = tensors.get("pictures"), tensors.get("latents")
    if (pictures is None) == (latents is None):
        raise BadInput("a request holds pictures [B, 3, H, W] or latents [B, C, h, w], one of the two")
    batch = (
        _checked("pictures", pictures, 3) if pictures is not None else _checked("latents", latents, channels)
    )
    t, noise = tensors.get("t"), tensors.get("noise")
    if t is not None and (t.dtype != torch.int64 or tuple(t.shape) != (batch,)):
        raise BadInput(f"t expects {batch} timesteps, int64 [{batch}], not {t.dtype} {list(t.shape)}")
    if noise is not None and _checked("noise", noise, channels) != batch:
        raise BadInput(f"noise expects {batch} samples, as many as there are views, not {len(noise)}")
    prompts = header.get("prompts")
    if prompts is not None:
        prompts = [check_prompt(text, digits=True) for text in _texts("prompts", prompts, batch)]
    seed, step = (_whole(name, header.get(name, 0)) for name in ("seed", "step"))
    weighting = header.get("weighting", "sigma")
    if weighting not in WEIGHTINGS:
        raise BadInput(f"weighting is one of {', '.join(WEIGHTINGS)}, not {shown(weighting)}")
    clamp = header.get("clamp")
    if clamp is not None and not _number("clamp", clamp) > 0:
        raise BadInput(f"clamp expects a number above 0, or null, not {shown(clamp)}")
    weights = header.get("weights") or {}
    if not isinstance(weights, dict):
        raise BadInput(f"weights expects a number for each term, not {shown(weights)}")
    return Asked(
        pictures=pictures,
        latents=latents,
        t=t,
        noise=noise,
        prompts=prompts,
        views=_views(header, batch),
        t_range=_range(header.get("t_range", [0.02, 0.98])),
        draw=(seed, step),
        weights={name: _number(f"the weight {shown(name)}", value) for name, value in weights.items()},
        weighting=weighting,
        clamp=clamp,
        norms=header.get("norms") is True,
    )


def _checked(name: str, tensor: Any, channels: int) -> int:
    """The number of samples of a float tensor that can be one of pictures, latents or noise."""
    shape = list(tensor.shape)
    fits = len(shape) == 4 and shape[1] == channels and 1 <= shape[0] <= MOST_VIEWS
    if not fits or not all(1 <= side <= LARGEST_SIDE for side in shape[2:]) or tensor.dtype != torch.float32:
        raise BadInput(
            f"{name} expects float32 [1 to {MOST_VIEWS}, {channels}, height, width], sides of {LARGEST_SIDE} at most, "
            f"not {str(tensor.dtype).removeprefix('torch.')} {shape}"
        )
    if not bool(tensor.isfinite().all()):
        raise BadInput(f"{name} holds NaN or infinity; look at what made it")
    return shape[0]


def _views(header: Mapping[str, Any], batch: int) -> list[str]:
    """Words of each view: given, or of its angles, azimuth 0 before the front and elevation 0 level with the object."""
    if "views" in header:
        if "azimuth_deg" in header or "elevation_deg" in header:
            raise BadInput("a request has views, or azimuth_deg and elevation_deg, not both")
        return [check_prompt(text) if text else "" for text in _texts("views", header["views"], batch)]
    if "azimuth_deg" not in header and "elevation_deg" not in header:
        return [""] * batch
    angles = [one for name in ("azimuth_deg", "elevation_deg") if isinstance(one := header.get(name), list)]
    if len(angles) != 2 or any(len(one) != batch for one in angles):
        raise BadInput(f"azimuth_deg and elevation_deg expect {batch} numbers each, one a view")
    azimuths, elevations = ([math.radians(_number("an angle", one)) for one in many] for many in angles)
    return [view_word(a, e) for a, e in zip(azimuths, elevations, strict=True)]


def _texts(name: str, given: Any, batch: int) -> Sequence[str]:
    if not isinstance(given, list) or len(given) != batch or not all(isinstance(one, str) for one in given):
        raise BadInput(f"{name} expects a list of {batch} texts, one a view, not {shown(given)}")
    return given


def _range(given: Any) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise BadInput(f"t_range expects two noise fractions, such as [0.02, 0.98], not {shown(given)}")
    low, high = (_number("t_range", one) for one in given)
    if not 0 <= low <= high <= 1:
        raise BadInput(f"t_range expects 0 <= low <= high <= 1, not {low:g} and {high:g}")
    return low, high


def _whole(name: str, given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given < 2**63:
        raise BadInput(f"{name} expects a whole number from 0 to 2^63 - 1, not {shown(given)}")
    return given


def _number(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < float("inf"):
        raise BadInput(f"{name} expects a finite number, not {shown(given)}")
    return float(given)
