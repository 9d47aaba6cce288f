"""How many workers a machine is good for, from figures that are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipcast.pipeline.batch.resources import (
    as_mb,
    free_memory_mb,
    kernel_kills,
    plan_workers,
    usable_cores,
    visible_gpus,
)


@pytest.mark.parametrize(
    ("wanted", "cores", "gpus", "workers", "threads"),
    [
        (None, 2, [], 1, 2),
        (None, 16, [], 8, 2),
        (None, 1, [], 1, 1),
        (2, 2, [], 2, 1),
        (3, 2, [], 3, 1),
        (None, 16, ["0"], 8, 2),
        (None, 16, ["0", "1", "2", "3"], 4, 4),
        (6, 16, ["a", "b"], 6, 2),
    ],
)
def test_cores_are_shared_out(
    wanted: int | None, cores: int, gpus: list[str], workers: int, threads: int
) -> None:
    plan = plan_workers(wanted, cores=cores, free_mb=1e6, gpus=gpus)
    assert (plan.workers, plan.threads) == (workers, threads)
    assert all(given["OMP_NUM_THREADS"] == str(threads) for given in plan.environments)
    pinned = [given.get("CUDA_VISIBLE_DEVICES") for given in plan.environments]
    assert pinned == ([None] * workers if len(gpus) < 2 else [gpus[i % len(gpus)] for i in range(workers)])


def test_no_more_workers_than_memory_holds() -> None:
    plan = plan_workers(8, cores=8, free_mb=2500, worker_mb=1000)
    assert (plan.workers, plan.threads) == (2, 4) and plan.notices == (
        "2 of 8 workers: each takes about 1000 MB, and 2500 MB are free",
    )
    assert plan_workers(8, cores=8, free_mb=10, worker_mb=1000).workers == 1, "one is always tried"


def test_gpus_by_environment_or_list() -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "2, GPU-abc"}) == ["2", "GPU-abc"]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}) == visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []
    assert visible_gpus({}, lambda: ["0", "1"]) == ["0", "1"]


def test_cores_follow_omp_num_threads() -> None:
    assert usable_cores({"OMP_NUM_THREADS": "3"}) == 3
    assert usable_cores({}) >= 1 and usable_cores({"OMP_NUM_THREADS": "many"}) >= 1


def test_memory_of_a_container_counts(tmp_path: Path) -> None:
    whole = free_memory_mb(tmp_path)
    (tmp_path / "memory.current").write_text(str(60 * 2**20))
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {10 * 2**20}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory_mb(tmp_path) == pytest.approx(whole, rel=0.5)
    (tmp_path / "memory.max").write_text(str(100 * 2**20))
    assert free_memory_mb(tmp_path) == pytest.approx(50)


def test_what_the_kernel_has_ended(tmp_path: Path) -> None:
    assert kernel_kills(tmp_path / "none") is None
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    assert kernel_kills(tmp_path / "vmstat") == 3


@pytest.mark.parametrize(("text", "mb"), [("900M", 900), ("4G", 4096), ("1.5GiB", 1536), ("2048 KB", 2)])
def test_sizes(text: str, mb: float) -> None:
    assert as_mb(text) == mb


@pytest.mark.parametrize("text", ["", "4", "G", "much", "b"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        as_mb(text)
