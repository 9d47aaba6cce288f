"""A base that remembers texts tells the same as the base itself, and asks it once for each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from slipcast.guidance.conditioning import Conditioning, Control, as_conditioning, stacked
from slipcast.systems.guided.remembered import RemembersTexts


class Reader:
    """A base whose answer is a function of each text alone."""

    predictor = object()

    def __init__(self) -> None:
        self.asked: list[str] = []

    def condition(self, prompts: Sequence[str], *, size: int | None = None) -> Conditioning:
        self.asked += prompts
        rows = [torch.randn(5, 3, generator=torch.Generator().manual_seed(len(prompt))) for prompt in prompts]
        text = torch.stack(rows)
        return Conditioning(text=text, pooled=text.mean(1))


def test_each_text_is_read_once_and_told_as_before() -> None:
    base = Reader()
    remembers = RemembersTexts(base)  # type: ignore[arg-type]
    for prompts in (["a", "bb"], ["bb", "bb"], ["ccc", "a"], [""]):
        told, wanted = as_conditioning(remembers.condition(prompts)), Reader().condition(prompts)
        assert told.text is not None and wanted.text is not None and torch.equal(told.text, wanted.text)
        assert (
            told.pooled is not None and wanted.pooled is not None and torch.equal(told.pooled, wanted.pooled)
        )
        assert told.labels is None and told.time_ids is None
    assert sorted(base.asked) == ["", "a", "bb", "ccc"]
    assert remembers.predictor is base.predictor


def test_pictures_to_follow_are_not_stacked() -> None:
    followed = Conditioning(controls=(Control(None, torch.zeros(1, 3, 8, 8)),))
    with pytest.raises(ValueError, match="controls"):
        stacked([followed, followed])
