"""Every reader of what users give or keep, with valid files for it, and what it may return."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from slipcast.configs.limits import check_limits
from slipcast.configs.loading import load_config
from slipcast.configs.picture import picture_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.glb import read_glb, write_glb
from slipcast.pipeline.finished import read_run
from slipcast.pipeline.library_index import FILE, read_index
from slipcast.pipeline.run.manifest import asked_of, read_manifest
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.record import outputs_of, read_record, write_record
from slipcast.systems.field.voxels import FrozenGrid, VoxelField
from slipcast.systems.guided.lora import read_lora
from slipcast.systems.images.files import read_mask, read_picture, read_subject
from slipcast.systems.models.base import load_base
from slipcast.systems.models.families.table import family_of
from slipcast.systems.refine.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from slipcast.systems.types import Mesh
from tests.fakes import tiny_pipelines as tiny
from tests.fakes.pipeline_stages import PROMPT, Workshop

from . import mutated
from .mutated import Mutator
from .valid_files import lora_files, pictures, solid

_SEED = 3
_ROOT = Path(__file__).resolve().parents[1]
# The extension as a whole is imported by Blender alone.
_LIST_RUNS = runpy.run_path(str(_ROOT / "pipeline/blender/extension/runs.py"))["list_runs"]


@dataclass(frozen=True)
class Reader:
    """A reader, where its file lies, valid contents of that file, and how often it is tried beside the others.

    ``read`` raises AssertionError where a value comes out that must not.
    """

    name: str
    file: Path
    valid: Sequence[bytes]
    mutate: Mutator
    read: Callable[[], object]
    share: float = 1.0


def readers(folder: Path) -> list[Reader]:
    """All of them, working in a folder."""
    return [*_texts(folder), *_records(folder), *_models(folder), *_tensors(folder), *_pictures(folder)]


def _texts(folder: Path) -> list[Reader]:
    override, config, picture = (folder / name for name in ("override", "config.yaml", "picture.yaml"))
    presets = [path.read_bytes() for path in (_ROOT / "configs/presets").glob("*.yaml")]
    anchors = b"image: &own {steps: 3, domain_until: 1e-1}\nrefine: {<<: *own}\nexport: {formats: [glb], lods: [0.5]}\n"
    spec = b"weights: {domain: 2, text: 3}\nnegative: [a]\nconditions: {style: {prompt: red, weight: 2}}\nsteps: 3\n"
    defaults = [f"{group}.{name}={value}".encode() for group, table in asdict(MakeConfig()).items()
                if isinstance(table, dict) for name, value in table.items()]  # fmt: skip

    def overridden() -> None:
        _is_config(load_config("starter", [override.read_bytes().decode("utf-8", "surrogateescape")]))

    return [
        Reader("override", override, defaults, mutated.mutated_text, overridden, 0.25),
        Reader(
            "YAML",
            config,
            [*presets, anchors],
            mutated.mutated_text,
            lambda: _is_config(load_config(str(config))),
            0.25,
        ),
        Reader(
            "picture YAML", picture, [spec], mutated.mutated_text, lambda: picture_config(picture, {}), 0.25
        ),
    ]


def _is_config(config: MakeConfig) -> None:
    check_limits(config)
    json.dumps(asdict(config), allow_nan=False, ensure_ascii=False).encode("utf-8")


def _records(folder: Path) -> list[Reader]:
    out = folder / "runs"
    run = Workshop(out).make(load_config("starter")).run
    manifest, record = run / "manifest.json", run / "20-lift" / "stage.json"
    (run / "40-mesh" / "mesh.safetensors").write_bytes(b"as recorded")
    write_record(run / "40-mesh", replace(read_record(run / "40-mesh"), outputs=outputs_of(run / "40-mesh")))
    library = folder / "library"
    library.mkdir()
    index = json.dumps({"format": 1, "files": {"a": {"run": str(run), "mesh": "0f"}}}).encode()

    def from_manifest() -> None:
        runs = _LIST_RUNS(out, library)  # which passes over what it cannot read
        json.dumps(read_manifest(run), allow_nan=False, ensure_ascii=False).encode("utf-8")
        _is_config(asked_of(run).config)
        assert [one.seed for one in runs] == [asked_of(run).seed]

    def from_library() -> None:
        _LIST_RUNS(out, library)
        read_index(library)

    def exported() -> None:
        read_run(run)

    json_ = mutated.mutated_json
    finished = [manifest.read_bytes()]
    return [
        Reader("manifest", manifest, finished, json_, from_manifest, 2),
        Reader("manifest, to export", manifest, finished, json_, exported),
        Reader("stage.json", record, [record.read_bytes()], json_, lambda: read_record(record.parent), 2),
        Reader("library", library / FILE, [index], json_, from_library),
    ]


def _models(folder: Path) -> list[Reader]:
    domain, base = folder / "domain", folder / "base"
    domain.mkdir()
    tiny.stable_diffusion(folder / "text").save_pretrained(base)
    card = json.dumps({"name": "delft", "base": "starter", "licence": "CC0-1.0", "roughness": 0.2}).encode()
    store = ModelStore(replace(MakeConfig(), domain=str(domain)))

    def look() -> None:
        (domain / "config.json").write_bytes(b"{}")
        look = store.look()
        assert all(0 <= value <= 1 for value in look.values())
        assert isinstance(store.card()["name"], str)

    def part(name: str) -> Reader:
        file = base / name
        return Reader(
            f"base: {name}", file, [file.read_bytes()], mutated.mutated_json, lambda: load_base(base), 0.01
        )

    index = base / "model_index.json"
    configs = (
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
    )
    return [
        Reader("domain.json", domain / "domain.json", [card], mutated.mutated_json, look, 2),
        Reader(
            "model_index.json", index, [index.read_bytes()], mutated.mutated_json, lambda: family_of(base), 2
        ),
        *(part(name) for name in ("model_index.json", *configs) if (base / name).exists()),
    ]


def _tensors(folder: Path) -> list[Reader]:
    field, mesh, lora, glb = (
        folder / name for name in ("field.safetensors", "mesh.safetensors", "lora.safetensors", "a.glb")
    )
    draw = torch.Generator().manual_seed(_SEED)
    density, colour = (torch.rand(4, 4, 4, *last, generator=draw) for last in ((), (3,)))
    grid = VoxelField(density.clone(), colour.clone(), 2.0)
    grid.save(field)
    fields = [field.read_bytes()]
    FrozenGrid(density, colour).save(field)
    frozen = [field.read_bytes()]
    optimiser = torch.optim.Adam(grid.parameters())
    torch.stack([parameter.sum() for parameter in grid.parameters()]).sum().backward()
    optimiser.step()
    parameters = dict(grid.named_parameters())
    save_checkpoint(folder, parameters, {}, optimiser, _SEED, 2)
    checkpoint = folder / CHECKPOINT_FILE
    body = solid()
    body.save(mesh)
    write_glb(Asset(body, "a", {"prompt": PROMPT}), glb)
    base = load_base(folder / "base")
    loras = lora_files(base)

    def is_field() -> None:
        loaded = VoxelField.load(field)
        assert torch.isfinite(loaded.raw_density).all() and 0 < loaded.sharpness < float("inf")

    def is_checkpoint() -> None:
        assert load_checkpoint(folder, parameters, {}, optimiser, _SEED) == 2
        assert all(torch.isfinite(parameter).all() for parameter in grid.parameters())

    def is_glb() -> None:
        found, facts = read_glb(glb)
        found.check()
        assert isinstance(facts, dict)

    tensors = mutated.mutated_safetensors
    return [
        Reader("field", field, fields, tensors, is_field, 2),
        Reader("lifted field", field, frozen, tensors, lambda: FrozenGrid.load(field)),
        Reader("checkpoint", checkpoint, [checkpoint.read_bytes()], tensors, is_checkpoint),
        Reader("mesh", mesh, [mesh.read_bytes()], tensors, lambda: Mesh.load(mesh).check(), 2),
        Reader("LoRA", lora, loras, tensors, lambda: read_lora(lora, base, lambda sentence: None)),
        Reader("GLB", glb, [glb.read_bytes()], mutated.mutated_glb, is_glb, 2),
    ]


def _pictures(folder: Path) -> list[Reader]:
    shown, mask, whole = (folder / name for name in ("shown", "mask", "whole.png"))
    saved = pictures()
    whole.write_bytes(saved[1])

    def is_picture() -> None:
        pixels = read_picture(shown, 16)
        assert pixels.shape == (1, 3, 16, 16) and pixels.min() >= 0 and pixels.max() <= 1

    def is_mask() -> None:
        pixels = read_mask(mask, whole, 16)
        assert pixels.shape == (1, 1, 16, 16) and set(pixels.unique().tolist()) <= {0.0, 1.0}

    def is_subject() -> None:
        loaded = read_subject(shown)
        assert np.isfinite(loaded.rgb).all()

    return [
        Reader("picture", shown, saved, mutated.mutated_picture, is_picture, 3),
        Reader("mask", mask, saved, mutated.mutated_picture, is_mask, 2),
        Reader("subject's picture", shown, saved, mutated.mutated_picture, is_subject),
    ]
