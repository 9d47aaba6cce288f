"""The starter's weights carry their hashes, and one flipped bit is noticed when a model is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slipcast.configs.atomic import sha256_of_folder
from slipcast.configs.errors import BadInput
from slipcast.systems.domain.model import load_domain
from slipcast.systems.lift.starter import load_lift
from slipcast.systems.models.aliases import resolve
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.models.shipped import HASHES, check_hashes, write_hashes


def test_the_shipped_list_is_that_of_the_shipped_files() -> None:
    listed = json.loads((WEIGHTS / HASHES).read_text())
    assert listed == sha256_of_folder(WEIGHTS, leave_out=frozenset({HASHES}))
    assert len(listed) >= 21


@pytest.fixture
def weights(tmp_path) -> Path:
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    return tmp_path / "weights"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_one_flipped_bit_is_noticed_by_every_loader(weights) -> None:
    base = load_base(weights / "prior")
    loaders = {
        "lift/diffusion_pytorch_model.safetensors": lambda: load_lift(weights / "lift"),
        "domain/null_text_unet.safetensors": lambda: load_domain(weights / "domain", base),
        "control-canny/diffusion_pytorch_model.safetensors": lambda: resolve(str(weights / "control-canny")),
        "porcelain-lora/pytorch_lora_weights.safetensors": lambda: resolve(
            str(weights / "porcelain-lora/pytorch_lora_weights.safetensors")
        ),
        "prior/vae/diffusion_pytorch_model.safetensors": lambda: load_base(weights / "prior"),
        "judge/config.json": lambda: check_hashes(weights / "judge"),
    }
    for name, load in loaders.items():
        load()
        flip(weights / name, 8 * ((weights / name).stat().st_size * 2 // 3) + 5)
        with pytest.raises(BadInput, match=f"{name} is damaged"):
            load()
    (weights / "judge/config.json").unlink()
    with pytest.raises(BadInput, match=r"judge/config\.json is missing"):
        check_hashes(weights / "judge")


def test_a_new_list_makes_the_changed_files_the_right_ones(weights) -> None:
    card = weights / "domain/domain.json"
    card.write_text(card.read_text() + "\n")
    with pytest.raises(BadInput, match="is damaged"):
        check_hashes(weights / "domain")
    check_hashes(weights / "lift")  # each model by itself
    write_hashes(weights)
    check_hashes(weights / "domain")
    (weights / HASHES).unlink()
    flip(card, 3)
    check_hashes(weights / "domain")  # nothing is known of it
