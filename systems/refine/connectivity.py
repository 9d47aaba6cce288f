"""Pieces of a field that belong together: thin breaks are bridged, crumbs go.

A picture of a chair is of one thing, but what an image-to-3D network gives of thin posts is haze with gaps in it, and
as refinement hardens the field a gap stays a gap: a floating leg that no artist wants and no mesh cleaner can tell from
dirt. So a gap of a few cells is filled along the way where the field was least empty. What lies farther apart is left
apart.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import label
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from ..field.ray_sampling import extent
from ..field.voxels import RAW_LIMIT

_CRUMB = 1e-3  # of the largest piece's cells: smaller pieces are dirt
_REACH = 12.0  # the dearest way: an empty cell costs 1, up to 2 where the field is sure of that
_SOLID_COST = 1e-6  # not 0, which a sparse matrix takes for "no edge"
_CORE, _BESIDE = 2.0, 0.5  # raw density of a bridge, one cell wide, and of the cells beside it
_MOST_BRIDGES = 100  # noise falls into thousands of pieces, and no bridge would make a thing of it


@torch.no_grad()
def join_pieces(raw_density: torch.Tensor) -> torch.Tensor:
    """Raw density [R, R, R] in which solid pieces with a thin gap between them are one, and crumbs are empty.

    Solid is raw > 0; cells hang together by their faces. Everything else is as it was; the argument is not changed.
    """
    raw = raw_density.detach().cpu().numpy().copy()
    pieces, sizes = _pieces(raw)
    crumbs = np.flatnonzero(sizes < _CRUMB * sizes.max())
    raw[np.isin(pieces, crumbs[crumbs > 0])] = -RAW_LIMIT
    reach = math.ceil(_REACH)  # no bridge goes farther from matter
    box = tuple(slice(max(0, first - reach), stop + reach) for first, stop in extent(raw > 0))
    within = raw[box]  # a view: what is filled here is filled there
    for _ in range(_MOST_BRIDGES):
        pieces, sizes = _pieces(within)
        if np.count_nonzero(sizes) < 2:
            break
        ways = _ways(within)
        smallest_first = (np.argsort(sizes[1:]) + 1)[:-1]
        bridge = next((b for piece in smallest_first if len(b := _bridge(ways, pieces, piece))), None)
        if bridge is None:
            break
        _fill(within, bridge)
    return torch.from_numpy(raw).to(raw_density)


def _pieces(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each cell's piece [R, R, R], 0 for air, and the pieces' sizes in cells; air's is 0."""
    pieces = np.empty(raw.shape, np.int32)
    label(raw > 0, output=pieces)
    sizes = np.bincount(pieces.reshape(-1))
    sizes[0] = 0
    return pieces, sizes


def _ways(raw: np.ndarray) -> csr_array:
    """The graph of cells and their six neighbours; an edge costs what its ends cost in the mean."""
    cost = np.where(raw > 0, _SOLID_COST, 1 + np.clip(-raw / RAW_LIMIT, 0, 1)).reshape(-1)
    index = np.arange(raw.size, dtype=np.int32).reshape(raw.shape)
    steps = [index.swapaxes(0, axis) for axis in range(3)]
    one = np.concatenate([step[:-1].reshape(-1) for step in steps])
    other = np.concatenate([step[1:].reshape(-1) for step in steps])
    return coo_array(((cost[one] + cost[other]) / 2, (one, other)), shape=(raw.size, raw.size)).tocsr()


def _bridge(ways: csr_array, pieces: np.ndarray, piece: int) -> np.ndarray:
    """The cells [N] between one piece and any other on the cheapest way; none if all are out of reach."""
    flat = pieces.reshape(-1)
    costs, before, _ = dijkstra(
        ways,
        directed=False,
        indices=np.flatnonzero(flat == piece),
        return_predecessors=True,
        limit=_REACH,
        min_only=True,
    )
    others = np.flatnonzero((flat > 0) & (flat != piece))
    cell = others[costs[others].argmin()]
    if not np.isfinite(costs[cell]):
        return np.empty(0, int)
    way = []
    while (cell := before[cell]) >= 0:
        way.append(cell)
    return np.array(way[:-1], int)  # the last one is of the piece itself


def _fill(raw: np.ndarray, cells: np.ndarray) -> None:
    """Make cells solid, and those beside them just so."""
    at = np.stack(np.unravel_index(cells, raw.shape), 1)
    around = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    beside = (at[:, None] + around).reshape(-1, 3)
    beside = beside[((beside >= 0) & (beside < raw.shape)).all(axis=1)]
    for places, least in ((beside, _BESIDE), (at, _CORE)):
        where = tuple(places.T)
        raw[where] = np.maximum(raw[where], least)
