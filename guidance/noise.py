"""Where every random number comes from: generators named by what they are for, so that any draw can be repeated."""

from __future__ import annotations

import hashlib

import torch


def named_generator(seed: int, *name: int | str) -> torch.Generator:
    """A CPU generator that depends on the seed and the name alone, such as ``named_generator(0, "refine", 17)``.

    The first 63 bits of sha256("seed/part/part...") seed it: neighbouring seeds and steps are unrelated, and a step
    that is run again, in a resumed run or in another process, draws the same numbers.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def generator_on(device: torch.device | str, generator: torch.Generator) -> torch.Generator:
    """The generator itself on the CPU; elsewhere one of that device, seeded by a draw of the given one.

    A GPU draws large noise in no time, where the CPU's would hold up every step; its numbers are others than the CPU's.
    """
    if torch.device(device).type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
