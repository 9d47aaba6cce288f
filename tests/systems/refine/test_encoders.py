"""Small encoders for refinement: the same latents, refused otherwise, and how alike their gradients are in the log."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes.refinements import BUSY, encode, refine, same

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.models.known import ALIASES
from slipcast.systems.models.tiny_codec import load_tiny
from slipcast.systems.refine.log import LOG_FILE

OWN: Any = SimpleNamespace(latent_channels=4, pixels_per_latent=4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    network = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    ).eval()
    folder = tmp_path_factory.mktemp("tiny")
    network.save_pretrained(folder)
    return folder, network


def test_it_encodes_as_diffusers_does_and_can_be_differentiated(tiny: tuple[Path, Any]) -> None:
    folder, network = tiny
    pictures = torch.rand(2, 3, 16, 16, requires_grad=True)
    latents = load_tiny(folder, OWN, "cpu").encode(pictures)
    torch.testing.assert_close(latents, network.encode(pictures * 2 - 1).latents)
    latents.square().sum().backward()
    assert pictures.grad is not None and pictures.grad.abs().sum() > 0
    assert not any(one.requires_grad for one in load_tiny(folder, OWN, "cpu").vae.parameters())


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"latent_channels": 16}, "has 4 numbers a latent, and the base's own has 16"),
        ({"pixels_per_latent": 8}, "has 4 pixels a latent, and the base's own has 8; .* refine.encoder=full"),
    ],
)
def test_other_latents_are_refused(tiny: tuple[Path, Any], own: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        load_tiny(tiny[0], SimpleNamespace(**vars(OWN) | own), "cpu")  # type: ignore[arg-type]


def test_another_kind_of_autoencoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(BadInput, match="is a AutoencoderKL, not an AutoencoderTiny"):
        load_tiny(tmp_path, OWN, "cpu")


def cosines(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [line["encoder_cosine"] for line in lines if "encoder_cosine" in line]


def test_law_an_encoder_agrees_with_itself_and_another_one_less(tmp_path: Path) -> None:
    config = dataclasses.replace(BUSY, steps=3, size=16, samples=8)
    found = {}
    for name, full in (("same", encode), ("mirrored", lambda pictures: encode(pictures.flip(-1)))):
        (tmp_path / name).mkdir()
        field = refine(config, checkpoint_folder=tmp_path / name, full_encode=full)
        found[name] = cosines(tmp_path / name)
        assert same(field, refine(config)), "to compare changes no bit"
    assert found["same"] == pytest.approx([1.0] * len(found["same"]), abs=1e-5) and len(found["same"]) == 2
    assert max(found["mirrored"]) < 0.999


def test_the_encoder_counts_in_the_key_and_is_known_by_name() -> None:
    (stage,) = (stage for stage in STAGES if stage.name == "refine")
    assert "refine.encoder" in stage.roles and "encoder" not in stage.settings(MakeConfig())
    assert ALIASES["taesd"].hub_id == "madebyollin/taesd" and ALIASES["taesd"].licence == "mit"


def test_a_folder_is_told_as_a_model_of_the_run(tiny: tuple[Path, Any]) -> None:
    from slipcast.configs.loading import load_config
    from slipcast.pipeline.run.models import ModelStore

    store = ModelStore(load_config("starter", [f"refine.encoder={tiny[0]}"]))
    told = store.identities(["refine.encoder"])
    assert told["refine.encoder"]["id"] == str(tiny[0]) and len(told["refine.encoder"]["revision"]) > 10
    assert ModelStore(load_config("starter")).identities(["refine.encoder"]) == {}
