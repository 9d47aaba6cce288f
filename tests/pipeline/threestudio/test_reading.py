"""Configurations of threestudio as runs of ours, key by key, and nothing in them run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.configs.yaml_files import read_yaml
from slipcast.pipeline.batch.staged import StagedRun, read_staged
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.threestudio.experiment import is_experiment, is_theirs, leaves
from slipcast.pipeline.threestudio.mapping import CONVERTED, NONE, REFUSED, TAKEN, Mapped
from slipcast.pipeline.threestudio.reading import mapped

REAL = os.environ.get("SLIPCAST_THREESTUDIO")

TEXT = """
name: "from-text"
tag: "${rmspace:${system.prompt_processor.prompt},_}"
seed: 4
data_type: "random-camera-datamodule"
data: {batch_size: [4, 2], width: [64, 256], height: [64, 256], fovy_range: [40, 70], elevation_range: [-10, 95]}
system_type: "dreamfusion-system"
system:
  geometry_type: "implicit-volume"
  geometry: {radius: 2.0, isosurface_resolution: 96, isosurface_threshold: auto}
  renderer: {radius: "${system.geometry.radius}", num_samples_per_ray: 512}
  prompt_processor_type: "stable-diffusion-prompt-processor"
  prompt_processor: {pretrained_model_name_or_path: stabilityai/stable-diffusion-2-1-base, negative_prompt: ugly}
  guidance_type: "stable-diffusion-guidance"
  guidance:
    pretrained_model_name_or_path: "stabilityai/stable-diffusion-2-1-base"
    guidance_scale: 100.
    weighting_strategy: sds
    min_step_percent: 0.02
    max_step_percent: [0, 0.98, 0.5, "${trainer.max_steps}"]
    grad_clip: [0, 2.0, 8.0, 1000]
  loss: {lambda_sds: 1., lambda_orient: [0, 10., 1000., 5000], lambda_sparsity: 1.}
  optimizer: {name: Adam, args: {lr: 0.01}}
trainer: {max_steps: 1200, precision: 16-mixed}
checkpoint: {every_n_train_steps: "${idiv:${trainer.max_steps},4}"}
"""
PICTURE = """
data_type: "single-image-datamodule"
data:
  image_path: ./load/cup_rgba.png
  default_elevation_deg: 5.0
  requires_depth: ${cmaxgt0orcmaxgt0:${system.loss.lambda_depth},${system.loss.lambda_depth_rel}}
  random_camera: {batch_size: 4, elevation_range: [-10, 80], eval_elevation_deg: "${data.default_elevation_deg}"}
system_type: "image-condition-dreamfusion-system"
system:
  prompt_processor: {prompt: a cup}
  guidance_type: "stable-diffusion-guidance"
  guidance: {pretrained_model_name_or_path: runwayml/stable-diffusion-v1-5, guidance_scale: 7.5}
  loss: {lambda_sds: 0.1, lambda_rgb: 10., lambda_mask: 1., lambda_depth: 0., lambda_depth_rel: [0.0, 0.0, 1.0, 100]}
trainer: {max_steps: 300}
"""


PROLIFIC = """
data_type: "random-camera-datamodule"
data: {batch_size: 1, width: [64, 512], height: [64, 512], resolution_milestones: [5000], elevation_range: [-10, 45]}
system_type: "prolificdreamer-system"
system:
  stage: coarse
  prompt_processor: {prompt: a cup}
  guidance_type: "stable-diffusion-vsd-guidance"
  guidance:
    pretrained_model_name_or_path: "stabilityai/stable-diffusion-2-1-base"
    pretrained_model_name_or_path_lora: "stabilityai/stable-diffusion-2-1"
    guidance_scale: 7.5
    guidance_scale_lora: 1.
    lora_cfg_training: true
    lora_n_timestamp_samples: 2
    camera_condition_type: extrinsics
    min_step_percent: 0.02
    max_step_percent: [5000, 0.98, 0.5, 5001]
    sqrt_anneal: false
  loss: {lambda_vsd: 2., lambda_lora: 1., lambda_sparsity: 10., lambda_opaque: [10000, 0.0, 1000.0, 10001]}
  optimizer: {name: AdamW, params: {background: {lr: 0.001}, guidance: {lr: 0.0003}}}
trainer: {max_steps: 25000}
"""
UNIFIED = [
    "system.guidance_type=stable-diffusion-unified-guidance",
    "system.guidance.guidance_type=vsd",
    "system.loss.lambda_sd=2",
    "system.loss.lambda_train_phi=1",
    "system.guidance.vsd_phi_model_name_or_path=stabilityai/stable-diffusion-2-1-base",
    "system.guidance.vsd_lora_n_timestamp_samples=3",
    "system.guidance.vsd_guidance_scale_phi=1",
    "system.guidance.vsd_use_lora=true",
    "system.guidance.vsd_use_camera_condition=true",
    "system.guidance.vsd_camera_condition_type=spherical",
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _mapped(text: str, *overrides: str) -> Mapped:
    Path("theirs.yaml").write_text(text)
    return mapped(Path("theirs.yaml"), read_yaml(Path("theirs.yaml")), overrides)


def _run(read: Mapped, *overrides: str) -> StagedRun:
    (run,) = read_staged(read.path, overrides=overrides, content=read.staged())
    return run


def _verdicts(read: Mapped) -> dict[str, tuple[str, str]]:
    return {line.key: (line.verdict, line.told) for line in read.lines}


def test_a_file_from_text_becomes_a_run() -> None:
    read = _mapped(TEXT, "system.prompt_processor.prompt=a red cup: large")
    run = _run(read)
    assert (run.prompt, run.seed) == ("a red cup: large", 4)
    refine = run.config.refine
    assert run.config.base == "sd21-base" and refine.recipe == run.config.image.recipe == "cfg"
    assert refine.text_weight == 101 and refine.negative == ["ugly"]
    assert (refine.t_min, refine.t_max, refine.grad_clamp) == (
        0.02,
        [0, 0.98, 0.5, 1200],
        [0, 2.0, 8.0, 1000],
    )
    orient = [0, *(float(f"{one / 16384:.4g}") for one in (10, 1000)), 5000]
    assert refine.orientation_weight == orient and refine.sparsity_weight == pytest.approx(
        1 / 16384, rel=1e-3
    )
    assert (refine.steps, refine.checkpoint_every, refine.views, refine.size) == (1200, 300, 2, 512)
    assert (refine.elevation_min_deg, refine.elevation_max_deg) == (-10, 89)
    assert (run.config.mesh.resolution, run.config.mesh.threshold) == (96, "auto")
    told = _verdicts(read)
    assert told["system.guidance.guidance_scale"] == (
        CONVERTED,
        "refine.text_weight=101.0 (null + w (text - null))",
    )
    assert told["trainer.max_steps"] == (TAKEN, "refine.steps=1200")
    assert told["system.loss.lambda_orient"][0] == CONVERTED
    assert told["system.guidance.weighting_strategy"] == (NONE, "refinement weighs by sigma")
    assert next(line.value for line in read.lines if line.key == "tag") == "a_red_cup:_large"
    assert next(line.value for line in read.lines if line.key == "system.renderer.radius") == 2.0
    # Every key of the file is in the list, once.
    assert len(told) == len(read.lines) and set(told) == set(
        leaves(read_yaml(read.path), ["system.prompt_processor.prompt=x"])
    )


def test_a_file_from_a_picture_becomes_a_run() -> None:
    Path("load").mkdir()
    Image.new("RGBA", (8, 8)).save("load/cup_rgba.png")
    read = _mapped(PICTURE)
    run = _run(read, "refine.steps=7")
    assert run.config.base == "sd15" and run.config.image.picture == [
        str(Path("load/cup_rgba.png").absolute())
    ]
    assert (
        run.config.image.elevation_deg == 5 and run.config.refine.steps == 7 and run.config.refine.views == 4
    )
    # 10 beside 0.1 times a sum over 16,384 numbers, as beside their mean.
    assert run.config.refine.anchor_rgb_weight == pytest.approx(10 / 0.1 / 16384, rel=1e-3)
    assert run.config.refine.anchor_alpha_weight == pytest.approx(1 / 0.1 / 16384, rel=1e-3)
    assert next(line.value for line in read.lines if line.key == "data.requires_depth") is True
    Path("load/cup_rgba.png").unlink()
    with pytest.raises(
        BadInput,
        match=r"data.image_path=./load/cup_rgba.png in theirs.yaml is not there; .*data.image_path=FILE",
    ):
        _mapped(PICTURE)


def test_variational_distillation_becomes_a_run() -> None:
    read = _mapped(PROLIFIC)
    config = _run(read).config
    refine = config.refine
    assert (refine.score, refine.recipe, config.base) == ("vsd", "cfg", "sd21-base")
    assert refine.text_weight == 7.5, "it counts from the unconditional answer, as we do"
    assert (refine.vsd_steps, refine.vsd_lr, refine.vsd_rank) == (2, 0.0003, 4)
    assert (refine.t_min, refine.t_max, refine.timesteps) == (0.02, [5000, 0.98, 0.5, 5001], "random")
    # 10 beside twice a sum over 16,384 numbers.
    assert refine.sparsity_weight == pytest.approx(10 / 2 / 16384, rel=1e-3)
    assert refine.opaqueness_weight == [10000, 0.0, pytest.approx(1000 / 2 / 16384, rel=1e-3), 10001]
    assert (refine.steps, refine.size) == (25000, 512)
    told = _verdicts(read)
    assert told["system.guidance.guidance_scale"][0] == TAKEN
    assert told["system.guidance.pretrained_model_name_or_path_lora"] == (
        NONE,
        "the LoRA is in the base's own network; no second one is loaded",
    )
    assert told["system.guidance.lora_cfg_training"][0] == told["system.loss.lambda_lora"][0] == NONE
    assert told["system.guidance.lora_n_timestamp_samples"][0] == CONVERTED
    assert told["system.optimizer.params.guidance.lr"] == (TAKEN, "refine.vsd_lr=0.0003")
    assert told["system.guidance_type"][0] == CONVERTED
    assert told["system.stage"][0] == told["system.guidance.camera_condition_type"][0] == TAKEN
    still = _run(_mapped(PROLIFIC, "system.loss.lambda_lora=0", "system.guidance.sqrt_anneal=true"))
    assert (still.config.refine.vsd_lr, still.config.refine.timesteps) == (0.0, "sqrt")


def test_the_unified_guidance_distils_either_way() -> None:
    read = _mapped(PROLIFIC, *UNIFIED)
    refine = _run(read).config.refine
    assert (refine.score, refine.text_weight, refine.vsd_steps) == ("vsd", 7.5, 3)
    told = _verdicts(read)
    assert told["system.guidance.guidance_type"] == (TAKEN, "refine.score=vsd")
    assert told["system.guidance.vsd_phi_model_name_or_path"][0] == TAKEN, "it is the base's"
    assert told["system.guidance.vsd_camera_condition_type"][0] == CONVERTED
    plain = _mapped(PROLIFIC, *UNIFIED, "system.guidance.guidance_type=sds")
    assert _run(plain).config.refine.score == "sds"
    assert _verdicts(plain)["system.guidance.vsd_use_lora"][0] == NONE
    for override, said in (
        ("system.guidance.vsd_use_lora=false", "the renders are learned by a LoRA"),
        ("system.stage=geometry", "run the coarse stage's file"),
    ):
        with pytest.raises(BadInput, match=said):
            _mapped(PROLIFIC, *UNIFIED, override).staged()


LIT = "system.material_type=diffuse-with-point-light-material"


def test_light_perp_neg_and_schedules_have_counterparts() -> None:
    prompt = "system.prompt_processor.prompt=a cup"
    read = _mapped(
        TEXT, prompt, LIT, "system.material.ambient_only_steps=2001", "system.material.textureless_prob=0.4"
    )
    refine = _run(read).config.refine
    assert (refine.light, refine.light_share, refine.textureless_share) == (
        "point",
        [2000, 0.0, 0.75, 2001],
        0.4,
    )
    always = _run(_mapped(TEXT, prompt, LIT, "system.material.diffuse_prob=0.5")).config.refine
    assert (always.light, always.light_share) == ("point", 0.5)
    both = _run(_mapped(TEXT, prompt, "system.prompt_processor.use_perp_neg=true")).config.refine
    assert (both.recipe, both.view_negatives, both.text_weight) == ("perp_neg", 1.0, 100)
    clipped = _mapped(TEXT, prompt, "system.guidance.min_step_percent=[0.1, 0.02, 300]")
    assert _run(clipped).config.refine.t_min == [0, 0.1, 0.02, 300]
    epochs = _mapped(TEXT, prompt, "system.guidance.min_step_percent=[0, 0.1, 0.02, 2.5]")
    assert _run(epochs).config.refine.t_min == 0.02


def test_scales_count_as_their_own_guidance_counts() -> None:
    prompt = "system.prompt_processor.prompt=a cup"
    unified = _mapped(TEXT, prompt, "system.guidance_type=stable-diffusion-unified-guidance")
    assert _run(unified).config.refine.text_weight == 100
    assert (
        _run(_mapped(TEXT, prompt, "system.prompt_processor.use_perp_neg=true")).config.refine.text_weight
        == 100
    )
    ours = _mapped(
        TEXT, prompt, "system.guidance_type=slipcast-multi-guidance", "system.guidance.weights.domain=3"
    )
    config = _run(ours, "base=starter").config
    assert config.refine.weights == {"domain": 3.0} and config.refine.recipe == "in_domain"


def test_a_mesh_that_a_shape_begins_with_is_lifted() -> None:
    Path("cup.obj").write_text("v 0 0 0\n")
    read = _mapped(TEXT, "system.prompt_processor.prompt=a cup", "system.geometry.shape_init=mesh:cup.obj")
    assert _run(read).config.lift.source == str(Path("cup.obj").absolute())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "system_type=zero123-system",
            r"system_type='zero123-system' .* cannot be run here: .*dreamfusion-system",
        ),
        ("system.guidance_type=zero123-guidance", "Zero123's networks"),
        ("system.guidance_type=deep-floyd-guidance", "DeepFloyd's networks"),
        ("system.guidance_type=stable-diffusion-sdi-guidance", "an inversion of its own"),
        (
            "system.guidance_type=mine",
            "it is not known here; give system.guidance_type=stable-diffusion-guidance",
        ),
        ("system.guidance.guidance_type=vsd", "counterpart are sds and vsd"),
        ("data_type=co3d-datamodule", "pictures of several cameras"),
        ("resume=outputs/last.ckpt", r"inputs: \{lift: mesh.obj\}"),
        ("system.refinement=true", "run its first stage's file"),
        ("system.prompt_processor.prompt=lib:cowboy", "write the prompt out"),
        ("seed=0.5", "a seed is a whole number"),
        ("trainer.max_steps=many", "max_step_percent in theirs.yaml expects a number, not 'many'"),
        ("system.guidance.max_step_percent=[1, 2]", r"expects a number or \[step, from, to, step\]"),
        ("trainer.max_steps=${oc.env:HOME}", "asks 'oc.env', which is not worked out here; write out"),
        ("trainer.max_steps=${trainer.steps}", "refers to 'trainer.steps', which the file does not have"),
        ("trainer.max_steps=${trainer.max_steps}", "which refers to it in turn"),
        ("trainer.max_steps=${add:1", "is not closed"),
        ("trainer.max_steps=${div:1,0}", "cannot work out div"),
        ("trainer.max_steps=${mul:a,100000000}", "cannot work out mul"),
        ("system.guidance.guidance_scale.deep=1", "stands below guidance_scale"),
        ("data.elevation_range=5", "is two angles in degrees"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_sentence(override: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        _mapped(TEXT, "system.prompt_processor.prompt=a cup", override).staged()
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_asked_for_by_its_name() -> None:
    with pytest.raises(BadInput, match=r"has no prompt; give system.prompt_processor.prompt='a vase'"):
        _mapped(TEXT).staged()
    with pytest.raises(BadInput, match=r"it has to be given, system.prompt_processor.prompt=\.\.\."):
        _mapped(TEXT, "system.prompt_processor.prompt=???").staged()


def test_texts_that_grow_out_of_each_other_end() -> None:
    doubling = {"system_type": "x", "data": {"a0": "ab"}}
    doubling["data"] |= {f"a{i}": f"${{data.a{i - 1}}}${{data.a{i - 1}}}" for i in range(1, 40)}  # pyright: ignore
    found = leaves(doubling)
    assert found["data.a3"].value == "ab" * 8 and found["data.a39"].problem is not None
    assert all(len(str(one.value)) < 20_000 for one in found.values())


def test_what_is_ours_and_what_is_theirs() -> None:
    assert is_experiment({"system_type": "dreamfusion-system"}) and not is_experiment({"prompt": "a cup"})
    assert (
        is_theirs("system.guidance.guidance_scale=1")
        and is_theirs("seed=2")
        and not is_theirs("refine.steps=3")
    )


def test_the_command_lists_every_key_and_makes_nothing_on_a_dry_run() -> None:
    Path("theirs.yaml").write_text(TEXT)
    words = [
        "run",
        "theirs.yaml",
        "--dry-run",
        "system.prompt_processor.prompt=a cup",
        "base=starter",
        "domain=none",
    ]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    assert len(told["runs"]) == 1 and "no counterpart" in result.stderr
    keys = {line["key"]: line["verdict"] for line in told["threestudio"]}
    assert keys["trainer.max_steps"] == TAKEN and keys["trainer.precision"] == NONE
    assert not Path("runs").exists() and not Path("outputs").exists()
    listed = CliRunner().invoke(app, words).stdout
    assert "taken           trainer.max_steps" in listed and "refine.steps=1200" in listed
    refused = CliRunner().invoke(app, [*words, "system_type=zero123-system"])
    assert refused.exit_code == 2 and REFUSED in refused.stdout and "cannot be run here" in refused.stderr


@pytest.mark.skipif(not REAL, reason="SLIPCAST_THREESTUDIO=DIR names no clone of threestudio")
def test_every_configuration_of_the_real_one_is_read_or_refused() -> None:
    assert REAL is not None
    ran, refused = [], []
    for file in sorted((Path(REAL) / "configs").rglob("*.yaml")):
        content = read_yaml(file)
        given = ["system.prompt_processor.prompt=a cup", "data.image_path=cup.png"]
        Image.new("RGBA", (8, 8)).save("cup.png")
        read = mapped(file, content, given if "image" in yaml.safe_dump(content) else given[:1])
        assert len(read.lines) == len(read.leaves) and read.as_text()
        try:
            (run,) = read_staged(file, content=read.staged())
            ran.append(file.stem)
            if "trainer" in content:
                assert run.config.refine.steps == content["trainer"]["max_steps"]
        except BadInput as error:
            refused.append(f"{file.stem}: {error}")
    assert {"dreamfusion-sd", "magic3d-coarse-sd", "imagecondition", "prolificdreamer"} <= set(ran), refused
    print(ran, *refused, sep="\n")
