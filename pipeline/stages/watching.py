"""A refinement to look at while it goes: preview.png, the object from four sides, every now and then."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path

import torch
from PIL import Image

from ...configs.atomic import write_bytes
from ...systems.field.cameras import orbit_camera
from ...systems.field.volume_rendering import render_image
from ...systems.types import RadianceField

PREVIEW_FILE = "preview.png"
_SIDE = 128  # pixels of a view
_VIEWS = 4
_GROUND = (0.93, 0.93, 0.92)
_EVERY_S = 2.0  # at most
_SHARE = 0.02  # of the time that may be spent on it


class Watch:
    """Called with the field after each step, it writes the picture when the last one is old enough.

    Nothing random is drawn, and the field is only asked, so that a refinement is the same with and without. The picture
    goes when the refinement is over: when it was taken is up to the clock, and what a stage leaves is not.

    Args:
        elevation_rad: of the cameras, the first of which looks at the front.
        samples: along each ray.
    """

    def __init__(self, folder: Path, elevation_rad: float, samples: int) -> None:
        self._path, self._samples = folder / PREVIEW_FILE, samples
        self._cameras = [orbit_camera(2 * math.pi * i / _VIEWS, elevation_rad) for i in range(_VIEWS)]
        self._next = 0.0

    def __call__(self, field: RadianceField) -> None:
        """Look at the field, if it is time to."""
        began = time.monotonic()
        if began < self._next:
            return
        views = [
            render_image(field, camera, _SIDE, samples=self._samples, background=_GROUND)[0]
            for camera in self._cameras
        ]
        held = io.BytesIO()
        Image.fromarray((torch.cat(views, 1).clamp(0, 1) * 255 + 0.5).byte().numpy()).save(held, "PNG")
        write_bytes(self._path, held.getvalue())
        now = time.monotonic()
        self._next = now + max(_EVERY_S, (now - began) / _SHARE)

    def end(self) -> None:
        """Take the picture away."""
        self._path.unlink(missing_ok=True)
