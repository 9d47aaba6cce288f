"""The tables from nothing, in miniature: the same figures again once the cells are gone, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.run.lock import FolderLock
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.tables import first_paper, learning, second_paper
from slipcast.pipeline.tables.cells import Cell
from slipcast.pipeline.tables.classes import small_dit
from slipcast.pipeline.tables.plan import memory_at_sd15
from slipcast.pipeline.tables.running import why
from slipcast.pipeline.tables.scales import QUICK, SD15, Scale
from slipcast.pipeline.tables.tables import paper_tables
from slipcast.starter.dataset import NOUNS
from slipcast.systems.baselines.table import BASELINES
from slipcast.systems.baselines.tasks import save_learned
from slipcast.systems.models.base import load_base

TINY = replace(
    QUICK,
    objects=3,
    true_objects=8,
    steps=2,
    batch=2,
    feature_steps=1,
    marks=(0.5,),
    samples=6,
    known=("vase",),
    held_out=("teapot",),
    edges=2,
    sample_steps=2,
    extractors=("efficientnet-lite0",),
    directions=3,
    draws=4,
    classes=replace(
        QUICK.classes, steps=2, tune_steps=2, batch=2, samples=6, sample_steps=2, step_counts=(2,)
    ),
)
FEW = ("textual-inversion", "full", "null-text")
needs_judges = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="needs the extra [eval]",
)


def computed(
    out: Path, only: tuple[str, ...], scale: Scale = TINY, workers: int = 1
) -> tuple[dict[str, Any], list[str]]:
    console = Quiet()
    paper_tables(scale, out, console, only=only, workers=workers)
    cells = {
        path.relative_to(out / "cells").with_suffix("").as_posix(): json.loads(path.read_text())["figures"]
        for path in (out / "cells").glob("*/*.json")
    }
    return cells, console.notices


def few_methods(patch: pytest.MonkeyPatch) -> None:
    """Three methods of the six, and one custom model."""
    patch.setattr(first_paper, "BASELINES", {name: BASELINES[name] for name in FEW})
    patch.setattr(first_paper, "CUSTOM", ("full",))
    patch.setattr(second_paper, "WITH_WORDS", {})


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        few_methods(patch)
        return out, computed(out, ("table1",))[0]


@pytest.mark.slow
@needs_judges
def test_table_1_from_nothing_and_the_same_again_from_an_emptied_cache(tables, monkeypatch) -> None:
    out, cells = tables
    assert {name for name in cells if name.startswith("table1/")} == {
        f"table1/{name}-0" for name in (*FEW, "prior")
    }
    ours, turned = cells["table1/null-text-0"], cells["train/textual-inversion-0"]
    assert set(ours["weights"]) == {"domain", "text"} and turned["parameters"] == 256
    assert all(0 <= ours[name] <= 1 for name in ("align", "align_held_out", "canny", "coverage_lite0"))
    low, high = ours["fd_lite0_95"]
    assert low <= ours["fd_lite0"] <= high
    assert "| full |" in (out / "results.md").read_text() and (out / "pictures/results-table-1.png").is_file()
    for name in ("train/full-0", "table1/full-0"):
        (out / f"cells/{name}.json").unlink()
        shutil.rmtree(out / "cells" / name)
    few_methods(monkeypatch)
    again, notices = computed(out, ("table1",))
    assert again["table1/full-0"] == cells["table1/full-0"]
    assert again["train/full-0"]["loss"] == cells["train/full-0"]["loss"]
    assert not any("other settings" in one for one in notices)


@pytest.mark.slow
@needs_judges
def test_a_training_that_was_stopped_goes_on_and_keeps_its_marks(tables, tmp_path, monkeypatch) -> None:
    out, _ = tables
    few_methods(monkeypatch)
    saved: list[str] = []

    def stopped(modules: Any, path: Path) -> None:
        if "full-0" in path.as_posix():
            saved.append(path.stem)
            if len(saved) == 2:
                raise SlipcastError("stopped")
        save_learned(modules, path)

    monkeypatch.setattr(learning, "save_learned", stopped)
    with pytest.raises(SlipcastError, match="stopped"):
        computed(tmp_path, ("train",))
    computed(tmp_path, ("train",))
    assert saved == ["step-1", "step-2", "step-2"]
    files = [json.loads((one / "cells/train/full-0.json").read_text())["files"] for one in (out, tmp_path)]
    assert files[0] == files[1]


def test_a_new_dit_answers_nothing_and_its_blocks_change_nothing() -> None:
    network, x = small_dit(QUICK.classes, 4, 8, 10), torch.randn(2, 4, 8, 8)
    told = {"timestep": torch.tensor([1, 900]), "class_labels": torch.tensor([3, 10])}
    assert not network(x, **told).sample.any()
    tokens = network.pos_embed(x)
    assert torch.equal(network.transformer_blocks[0](tokens, **told), tokens)


@pytest.mark.slow
@needs_judges
def test_a_small_dit_of_the_nouns_is_tuned_and_guided(tmp_path) -> None:
    cells, _ = computed(tmp_path, ("strength", "toy"))
    assert cells["classes/base"]["parameters"] > 10_000
    base = load_base(tmp_path / "cells/classes/base/model")
    assert base.predictor.prediction_type == "v_prediction"
    vase = base.condition(["vase"]).labels
    assert vase is not None and vase.item() == NOUNS.index("vase")
    assert {name for name in cells if name.startswith("strength/")} == {
        "strength/none-1-0", "strength/cfg-1.5-0", "strength/dog-1.5-0"
    }  # fmt: skip
    assert cells["strength/cfg-1.5-0"] != cells["strength/dog-1.5-0"]
    toy = cells["toy/plane"]
    assert toy["wide: CFG, w = 2"]["outside"] > toy["wide: DoG, w = 2"]["outside"]


@pytest.mark.slow
@needs_judges
def test_two_workers_compute_what_one_does_and_keep_what_is_finished_when_one_fails(tmp_path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker has; another number of them adds up in another order
    try:
        alone, _ = computed(tmp_path / "one", ("strength",))
    finally:
        torch.set_num_threads(threads)
    unfit = replace(TINY, scheduler="no such sampler")
    with pytest.raises(SlipcastError, match=r"strength/\S+: .*no such sampler"):
        computed(tmp_path / "two", ("strength",), unfit, workers=2)
    kept = {one: one.stat().st_mtime_ns for one in (tmp_path / "two/cells").glob("*/*.json")}
    assert {one.parent.name for one in kept} == {"data", "classes"}
    together, _ = computed(tmp_path / "two", ("strength",), workers=2)
    assert all(one.stat().st_mtime_ns == time for one, time in kept.items())
    assert together.keys() == alone.keys()
    for name in ("classes/base", "classes/tuned-0"):
        assert together[name]["loss"] == alone[name]["loss"]
    for name in ("strength/none-1-0", "strength/dog-1.5-0"):
        assert together[name]["fd_lite0"] == pytest.approx(alone[name]["fd_lite0"], rel=1e-4)


def test_a_folder_that_another_command_is_working_in_is_refused(tmp_path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    try:
        with pytest.raises(
            SlipcastError, match=r"process \d+\) is working in .*; wait for it, or use another --out$"
        ):
            paper_tables(TINY, tmp_path, Quiet(), only=["toy"])
    finally:
        lock.release()
    assert not (tmp_path / "cells").exists()


def test_a_worker_knows_its_number_of_threads_before_torch_is_there() -> None:
    """Two workers of two threads each, on two cores, take five times as long."""
    code = "import sys, slipcast.pipeline.tables.working; assert not {'torch', 'numpy', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_became_of_a_worker_is_one_sentence() -> None:
    cell = Cell("train/full-0", lambda folder: {}, {})
    assert why(cell, {"error": "loss is no number"}) == "train/full-0: loss is no number"
    assert "train/full-0 was ended by signal 9; the same command" in why(cell, {"signal": 9})
    assert "train/full-0 was ended; the same command" in why(cell, {"signal": None})


def test_a_dry_run_tells_the_plan_and_computes_nothing(tmp_path) -> None:
    told = paper_tables(TINY, tmp_path / "out", Quiet(), only=["table1"], dry_run=True)
    assert told["tables"]["table1"]["cells"] == 7 and told["core_hours"] > 0
    assert not (tmp_path / "out/cells").exists()


@needs_judges
def test_a_missing_extractor_is_told_before_anything_is_trained(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(BadInput, match=r"pip install 'slipcast\[eval\]'"):
        paper_tables(TINY, tmp_path, Quiet(), only=["table1"])
    assert not (tmp_path / "cells").exists()


def test_another_base_than_the_recorded_one_is_refused(tmp_path) -> None:
    (tmp_path / "tables.json").write_text('{"base": "sd15", "base_identity": "x"}')
    with pytest.raises(BadInput, match=r"'sd15'.*'starter'"):
        paper_tables(TINY, tmp_path, Quiet())


def test_the_papers_own_scale_plans_without_models_and_says_what_it_needs(tmp_path) -> None:
    plan = paper_tables(SD15, tmp_path, Quiet(), dry_run=True)
    memory = plan["memory_gb"]
    assert memory["lora"] < memory["null-text"] < memory["full"] < 40
    assert plan["training_steps_of_32_pictures"] == 600_000 and plan["models"]["sd15"]["here"] is False
    with pytest.raises(BadInput, match=r"--scale sd15 needs .*sd15.*--pictures.*--dry-run"):
        paper_tables(SD15, tmp_path, Quiet())
    assert memory_at_sd15("full", 1) < memory_at_sd15("full", 4)
