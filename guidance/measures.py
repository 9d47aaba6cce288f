"""How hard the terms of a guidance push, and whether they push together: numbers for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor


def norms_and_cosines(vectors: Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, float]]:
    """Lengths of vectors by name, and the cosines between any two by ``one | other``; means over the batch.

    Args:
        vectors: [B, ...] each, of one shape. A cosine with a vector of length 0 is 0.
    """
    if not vectors:
        return {}, {}
    stacked = torch.stack(
        [vector.detach().float().flatten(1) for vector in vectors.values()]
    )  # [N, B, entries]
    length = stacked.norm(dim=2)
    unit = stacked / length.clamp_min(torch.finfo(torch.float32).tiny)[..., None]
    cosine = torch.einsum("ibe,jbe->bij", unit, unit).mean(0)
    numbers = torch.cat([length.mean(1, keepdim=True), cosine], dim=1).tolist()  # one wait for the device
    pairs = combinations(enumerate(vectors), 2)
    return (
        {name: row[0] for name, row in zip(vectors, numbers, strict=True)},
        {f"{one} | {other}": numbers[i][1 + j] for (i, one), (j, other) in pairs},
    )
