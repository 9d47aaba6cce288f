"""Which model this is: every file that is read counts, once; what counts for a domain is its base's numbers alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.run.models import ModelStore
from slipcast.systems.guided.variants import load_custom
from slipcast.systems.models import identity
from slipcast.systems.models.base import load_base
from slipcast.systems.models.identity import is_network, model_identity, network_identity
from slipcast.systems.models.weight_files import files_read


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> Any:
    return tiny.stable_diffusion(tmp_path_factory.mktemp("words"))


@pytest.fixture
def folder(pipe, tmp_path) -> Path:
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_file_that_is_read_counts_and_no_other(folder) -> None:
    before, files = model_identity(folder), files_read(folder)
    assert {path.relative_to(folder).as_posix() for path in files} == {
        "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
        "text_encoder/model.safetensors", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    for path in files[1:]:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert model_identity(folder) != before, path
        path.write_bytes(whole)
    assert model_identity(folder) == before
    for name in ("README.md", ".DS_Store", "safety_checker/model.safetensors", "unet/model.ckpt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert model_identity(folder) == before
    assert model_identity(shutil.copytree(folder, folder.with_name("moved"))) == before


def test_changed_settings_of_an_own_base_are_noticed_by_a_run(folder) -> None:
    def revision() -> str:
        return ModelStore(MakeConfig(base=str(folder))).identities(["base"])["base"]["revision"]

    seen = [revision()]
    change(folder / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    seen.append(revision())
    change(folder / "vae/config.json", scaling_factor=0.5)
    seen.append(revision())
    assert len(set(seen)) == 3
    assert all(one.startswith("2:") for one in seen)


def test_a_file_is_read_once_per_process_until_it_changes(folder, monkeypatch) -> None:
    read: list[Path] = []
    real = identity.sha256_of_file
    monkeypatch.setattr(identity, "sha256_of_file", lambda path: read.append(path) or real(path))
    for _ in range(3):
        model_identity(folder)
    assert len(read) == len(files_read(folder))
    change(folder / "vae/config.json", scaling_factor=0.5)
    model_identity(folder)
    assert len(read) == len(files_read(folder)) + 1


def test_pickled_models_are_told_apart_and_keep_their_own_text_encoder(pipe, tmp_path) -> None:
    pipe.save_pretrained(tmp_path / "one", safe_serialization=False)
    (tmp_path / "other").mkdir()
    tuned = tiny.stable_diffusion(tmp_path)
    with torch.no_grad():
        for parameter in tuned.text_encoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    tuned.save_pretrained(tmp_path / "other", safe_serialization=False)
    if not list((tmp_path / "one/text_encoder").glob("*.bin")):
        # transformers 5 writes safetensors only; older versions wrote these.
        for name, made in (("one", pipe), ("other", tuned)):
            (tmp_path / name / "text_encoder/model.safetensors").unlink()
            torch.save(made.text_encoder.state_dict(), tmp_path / name / "text_encoder/pytorch_model.bin")
    assert not list(tmp_path.rglob("*/*/*.safetensors"))
    assert model_identity(tmp_path / "one") != model_identity(tmp_path / "other")
    base = load_base(tmp_path / "one", allow_pickle=True)
    custom: Any = load_custom(str(tmp_path / "other"), base, allow_pickle=True)
    assert custom.pipeline.vae is base.pipeline.vae
    told, expected = custom.condition(["a vase"]).text, base.condition(["a vase"]).text
    words = tuned.tokenizer(["a vase"], padding="max_length", return_tensors="pt").input_ids
    torch.testing.assert_close(told, tuned.text_encoder(words)[0])
    assert (told - expected).abs().max() > 0.1


def test_a_network_is_the_same_in_every_precision_and_layout(pipe, tmp_path) -> None:
    copies = {
        "full": {}, "shards": {"max_shard_size": "20KB"}, "pickle": {"safe_serialization": False},
        "fp16": {"variant": "fp16"},
    }  # fmt: skip
    found = set()
    for name, options in copies.items():
        network = tiny.unet()
        network.load_state_dict(pipe.unet.state_dict())
        network.to(torch.float16 if name == "fp16" else torch.float32)
        network.save_pretrained(tmp_path / name / "unet", **options)
        found.add(network_identity(tmp_path / name, "epsilon"))
    assert len(list((tmp_path / "shards/unet").glob("*.safetensors"))) > 1
    assert len({model_identity(tmp_path / name / "unet") for name in copies}) == len(copies)
    assert len(found) == 1
    (one,) = found
    assert one.startswith("2:epsilon:")
    assert is_network(one, tmp_path / "fp16", "epsilon")
    assert not is_network(one, tmp_path / "fp16", "v_prediction")
    other = tiny.unet()
    with torch.no_grad():
        other.conv_out.bias += 0.25
    other.save_pretrained(tmp_path / "other/unet")
    assert not is_network(one, tmp_path / "other", "epsilon")


def test_identities_of_before_there_were_versions_are_recognised(folder) -> None:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes())
    assert is_network(digest.hexdigest(), folder, "epsilon")
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert not is_network(digest.hexdigest(), folder, "epsilon")


def test_an_unreadable_file_is_a_sentence(folder, monkeypatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(identity, "sha256_of_file", refuse)
    with pytest.raises(BadInput, match=r"model_index\.json cannot be read \(Permission denied\)"):
        model_identity(folder)
