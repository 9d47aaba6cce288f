"""Batches on Ray: the same results as on processes, on one machine and on a cluster that loses a node."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import fakes.batch_program
import fakes.ray_cluster
import pytest

from slipcast.configs.errors import BadInput
from slipcast.pipeline.batch.ledger import ledger_folder, open_ledger
from slipcast.pipeline.batch.ray_cluster import _check_answers, _room, on_ray
from slipcast.pipeline.batch.shares import Leg, Share

JOBS = "\n".join(f'{{"prompt": "sleep {0.1 + 0.1 * (n % 3):.1f} {n} pots", "seed": {n}}}' for n in range(8))
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra [cluster]: ray"
)


def _made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("runs/*/*/made.txt")}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What processes of this machine make."""
    folder = tmp_path_factory.mktemp("quiet")
    (folder / "jobs.jsonl").write_text(JOBS)
    _batch(folder, "--workers", "2")
    return _made(folder)


def _batch(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, fakes.batch_program.__file__, "batch", "jobs.jsonl", "--json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@needs_ray
@pytest.mark.slow
def test_one_machine(quiet: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(JOBS)
    done = _batch(tmp_path, "--ray", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 8 and _made(tmp_path) == quiet
    assert all(Path(tmp_path, job["result"]).is_file() for job in json.loads(done.stdout)["jobs"])


@needs_ray
@pytest.mark.slow
def test_stages_go_to_workers_of_different_kinds(quiet: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(JOBS)
    needs = ("--cpus", "0.5", "--needs", "refine:cpus=1", "--needs", "mesh:cpus=0.5,memory=100M")
    done = _batch(tmp_path, "--ray", "local", "--workers", "1", *needs)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 8 and _made(tmp_path) == quiet
    legs: dict[int, set[int]] = {}
    with open_ledger(ledger_folder(tmp_path / "jobs.jsonl", tmp_path / "runs")) as ledger:
        for row in ledger.rows():
            attempts = [one for one in ledger.attempts(row.key) if one["outcome"] in ("passed on", "done")]
            assert [one["outcome"] for one in attempts] == ["passed on", "passed on", "done"]
            for leg, attempt in enumerate(attempts):
                legs.setdefault(attempt["pid"], set()).add(leg)
    assert all(len(made) == 1 for made in legs.values()) and len(legs) >= 3, "a worker makes one leg only"


@needs_ray
@pytest.mark.slow
def test_a_cluster_of_three_nodes_that_loses_one(quiet: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(JOBS)
    done = subprocess.run(
        [sys.executable, fakes.ray_cluster.__file__, str(tmp_path / "jobs.jsonl")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["counts"]["done"] == 8 and told["workers"] >= 3 and told["died"] >= 1, done.stderr
    assert _made(tmp_path) == quiet


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://head:10001", "expects local, auto or the head node's host:port, not 'ray://head:10001'"),
    ],
)
def test_nobody_answers(address: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        _check_answers(address)


def test_without_ray_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(BadInput, match=re.escape('`pip install "slipcast[cluster]"` installs it')),
        on_ray("local", _room, workers=None, legs=[Leg(Share())]),
    ):
        pass


@pytest.mark.parametrize(
    ("share", "room"),
    [
        (Share(1.0), 12),
        (Share(3.0), 3),
        (Share(0.5, 0.25), 8),
        (Share(1.0, 1.0), 2),
        (Share(1.0, 0.0, 3000.0), 2),
        (Share(9.0), 0),
    ],
)
def test_room_of_a_cluster(share: Share, room: int) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 6 * 2.0**30}},
        {"Alive": True, "Resources": {"CPU": 4.0, "memory": 1 * 2.0**30}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert _room(nodes, share) == room
