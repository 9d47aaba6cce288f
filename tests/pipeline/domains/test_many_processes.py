"""Two processes of ``accelerate launch`` on the CPU train what one would that computes each step in two parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import launched_training, tiny_pipelines
from PIL import Image
from safetensors.numpy import load_file

from slipcast.pipeline.domains.training import Means, train_domain
from slipcast.pipeline.run.progress import Quiet


@pytest.mark.slow
def test_two_processes_are_one_that_accumulates(tmp_path: Path) -> None:
    tiny_pipelines.stable_diffusion(tmp_path).save_pretrained(tmp_path / "base")
    (tmp_path / "set").mkdir()
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((40, 40)).save(tmp_path / "set" / f"{seed}.png")
    base, pictures = str(tmp_path / "base"), str(tmp_path / "set")
    tests = str(Path(__file__).parents[2])
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", "0"]
    done = subprocess.run(
        [*launch, launched_training.__file__, base, pictures, str(tmp_path / "two")],
        env=os.environ | {"PYTHONPATH": tests, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    # Both write to one pipe, a word at a time: only how often each word comes is sure.
    assert done.stdout.count("finished") == done.stdout.count("True") == 2, done.stderr[-3000:]
    one = train_domain(
        launched_training.settings(base, pictures, 2),
        Means("cpu"),
        Quiet(),
        out=tmp_path / "one",
    ).domain
    name = "null_text_unet.safetensors"
    alone, together = load_file(one / name), load_file(tmp_path / "two/reds" / name)
    assert alone.keys() == together.keys()
    apart = max(float(np.abs(alone[key].astype(float) - together[key]).max()) for key in alone)
    assert apart < 2e-3  # of float16, after moves of 4e-3
    assert len(list((tmp_path / "two/reds.training/1").glob("step-*"))) == 1
