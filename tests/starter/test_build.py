"""The whole recipe from nothing, as small as it goes: from data to image-to-3D, and a second call."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.run.models import ModelStore
from slipcast.starter import build
from slipcast.systems.lift.starter import load_lift
from slipcast.systems.training.loop import Budget

TINY = build.Preset(
    minutes=1.0,
    sets={
        name: build.DataSet(split, 2, 2, seed)
        for name, split, seed in (
            ("prior", "prior", 0),
            ("domain", "domain", 0),
            ("test", "judge", 2),
        )
    },
    widths=(16, 32),
    budget=Budget(steps=2, batch=2, workers=1, warmup_steps=1),
    feature_steps=2,
)


pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [eval]")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("starter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(build.PRESETS, "cpu", TINY)
        patch.setattr(build, "WORKERS", 1)
        weights = build.build("cpu", out=out)
    return out, weights


@pytest.mark.slow
def test_every_model_is_there_and_loads_as_the_shipped_ones_do(built):
    _, weights = built
    store = ModelStore(
        MakeConfig(
            base=str(weights / "prior"), domain=str(weights / "domain"), lift_model=str(weights / "lift")
        )
    )
    assert store.base.latent_shape == (8, 16, 16)
    assert store.domain.card["base_identity"] == store.base.network_identity
    assert store.lift == "starter"
    assert load_lift(store.folder("lift_model")).resolution == 64


def test_the_control_fits_the_prior_and_has_left_zero(built):
    _, weights = built
    prior = UNet2DConditionModel.from_pretrained(weights / "prior" / "unet")
    control = ControlNetModel.from_pretrained(weights / "control-canny")
    latents, t, text, edges = (
        torch.ones(1, 8, 16, 16),
        torch.tensor([5]),
        torch.ones(1, 3, 256),
        torch.ones(1, 3, 128, 128),
    )
    down, middle = control(latents, t, text, edges, return_dict=False)
    plain = prior(latents, t, text).sample
    followed = prior(
        latents, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
    ).sample
    assert plain.shape == followed.shape
    assert not torch.equal(plain, followed)


def test_the_judge_is_the_shipped_one(built):
    """Figures before and after a build are told by the same judge."""
    name = "judge/diffusion_pytorch_model.safetensors"
    assert (built[1] / name).read_bytes() == (build.SHIPPED / name).read_bytes()


def test_the_report_tells_every_step(built):
    out, _ = built
    told = json.loads((out / "report.json").read_text())
    assert list(told) == ["codec", "prior", "domain", "control", "lora", "lift", "judge"]
    assert told["prior"]["step"] == 2
    assert told["control"]["steps"] == 2
    assert all(0 <= told["control"]["edges"]["with"][key] <= 1 for key in ("distance", "f1"))
    assert 0 <= told["lift"]["iou"]["mean"] <= 1


def test_a_second_call_makes_nothing_new(built, monkeypatch):
    out, weights = built
    before = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("shard*")}
    logs = {path: path.read_text() for path in (out / "train").rglob("log.jsonl")}
    monkeypatch.setitem(build.PRESETS, "cpu", replace(TINY))
    monkeypatch.setattr(build, "WORKERS", 1)
    assert build.build("cpu", out=out) == weights
    assert before == {path: path.stat().st_mtime_ns for path in (out / "data").rglob("shard*")}
    assert logs == {path: path.read_text() for path in (out / "train").rglob("log.jsonl")}


def test_an_unknown_preset_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cpu, gpu"):
        build.build("tpu", out=tmp_path)


def test_going_on_from_the_shipped_models_begins_with_their_weights(built, tmp_path, monkeypatch):
    shipped = built[1]
    # One step at a rate of nothing: what comes out is what went in.
    still = replace(TINY, budget=replace(TINY.budget, steps=1, learning_rate=0.0))
    monkeypatch.setattr(build, "GO_ON", still)
    monkeypatch.setattr(build, "SHIPPED", shipped)
    monkeypatch.setattr(build, "WORKERS", 1)
    weights = build.build("cpu", out=tmp_path, from_shipped=True)
    assert {path.name for path in weights.iterdir()} == {path.name for path in shipped.iterdir()}
    for part in ("prior/unet", "prior/vae", "lift", "judge"):
        file = Path(part) / "diffusion_pytorch_model.safetensors"
        made, before = load_file(weights / file), load_file(shipped / file)
        assert all(torch.equal(made[name], before[name]) for name in before), part
    with pytest.raises(BadInput, match="leave --preset out"):
        build.build("gpu", out=tmp_path, from_shipped=True)


def test_some_of_the_shipped_models_can_go_on_alone(built, tmp_path, monkeypatch):
    shipped = built[1]
    monkeypatch.setattr(build, "GO_ON", TINY)
    monkeypatch.setattr(build, "SHIPPED", shipped)
    monkeypatch.setattr(build, "WORKERS", 1)
    weights = build.build("cpu", out=tmp_path, from_shipped=True, only=["domain", "codec"])
    assert list(json.loads((tmp_path / "report.json").read_text())) == ["codec", "domain"]
    moved = {"prior/vae/diffusion_pytorch_model", "domain/null_text_unet"}
    for path in sorted(shipped.rglob("*.safetensors")):
        made, before = load_file(weights / path.relative_to(shipped)), load_file(path)
        same = all(torch.equal(made[name], before[name]) for name in before)
        assert same != (path.relative_to(shipped).with_suffix("").as_posix() in moved), path
    # The latents are still those that everything else lives in, and the domain began where the shipped one ended.
    encoders = [
        {name: value for name, value in load_file(folder / "prior/vae/diffusion_pytorch_model.safetensors").items()
         if name.startswith("encoder.")}
        for folder in (shipped, weights)
    ]  # fmt: skip
    assert all(torch.equal(encoders[0][name], value) for name, value in encoders[1].items())
    start, before = (
        load_file(folder / "null_text_unet.safetensors")
        for folder in (tmp_path / "train/domain/start", shipped / "domain")
    )
    assert all(torch.equal(start[name], value.float()) for name, value in before.items())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"only": ["codec"]}, "give --from-shipped as well"),
        ({"only": ["prior"], "from_shipped": True}, "codec, domain, lift"),
    ],
)
def test_steps_that_cannot_go_on_alone_are_refused(told, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        build.build("cpu", out=tmp_path / "build", **told)
    assert not (tmp_path / "build").exists()
