"""What nerfacc's CUDA kernels do, in torch, by its documentation: its packed rendering then runs where there is no GPU.

Slow and plain. ``in_place_of_cuda`` puts them into nerfacc for as long as a test takes; all else is nerfacc's own.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch


def pack_info(ray_indices: torch.Tensor, n_rays: int | None = None) -> torch.Tensor:
    """Where each ray's samples begin and how many they are, [N, 2]."""
    assert n_rays is not None
    counts = torch.bincount(ray_indices, minlength=n_rays)
    return torch.stack([counts.cumsum(0) - counts, counts], -1)


def exclusive_sum(inputs: torch.Tensor, packed_info: torch.Tensor | None = None) -> torch.Tensor:
    """Along each ray, the sum of what comes before."""
    if packed_info is None:
        return inputs.cumsum(-1) - inputs
    assert inputs.ndim == 1 and int(packed_info[:, 1].sum()) == len(inputs)
    pieces = inputs.split(packed_info[:, 1].tolist())
    return torch.cat([piece.cumsum(0) - piece for piece in pieces]) if len(inputs) else inputs


def traverse_grids(
    rays_o: torch.Tensor,
    rays_d: torch.Tensor,
    binaries: torch.Tensor,
    aabbs: torch.Tensor,
    near_planes: torch.Tensor | None = None,
    far_planes: torch.Tensor | None = None,
    step_size: float | None = 1e-3,
    cone_angle: float | None = 0.0,
    **unused: Any,
) -> tuple[Any, Any, torch.Tensor]:
    """Equal steps from the near plane on, of which those count whose middle lies in a cell that is set."""
    from nerfacc.data_specs import RayIntervals, RaySamples

    assert not unused and not cone_angle and step_size and near_planes is not None and far_planes is not None
    assert binaries.dtype == torch.bool and binaries.ndim == 4 and len(binaries) == len(aabbs) == 1
    low, high = aabbs[0, :3], aabbs[0, 3:]
    size = torch.tensor(binaries.shape[1:])
    ends = torch.stack([(low - rays_o) / rays_d, (high - rays_o) / rays_d])
    enter, leave = ends.amin(0).amax(-1).clamp_min(0), ends.amax(0).amin(-1)
    middles, rays = [], []
    for ray in range(len(rays_o)):
        first = max(float(enter[ray]), float(near_planes[ray]))
        last = min(float(leave[ray]), float(far_planes[ray]))
        along = first + step_size * (torch.arange(max(0, int((last - first) / step_size))) + 0.5)
        cell = ((rays_o[ray] + along[:, None] * rays_d[ray] - low) / (high - low) * size).long()
        cell = cell.clamp_min(0).minimum(size - 1)
        along = along[binaries[0, cell[:, 0], cell[:, 1], cell[:, 2]]]
        middles.append(along)
        rays.append(torch.full((len(along),), ray))
    vals, ray_indices = torch.cat(middles), torch.cat(rays)
    edges = torch.stack([vals - step_size / 2, vals + step_size / 2], -1).reshape(-1)
    left = torch.arange(len(edges)) % 2 == 0
    intervals = RayIntervals(edges, is_left=left, is_right=~left)
    samples = RaySamples(vals, pack_info(ray_indices, len(rays_o)), ray_indices)
    return intervals, samples, leave


def in_place_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """nerfacc's estimator and its packed sums call these."""
    import nerfacc.estimators.occ_grid
    import nerfacc.volrend

    monkeypatch.setattr(nerfacc.estimators.occ_grid, "traverse_grids", traverse_grids)
    for name, made in {"pack_info": pack_info, "exclusive_sum": exclusive_sum}.items():
        monkeypatch.setattr(nerfacc.volrend, name, made)
