"""How long a stage may take when nothing like it ever ran here: its networks' operations over this machine's speed.

A rough number, an hour or a day: only the denoiser, the autoencoder and Shap-E's prior are counted, as
``systems.models.costs`` knows them, and networks are taken to reach half the speed of a plain product of matrices.
"""

from __future__ import annotations

import time
from functools import cache

from ...configs.schema import MakeConfig, RecipeConfig

_REACHED = 0.5  # of a matrix product's speed, by networks
_SIDES, _SECONDS = {"cpu": 1024}, 0.15
_ELSEWHERE = 4096
_BACKWARD = 3  # a pass forward and back costs three forward

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_MIB = 1e6 / 2**20  # of a million bytes
_FLOAT32 = 4 * _MIB


@cache
def gigaflops(device: str, dtype: str) -> float:
    """Billions of operations a second of this machine, by products of square matrices."""
    import torch

    side = _SIDES.get(device, _ELSEWHERE)
    matrix = torch.ones(side, side, device=device, dtype=getattr(torch, dtype))
    float((matrix @ matrix)[0, 0])  # the first waits for libraries that are loaded when they are needed
    began, rounds = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < _SECONDS or rounds < 2:
        float((matrix @ matrix)[0, 0])  # read, so that an accelerator has to be done
        rounds += 1
    return rounds * 2 * side**3 / passed / 1e9


def operations(stage: str, config: MakeConfig) -> float | None:
    """Billions of operations of a stage's networks; None where a model is not known."""
    from ...systems.models.costs import COSTS

    base, lift = COSTS.get(config.base), COSTS.get(config.lift_model)
    if stage == "lift":
        if config.lift_model == "blob":
            return 0.0
        two = 2 if config.lift.guidance > 1 else 1
        return (
            None if lift is None or not lift.call else config.lift.keep * config.lift.steps * two * lift.call
        )
    if base is None:
        return None
    if stage == "image":
        image = config.image
        drawn = image.steps * _branches(config, image) * base.call + base.decode
        return 0.0 if image.picture else image.candidates * drawn
    if stage == "refine":
        refine = config.refine
        # The LoRA of vsd answers once and learns by passes forward and back.
        calls = _branches(config, refine) + (1 + _BACKWARD * refine.vsd_steps if refine.score == "vsd" else 0)
        return refine.steps * refine.views * (calls * base.call + _BACKWARD * base.encode)
    if stage == "paint":
        once = _branches(config, config.image) * base.call + base.encode + base.decode
        return (config.paint.steps or 0) * config.paint.views * once
    return None


def megabytes(stage: str, config: MakeConfig) -> float | None:
    """MiB of the weights that a stage holds, a domain beside the base counted as its denoiser again."""
    from ...systems.models.costs import COSTS

    base, lift = COSTS.get(config.base), COSTS.get(config.lift_model)
    if stage == "lift":
        return 0.0 if config.lift_model == "blob" else None if lift is None else _FLOAT32 * lift.parameters_m
    if base is None or stage not in ("image", "refine", "paint"):
        return None
    denoisers = base.denoiser_m * (1 + _has_domain(config))
    return _MIB * (_BYTES[config.dtype] * denoisers + 4 * (base.parameters_m - base.denoiser_m))


def seconds(stage: str, config: MakeConfig) -> float | None:
    """Of a stage's networks on the config's device, which is to be made out, as is its dtype."""
    wanted = operations(stage, config)
    return None if wanted is None else wanted / (_REACHED * gigaflops(config.device, config.dtype))


def _branches(config: MakeConfig, recipe: RecipeConfig) -> int:
    """Answers that one step needs: nothing in particular, the prompt, the domain; and what the recipe adds."""
    more = len(recipe.negative) + len(recipe.wanted) + len(recipe.unwanted) + len(recipe.conditions)
    return 2 + _has_domain(config) + more


def _has_domain(config: MakeConfig) -> bool:
    from ...systems.models.known import domain_for

    return domain_for(config.base, config.domain) is not None
