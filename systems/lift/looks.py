"""How a lifted field looks: whether its front shows the picture again, and what is plainly wrong with it.

Several candidates can be lifted before one is chosen, since a lift is cheap beside the refinement (``best_of``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..field.cameras import orbit_camera
from ..field.volume_rendering import render_image
from ..field.voxels import FrozenGrid
from ..types import SubjectImage

View = tuple[torch.Tensor, torch.Tensor]
"""Premultiplied colours [S, S, 3] and opacity [S, S]."""
_SIDE = 96  # pixels
_SEEN = 0.5  # opacity
_EMPTY, _FULL = 0.0005, 0.65  # shares of the cube's cells
_CARD = 0.06  # depth, as a share of the larger of width and height
_SAME, _OTHER = 0.6, 0.2  # correlations of colours: a face again; by how much less the sides show it
_PLAIN = 0.04  # deviation of colours below which there is no face to be seen twice


@dataclass(frozen=True)
class Looks:
    """What a field looks like beside its picture.

    Attributes:
        overlap: intersection over union of its outline from the front and the picture's, 0 to 1.
        colour_error: mean absolute difference of colours where both are, 0 to 1.
        faults: sentences about what is plainly wrong; mostly none.
    """

    overlap: float
    colour_error: float
    faults: tuple[str, ...] = ()

    @property
    def likeness(self) -> float:
        """1 for the picture itself, 0 for something that is nowhere near."""
        return self.overlap * (1 - self.colour_error)


def looks_of(grid: FrozenGrid, picture: SubjectImage, elevation_rad: float) -> Looks:
    """Render a lifted grid and compare its front with the square picture that it was made of.

    Args:
        elevation_rad: of the picture's camera.
    """
    wanted = torch.from_numpy(picture.premultiplied(_SIDE))
    front, alpha = _view(grid, 0.0, elevation_rad)
    there, meant = alpha > _SEEN, wanted[..., 3] > _SEEN
    both, either = there & meant, int((there | meant).sum())
    off = (
        front / alpha.clamp_min(_SEEN)[..., None] - wanted[..., :3] / wanted[..., 3:].clamp_min(_SEEN)
    ).abs()
    return Looks(
        overlap=float(both.sum()) / either if either else 0.0,
        colour_error=float(off[both].mean()) if bool(both.any()) else 1.0,
        faults=tuple(_faults(grid, (front, alpha), elevation_rad)),
    )


def best_of(measures: Sequence[Mapping[str, float]]) -> list[int]:
    """Places of candidates, best first: each measure ranks them, and the sum of their ranks decides (Borda's count).

    So no measure's scale counts, only its order. Ties go to the candidate that was named first.

    Args:
        measures: of each candidate, by name; the larger the better. All have the same names.
    """
    if not measures:
        return []
    points = np.zeros(len(measures))
    for name in measures[0]:
        values = np.array([one[name] for one in measures])
        points += (values[:, None] > values[None]).sum(1) + 0.5 * (values[:, None] == values[None]).sum(1)
    return sorted(range(len(measures)), key=lambda place: -points[place])


def _faults(grid: FrozenGrid, front: View, elevation_rad: float) -> list[str]:
    solid = grid.occupancy > 0.5
    share = float(solid.float().mean())
    if share < _EMPTY:
        return [f"the lift is all but empty: {share:.2%} of its cells are solid"]
    faults = []
    if share > _FULL:
        faults.append(f"the lift fills {share:.0%} of its box, which is fog or a block rather than an object")
    wide, deep, tall = (_extent(solid.any(dim=others)) for others in ((1, 2), (0, 2), (0, 1)))
    if deep < _CARD * max(wide, tall):
        faults.append(
            f"the lift is as flat as a card: {deep} cells deep where it is {max(wide, tall)} wide or tall"
        )
    if _shows_its_front_behind(grid, front, elevation_rad):
        faults.append(
            "the lift looks from behind as it does from the front, and not from its sides: a second face"
        )
    return faults


def _extent(line: torch.Tensor) -> int:
    """From the first to the last cell of a row [R] that holds something."""
    (there,) = line.nonzero(as_tuple=True)
    return int(there.max() - there.min()) + 1 if len(there) else 0


def _shows_its_front_behind(grid: FrozenGrid, front: View, elevation_rad: float) -> bool:
    """Whether the front's colours are seen again from behind, and less from both sides (Janus).

    Outlines say nothing, for every object has the same one from behind, mirrored. Colours are compared where two views
    overlap, each less its mean there; an object of one colour has no face.
    """
    seen = front[1] > _SEEN
    if not bool(seen.any()) or float(front[0][seen].std(dim=0).mean()) < _PLAIN:
        return False
    right, back, left = (
        _correlation(front, _view(grid, math.radians(turn), elevation_rad)) for turn in (90, 180, 270)
    )
    return back > _SAME and back - max(right, left) > _OTHER


def _correlation(one: View, other: View) -> float:
    both = (one[1] > _SEEN) & (other[1] > _SEEN)
    if not bool(both.any()):
        return 0.0
    a, b = (view[0][both] - view[0][both].mean(dim=0) for view in (one, other))
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-9))


def _view(grid: FrozenGrid, azimuth_rad: float, elevation_rad: float) -> View:
    rgb, alpha, _ = render_image(grid, orbit_camera(azimuth_rad, elevation_rad), _SIDE, samples=64)
    return rgb, alpha
