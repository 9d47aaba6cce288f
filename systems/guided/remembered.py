"""A base that reads each text once, however often it is asked: score distillation says the same few at every step."""

from __future__ import annotations

from collections.abc import Sequence

from ...guidance.conditioning import Condition, as_conditioning, stacked
from ...guidance.predictors import ConditionalDenoiser, NoisePredictor

_MOST = 256  # texts; of Flux one takes 8 MB


class RemembersTexts:
    """As ``base``, with what it told of every prompt kept, of the last few hundred at least.

    Texts are read one at a time, so that what is told of one does not depend on those beside it.
    """

    def __init__(self, base: ConditionalDenoiser) -> None:
        self._base = base
        self._known: dict[tuple[str, int | tuple[int, int] | None], Condition] = {}

    @property
    def name(self) -> str:
        """The base's."""
        return self._base.name

    @property
    def identity(self) -> str:
        """The base's."""
        return self._base.identity

    @property
    def predictor(self) -> NoisePredictor:
        """The base's."""
        return self._base.predictor

    def condition(self, prompts: Sequence[str], *, size: int | tuple[int, int] | None = None) -> Condition:
        """What the network is told for each prompt."""
        for prompt in prompts:
            if (prompt, size) not in self._known:
                self._known[prompt, size] = self._base.condition([prompt], size=size)
        told = [self._known[prompt, size] for prompt in prompts]
        while len(self._known) > _MOST:  # whoever serves strangers' prompts must not run full
            del self._known[next(iter(self._known))]
        lengths = {None if (text := as_conditioning(one).text) is None else text.shape[1] for one in told}
        # Long prompts of different lengths are read together, which fills the shorter ones up.
        return stacked(told) if len(lengths) == 1 else self._base.condition(prompts, size=size)
