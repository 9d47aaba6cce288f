"""The picture that refinement is held to, at the size of the rendered views."""

from __future__ import annotations

from functools import lru_cache

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
        scaled = torch.from_numpy(reference.premultiplied(size)).view(-1, 4)
        self.premultiplied = scaled[:, :3].contiguous().to(device)
        self.alpha = scaled[:, 3].contiguous().to(device)
        self.camera, self.size = camera, size
        self._of_size = lru_cache(lambda other: Target(reference, camera, other, device))

    def resized(self, size: int) -> Target:
        """The same picture for views of another size."""
        return self if size == self.size else self._of_size(size)

    def over(self, background: torch.Tensor) -> torch.Tensor:
        """The picture before a background [size * size, 3]."""
        return self.premultiplied + (1 - self.alpha)[:, None] * background.to(self.alpha.device)
