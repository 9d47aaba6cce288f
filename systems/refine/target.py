"""The picture that refinement is held to, at the size of the rendered views."""

from __future__ import annotations

import torch

from ..field.cameras import Camera
from ..types import SubjectImage


class Target:
    """The picture at the rendered size, row by row, and where it was taken from.

    premultiplied [size * size, 3], alpha [size * size].
    """

    def __init__(
        self, reference: SubjectImage, camera: Camera, size: int, device: torch.device | str = "cpu"
    ) -> None:
        if reference.alpha.shape[0] != reference.alpha.shape[1]:
            raise ValueError(f"the reference picture must be square, not {reference.alpha.shape}")
        # Colours are scaled premultiplied: what lies under transparent pixels must not bleed into the edge.
        alpha = torch.from_numpy(reference.alpha)[None, None]
        layers = torch.cat([torch.from_numpy(reference.rgb).permute(2, 0, 1)[None] * alpha, alpha], dim=1)
        scaled = torch.nn.functional.interpolate(layers, (size, size), mode="bilinear", antialias=True)[0]
        self.premultiplied = scaled[:3].permute(1, 2, 0).reshape(-1, 3).contiguous().to(device)
        self.alpha = scaled[3].reshape(-1).contiguous().to(device)
        self.camera = camera

    def over(self, background: torch.Tensor) -> torch.Tensor:
        """The picture before a background [size * size, 3]."""
        return self.premultiplied + (1 - self.alpha)[:, None] * background.to(self.alpha.device)
