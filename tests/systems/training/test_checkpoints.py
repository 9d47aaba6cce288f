"""What is on the disk after a crash, a full disk, a stop: the last whole checkpoint, and nothing half."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fakes.training_tasks import Regression

from slipcast.configs import atomic
from slipcast.configs.errors import SlipcastError
from slipcast.systems.training import checkpoints
from slipcast.systems.training.checkpoints import load_checkpoint, newest, remove_older, save_part
from slipcast.systems.training.loop import Budget, train

BUDGET = Budget(steps=40, workers=1, batch=4, learning_rate=0.02, warmup_steps=5, checkpoint_steps=1)


def test_a_set_counts_when_it_is_whole(tmp_path: Path) -> None:
    for rank in range(2):
        save_part(tmp_path, {f"master/{rank}": torch.ones(1)}, 10, rank, 2)
    save_part(tmp_path, {"master/0": torch.zeros(1)}, 20, 0, 2)
    assert set(load_checkpoint(tmp_path)) == {"master/0", "master/1"}
    assert float(load_checkpoint(tmp_path)["master/0"]) == 1
    save_part(tmp_path, {"master/1": torch.zeros(1)}, 20, 1, 2)
    assert float(load_checkpoint(tmp_path)["master/0"]) == 0
    remove_older(tmp_path, 20, 2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-00000020-0-of-2.safetensors",
        "step-00000020-1-of-2.safetensors",
    ]


def test_what_is_large_comes_in_pieces_all_of_which_count(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "_PIECE", 100)
    tensors = {f"master/{i}": torch.full((20,), float(i)) for i in range(5)}
    save_part(tmp_path, {"master/0": torch.ones(1)}, 5, 0, 1)
    save_part(tmp_path, tensors, 10, 0, 1)
    assert len(newest(tmp_path)) == 5
    loaded = load_checkpoint(tmp_path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "step-00000010-0-of-1-3-of-5.safetensors").unlink()
    assert float(load_checkpoint(tmp_path)["master/0"]) == 1


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path: Path, monkeypatch) -> None:
    train(Regression(), tmp_path, Budget(**{**vars(BUDGET), "pause": 7}), label="test")
    write, full = atomic.write_bytes, OSError(errno.ENOSPC, "No space left on device")

    def no_room(path: Path, *pieces: bytes) -> None:
        if path.suffix == ".safetensors":
            raise full
        write(path, *pieces)

    monkeypatch.setattr(atomic, "write_bytes", no_room)
    with pytest.raises(SlipcastError, match=r"No space left.*the one before is whole"):
        train(Regression(), tmp_path, BUDGET, label="test")
    assert [path.name for path in newest(tmp_path)] == ["step-00000007-0-of-1.safetensors"]
    monkeypatch.undo()
    gone_on = train(Regression(), tmp_path, BUDGET, label="test")["net"].get_parameter("weight")
    whole = train(Regression(), tmp_path / "whole", BUDGET, label="test")["net"].get_parameter("weight")
    assert torch.equal(gone_on, whole)


PROGRAM = """
import sys
from pathlib import Path
from fakes.training_tasks import Regression
from slipcast.systems.training.loop import Budget, train
budget = Budget(steps=100_000, workers=1, batch=4, checkpoint_steps=1)
train(Regression(), Path(sys.argv[1]), budget, label="test")
"""


@pytest.mark.slow
def test_kill_9_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not newest(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = int(load_checkpoint(tmp_path)["progress"][0])
    assert step >= 1
    train(Regression(), tmp_path, Budget(steps=step + 2, workers=1, batch=4), label="test")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl"] == [
        f"step-{step + 2:08}-0-of-1.safetensors"
    ]


def test_a_nan_keeps_the_last_good_weights(tmp_path: Path) -> None:
    class Breaks(Regression):
        def loss(self, batch: int, generator: torch.Generator) -> torch.Tensor:
            self.count = getattr(self, "count", 0) + 1
            return super().loss(batch, generator) * (float("nan") if self.count == 9 else 1.0)

    with pytest.raises(SlipcastError, match=r"became nan at step 8.*last good weights are kept"):
        train(Breaks(), tmp_path, BUDGET, label="test")
    kept = load_checkpoint(tmp_path)
    assert int(kept["progress"][0]) == 8
    assert all(bool(one.isfinite().all()) for name, one in kept.items() if name.startswith("master/"))
