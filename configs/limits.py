"""Values of the right type that still make no sense: outside their limits, or at odds with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

from .errors import BadInput
from .names import settings_of, shown, shown_key
from .over_steps import Number, changes, check_schedule, exceeds, values_of
from .plugins import entries
from .schema import MakeConfig, RefineConfig


def check_limits(config: MakeConfig) -> None:
    """Raise ``BadInput`` for the first value that lies outside its limits."""
    check_fields(config)
    _check_threshold(config.mesh.threshold)
    check_refine(config.refine)
    pick, candidates = config.image.pick, config.image.candidates
    if pick is not None and pick >= candidates:
        raise BadInput(
            f"image.pick={pick} is none of the candidates: image.candidates={candidates} are numbered from 0 to "
            f"{candidates - 1}"
        )
    lods = config.export.lods
    if any(next_one >= one for one, next_one in pairwise(lods)):
        raise BadInput(
            f"setting export.lods expects fractions that fall, such as [0.5, 0.25, 0.1], not {lods}"
        )


_CAMERAS = {"elevation": "_deg", "azimuth": "_deg", "fov": "_deg", "distance": ""}


def check_refine(config: RefineConfig) -> None:
    """Raise ``BadInput`` for settings of refinement that contradict each other."""
    for setting in ("weights_over_steps", "until_over_steps", "since_over_steps"):
        for name, schedule in getattr(config, setting).items():
            key = f"refine.{setting}.{shown_key(name)}"
            check_schedule(key, schedule)
            if setting != "weights_over_steps" and not all(0 <= end <= 1 for end in values_of(schedule)):
                raise BadInput(f"setting {key} goes through noise fractions, from 0 to 1, not {schedule}")
    # A schedule says all that t_max does over the run, and so does the square root.
    highest = ("t_max",) if changes(config.t_max) or config.timesteps == "sqrt" else ("t_max", "t_max_end")
    ranges = [(f"{one}_min{unit}", f"{one}_max{unit}") for one, unit in _CAMERAS.items()]
    for low, high in (*(("t_min", name) for name in highest), *ranges):
        one, other = getattr(config, low), getattr(config, high)
        step = exceeds(one, other)
        if step is not None:
            when = f" (at step {step})" if changes(one) or changes(other) else ""
            raise BadInput(f"refine.{low}={shown(one)} must not exceed refine.{high}={shown(other)}{when}")
    if config.hash_features not in (1, 2, 4, 8):
        raise BadInput(f"setting refine.hash_features expects 1, 2, 4 or 8, not {config.hash_features}")
    if config.azimuth_max_deg - config.azimuth_min_deg > 360:
        raise BadInput(
            f"refine.azimuth_min_deg={config.azimuth_min_deg} and refine.azimuth_max_deg={config.azimuth_max_deg} are "
            "more than a turn apart; 360 degrees are all sides"
        )


def check_fields(config: Any) -> None:
    """Raise ``BadInput`` for the first value of any dataclass of settings outside its field's own limits."""
    for key, item in settings_of(type(config)).items():
        value = attrgetter(key)(config)
        if item.hint == Number:
            check_schedule(key, value)
            value = values_of(value)
        _check_one(key, value, {name: item.metadata.get(name) for name in _LIMITS})


def _check_threshold(text: str) -> None:
    try:
        usable = text == "auto" or 0 < float(text) < math.inf
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(f"setting mesh.threshold expects 'auto' or a density above 0, not {shown(text)}")


_LIMITS = ("at_least", "at_most", "choices", "offers")


def _check_one(key: str, value: Any, limits: Mapping[str, Any]) -> None:
    if value is None:  # only where the type allows it
        return
    if isinstance(value, Mapping):
        for name, entry in value.items():
            if is_dataclass(entry):
                check_fields(entry)
            else:
                _check_one(f"{key}.{shown_key(name)}", entry, limits)
        return
    at_least, at_most, choices, offers = (limits[name] for name in _LIMITS)
    if offers is not None:
        choices = (*choices, *entries(offers, choices))
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, float) and not math.isfinite(entry):
            raise BadInput(f"setting {key} expects a finite number, not {entry}")
        if at_least is not None and entry < at_least:
            raise BadInput(f"setting {key} expects at least {at_least}, not {entry}")
        if at_most is not None and entry > at_most:
            raise BadInput(f"setting {key} expects at most {at_most}, not {entry}")
        if choices is not None and entry not in choices:
            raise BadInput(f"setting {key} knows {', '.join(choices)}, not {shown(entry)}")
