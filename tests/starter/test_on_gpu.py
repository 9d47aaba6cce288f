"""The GPU kit without a GPU: parcels, the plan, and whole runs of a moment."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.starter import on_gpu
from slipcast.starter.parcel import PART_BYTES, pack, unpack

WEIGHTS_MB = {
    "prior": 18.3 + 4.0 + 7.0,
    "lift": 12.2,
    "domain": 16.8,
    "control-canny": 9.2,
    "porcelain-lora": 1.4,
}


def test_what_is_packed_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("slipcast.starter.parcel.PART_BYTES", 1000)
    made = {"a/b/net.bin": os.urandom(5001), "a/config.json": b"{}", "run.json": b'{"runs": 1}'}
    for name, data in made.items():
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "from/else").mkdir()
    (tmp_path / "from/else/left").write_bytes(b"here")
    files = pack(tmp_path / "from", ("a", "run.json", "not there"), tmp_path / "parts", "base")
    assert len(files) > 3 and all(path.stat().st_size <= 1000 for path in files)
    again = pack(tmp_path / "from", ("a", "run.json"), tmp_path / "again", "base")
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    unpack(tmp_path / "parts", tmp_path / "to")
    found = {
        str(p.relative_to(tmp_path / "to")): p.read_bytes()
        for p in (tmp_path / "to").rglob("*")
        if p.is_file()
    }
    assert found == made


@given(st.binary(max_size=300))
def test_any_bytes_survive(tmp_path_factory, data):
    """Odd lengths too: the bytes at even and odd places go apart and together again."""
    root = tmp_path_factory.mktemp("parcel")
    (root / "file").write_bytes(data)
    pack(root, ("file",), root / "parts", "x")
    unpack(root / "parts", root / "to")
    assert (root / "to/file").read_bytes() == data


def test_missing_and_damaged_parts_are_told(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="holds no parcel"):
        unpack(tmp_path, tmp_path / "to")
    monkeypatch.setattr("slipcast.starter.parcel.PART_BYTES", 1000)
    (tmp_path / "net").write_bytes(os.urandom(4000))
    files = pack(tmp_path, ("net",), tmp_path / "parts", "base")
    middle = files[1].read_bytes()
    for harm in (lambda: files[1].unlink(), lambda: files[1].write_bytes(middle[::-1])):
        harm()
        with pytest.raises(BadInput, match=r"base in .* missing or damaged"):
            unpack(tmp_path / "parts", tmp_path / "to")


def test_half_precision_weights_fit_what_a_machine_gives_back(tmp_path):
    """At most eight files, 16 MB each, 64 MB together; what a later run carries in leaves room for wheels."""
    weights = np.random.default_rng(0).normal(0, 0.02, 4_000_000).astype(np.float16)
    (tmp_path / "net").write_bytes(weights.tobytes())
    (file,) = pack(tmp_path, ("net",), tmp_path / "parts", "base")
    shrunk = file.stat().st_size / weights.nbytes
    assert shrunk < 0.89
    base = shrunk * sum(WEIGHTS_MB[name] for name in on_gpu.BASE) * 1e6
    grown = shrunk * sum(WEIGHTS_MB[name] for name in on_gpu.GROWN) * 1e6
    assert base + grown < 64e6 and base < 38e6
    assert -(-base // PART_BYTES) - (-grown // PART_BYTES) + 2 <= 8  # report.json and rendering.log


def test_the_plan_uses_every_core_once_and_all_of_the_time():
    plan = on_gpu.plan_for(16, 8.6)
    assert sum(plan.renderers.values()) == 15
    assert sum(part.share for part in plan.parts.values()) == pytest.approx(1)
    assert all(count % plan.shard_objects == 0 for count in plan.objects.values())
    assert list(plan.parts) == ["codec", "prior", "domain", "control", "lora", "lift"]
    assert on_gpu.plan_for(1, 1.0).renderers == {"prior": 1, "domain": 1}


class Watched:
    """Stands for ``build.STEPS``: takes what a training is told and writes its log."""

    def __init__(self) -> None:
        self.told = []

    def __getitem__(self, step):
        def trained(work, preset, budget):
            self.told.append((step, preset, budget))
            folder = work / "train" / step
            folder.mkdir(parents=True, exist_ok=True)
            line = {"step": 10, "seconds": 2.0, "loss": 0.5, "per_second": 40.0}
            (folder / "log.jsonl").write_text(json.dumps(line) + "\n")

        return trained


def test_slices_share_one_plan_and_one_clock(tmp_path, monkeypatch):
    watched = Watched()
    monkeypatch.setattr(on_gpu, "STEPS", watched)
    plan = on_gpu.plan_for(16, 8.6)
    ended = list(on_gpu.sliced(plan, "prior", 3.8, tmp_path))
    minutes = 3.8 * 0.38 / 0.76  # its share of what codec has left
    assert [budget.minutes for _, _, budget in watched.told] == pytest.approx([minutes] * 4)
    assert [budget.pause for _, _, budget in watched.told] == pytest.approx(
        [minutes * k / 4 for k in (1, 2, 3, 4)]
    )
    assert {(budget.device, budget.batch, budget.workers) for _, _, budget in watched.told} == {
        ("cuda", 512, 1)
    }
    assert ended[-1]["seconds_per_step"] == 0.2
    assert ended[-1]["pictures_per_second"] == 40
    list(on_gpu.sliced(plan, "lift", -1.0, tmp_path))
    assert watched.told[-1][2].minutes > 0  # late, but every network is there in the end


def test_a_later_run_renders_other_objects(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(on_gpu.subprocess, "Popen", lambda command, **rest: seen.append(command))
    plan = on_gpu.plan_for(16, 8.6)
    for runs in (0, 2):
        on_gpu.render(plan, "prior", runs, tmp_path, tmp_path)
    skips = [int(command[command.index("--skip") + 1]) for command in seen]
    assert skips == [0, 2 * plan.objects["prior"]]


def test_a_renderer_ends_with_those_that_it_started(tmp_path):
    note = tmp_path / "child"
    script = (
        "import subprocess, sys, time, pathlib;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    while not note.exists() or not note.read_text():
        time.sleep(0.02)
    on_gpu.stop(process)
    child = Path(f"/proc/{note.read_text()}/stat")
    for _ in range(200):
        if not child.exists() or child.read_text().split(") ")[1][0] == "Z":
            break
        time.sleep(0.02)
    else:
        pytest.fail("the renderer's child lives on")


def test_rendering_that_fails_is_told_and_what_there_is_goes_back(tmp_path, monkeypatch):
    plan = replace(on_gpu.rehearsal(0.1), objects={"prior": 5, "domain": 5})  # no whole shards to skip
    monkeypatch.setattr(on_gpu, "begin", lambda earlier, work: 1)
    with pytest.raises(SlipcastError, match=r"rendering\.log"):
        on_gpu.run(plan, tmp_path / "out", tmp_path / "work", tmp_path)
    assert "multiple of 4" in (tmp_path / "out/rendering.log").read_text()
    assert (tmp_path / "out/base-0.part").exists()
    assert json.loads((tmp_path / "out/report.json").read_text())["run"] == 2


def test_no_gpu_is_one_sentence(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(BadInput, match="--rehearse"):
        on_gpu.main(["--out", str(tmp_path)])
