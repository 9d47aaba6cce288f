"""Looking at a refinement while it goes changes nothing of it, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.refinements import BUSY, grey_ball, refine
from PIL import Image

from slipcast.pipeline.stages import watching
from slipcast.pipeline.stages.watching import PREVIEW_FILE, Watch


@pytest.mark.parametrize("field", ["voxels", "hashgrid"])
def test_a_refinement_is_the_same_with_and_without(
    tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(BUSY, steps=3, field=field, hash_levels=2, hash_log2_size=8)
    monkeypatch.setattr(watching, "_EVERY_S", 0.0)
    monkeypatch.setattr(watching, "_SHARE", 1e9)
    watch = Watch(tmp_path, 0.2, 8)
    watched, alone = refine(config, watch=watch), refine(config)
    assert (tmp_path / PREVIEW_FILE).is_file()
    for name in ("raw_density", "raw_colour"):
        assert torch.equal(getattr(watched, name), getattr(alone, name)), name
    watch.end()
    assert list(tmp_path.iterdir()) == []


def test_the_picture_shows_four_sides_the_front_first(tmp_path: Path) -> None:
    ball = grey_ball()
    colours = torch.full((16, 16, 16, 3), 0.5)
    y = torch.linspace(-1, 1, 16)
    colours[y.view(1, 16, 1).expand(16, 16, 16) < 0] = torch.tensor([1.0, 0.0, 0.0])
    Watch(tmp_path, 0.0, 32)(type(ball)(ball.occupancy, colours))
    picture = np.asarray(Image.open(tmp_path / PREVIEW_FILE), np.int32)
    assert picture.shape == (128, 512, 3)
    red = [int((view[..., 0] - view[..., 2] > 60).sum()) for view in np.split(picture, 4, 1)]
    assert red[0] > 3 * red[2] and red[0] > 1000 and abs(red[1] - red[3]) < 0.2 * red[0]


def test_it_looks_again_when_its_time_has_come_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, clock = [0], [100.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: clock[0])

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked[0] += 1
        clock[0] += 0.01  # so that a look takes some time
        return torch.zeros(len(points)), torch.zeros(len(points), 3)

    watch = Watch(tmp_path, 0.0, 4)
    watch(field)
    first, spent = asked[0], clock[0] - 100.0
    watch(field)
    assert asked[0] == first > 0
    clock[0] += spent / 0.02 - 0.001
    watch(field)
    assert asked[0] == first, "it takes a fiftieth of the time at most"
    clock[0] += 0.01
    watch(field)
    assert asked[0] == 2 * first
    Watch(tmp_path / "nothing", 0.0, 4).end()
