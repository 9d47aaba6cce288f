"""A base that reads each text once, however often it is asked: score distillation says the same few at every step."""

from __future__ import annotations

from collections.abc import Sequence

from ...guidance.conditioning import Condition, stacked
from ...guidance.predictors import NoisePredictor
from .in_domain import ReadsText


class RemembersTexts:
    """As ``base``, with what it told of every prompt kept.

    Texts are read one at a time, so that what is told of one does not depend on those beside it.
    """

    def __init__(self, base: ReadsText) -> None:
        self._base = base
        self._known: dict[str, Condition] = {}

    @property
    def predictor(self) -> NoisePredictor:
        """The base's."""
        return self._base.predictor

    def condition(self, prompts: Sequence[str], /) -> Condition:
        """What the network is told for each prompt."""
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._base.condition([prompt])
        return stacked([self._known[prompt] for prompt in prompts])
