"""What the tables are about: the generator's pictures, or those of a folder, of which some are never trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.pipeline.tables.world import read, read_pictures, rendered, source_of, write_pictures
from slipcast.starter.dataset import NOUNS
from slipcast.starter.generator.objects import HELD_OUT


def nothing(*_: object) -> None:
    """No bar."""


def test_pictures_repeat_and_show_no_held_out_word(tmp_path) -> None:
    shown, nouns = rendered("train", 4, 2, 32, nothing)
    again, _ = rendered("train", 4, 2, 32, nothing)
    other, _ = rendered("true", 4, 2, 32, nothing)
    assert shown.shape == (8, 3, 32, 32) and shown.dtype == torch.uint8 and torch.equal(shown, again)
    assert not torch.equal(shown, other) and len(nouns) == 8
    assert not {NOUNS[int(number)] for number in nouns} & set(HELD_OUT)
    write_pictures(tmp_path / "p.safetensors", shown, nouns)
    assert torch.equal(read_pictures(tmp_path / "p.safetensors")[0], shown)


def test_a_folder_is_split_in_two_and_known_by_what_it_holds(tmp_path) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)).save(tmp_path / f"{number}.png")
    parts = {}
    for kind in ("train", "true"):
        pictures, count = read(tmp_path, kind, 16, lambda total: nothing)
        parts[kind] = torch.cat(list(pictures))
        assert parts[kind].shape == (count, 3, 16, 16)
    assert sum(map(len, parts.values())) == 12 and len(parts["true"])
    flat = [{one.numpy().tobytes() for one in part} for part in parts.values()]
    assert not flat[0] & flat[1]
    before = source_of(tmp_path, 16)
    (tmp_path / "0.png").rename(tmp_path / "renamed.png")
    assert source_of(tmp_path, 16) == before != source_of(None, 16)
    with pytest.raises(BadInput, match="starter"):
        read(tmp_path, "open", 16, lambda total: nothing)
