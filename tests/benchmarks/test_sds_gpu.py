"""The GPU benchmark of a step of score distillation runs, small, on a CPU; its figures there say nothing."""

from __future__ import annotations

import torch

from benchmarks.sds_gpu import Networks, ours, theirs, timed


def test_both_steps_run_and_every_part_is_told() -> None:
    networks, clock = Networks(small=True, device="cpu", dtype=torch.float32), timed(1, "cpu")
    told = ours(networks, "voxels", 3, networks.vae, "cpu", clock)
    assert set(told) == {"step", "denoiser", "encoder", "own"} and told["step"] > 0
    assert len(networks.guided(3).guidance.branches) == 3 and len(networks.guided(2).guidance.branches) == 2
    assert theirs(networks, "cpu", clock, decodes=True) > 0
