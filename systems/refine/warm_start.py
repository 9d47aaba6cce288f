"""Where refinement starts from: any field on the trainable grid, brought into one piece of the right thickness.

What an image-to-3D network gives of thin parts is haze: seen from the front a chair's leg is there, but hardly a cell
of it is more solid than empty, and a surface at occupancy one half would be a few crumbs of it. The level at which the
field shows its own outlines lies far lower. Moving the surface there at once would fill the openings that the network
is unsure of; going part of the way, and bridging what is then still broken, keeps both.
"""

from __future__ import annotations

import torch

from ..field.iso_level import auto_threshold
from ..field.voxels import DENSITY_PEAK, RAW_LIMIT, VoxelField
from ..types import RadianceField
from .connectivity import join_pieces

_SHARE = 0.4  # of the way to the outlines, in log-odds; 1 closes the back of a chair, 0 leaves legs of crumbs


@torch.no_grad()
def warm_start(init: RadianceField, resolution: int) -> VoxelField:
    """A trainable copy of a field; ``init`` is not changed.

    A field that is nowhere half opaque is copied as it is.
    """
    field = VoxelField.from_field(init, resolution)
    level = auto_threshold(field.density_at_centres().cpu().numpy(), 2 / resolution)
    if level > 0:
        outline = torch.logit(torch.tensor(level / DENSITY_PEAK))
        raw = field.raw_density - _SHARE * outline
        field.raw_density.copy_(join_pieces(raw.clamp(-RAW_LIMIT, RAW_LIMIT)))
    return field
