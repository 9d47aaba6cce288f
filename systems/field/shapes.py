"""Shapes of tensors in this room, by the names that signatures give them; checked as ``guidance.shapes`` are."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

Points = Float[torch.Tensor, "point 3"]
"""In the world; the object lies in [-1, 1]^3."""
PerPoint = Float[torch.Tensor, " point"]
Rays = Float[torch.Tensor, "ray 3"]
"""Origins, unit directions, or colours of rays."""
PerRay = Float[torch.Tensor, " ray"]
Cells = UInt8[torch.Tensor, "cell cell cell"]
"""EMPTY, LOOK or SOLID of each cell of a cube, index order [x, y, z] (see ``ray_sampling``)."""
Volume = Float[torch.Tensor, "resolution resolution resolution"]
"""A number at each cell of a cube, index order [x, y, z]."""
Colours = Float[torch.Tensor, "resolution resolution resolution 3"]
"""A colour at each cell of a cube."""
Nodes = Float[np.ndarray, "nodes nodes nodes"]
"""A density at each node of a cubic grid."""
Picture = Float[torch.Tensor, "size size"]
"""A number for each pixel, row 0 at the top."""
ColourPicture = Float[torch.Tensor, "size size 3"]
Channels = Float[torch.Tensor, "resolution resolution resolution 4"]
"""Density, red, green and blue at each cell of a cube."""
Interpolated = Float[torch.Tensor, "point 4"]
"""The same at points."""
