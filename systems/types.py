"""What passes between the stages: a picture of the subject, a radiance field, a mesh.

Frame, stated once: right-handed, +Z up, the object's front looks along -Y, the object lies inside [-1, 1]^3.
Colours are sRGB in [0, 1]. Density is per unit length. glTF's axes appear in ``pipeline.exporters`` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..configs.atomic import write_safetensors
from ..configs.errors import SlipcastError, in_one_line

_TEXTURES = ("texture", "normal_map", "orm")


@dataclass(frozen=True)
class SubjectImage:
    """A picture of one object and its coverage: rgb [H, W, 3] and alpha [H, W], float32 in [0, 1], sRGB."""

    rgb: np.ndarray
    alpha: np.ndarray

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.alpha.shape != self.rgb.shape[:2]:
            raise ValueError(
                f"SubjectImage expects rgb [H, W, 3] and alpha [H, W], not {self.rgb.shape} and {self.alpha.shape}"
            )

    def over(self, background: tuple[float, float, float]) -> np.ndarray:
        """The picture composited over one colour, [H, W, 3]."""
        alpha = self.alpha[..., None]
        return self.rgb * alpha + np.asarray(background, np.float32) * (1 - alpha)

    def premultiplied(self, size: int) -> np.ndarray:
        """Scaled to size x size, bilinearly and without ringing: rgb times alpha, and alpha, [size, size, 4].

        Colours are scaled premultiplied: what lies under transparent pixels must not bleed into the edge.
        """
        alpha = torch.from_numpy(self.alpha)[None, None]
        layers = torch.cat([torch.from_numpy(self.rgb).permute(2, 0, 1)[None] * alpha, alpha], dim=1)
        scaled = torch.nn.functional.interpolate(layers, (size, size), mode="bilinear", antialias=True)[0]
        return scaled.permute(1, 2, 0).contiguous().numpy()

    def save(self, path: Path) -> None:
        """Write an RGBA PNG (8 bit)."""
        rgba = np.concatenate([self.rgb, self.alpha[..., None]], -1)
        Image.fromarray((rgba * 255 + 0.5).clip(0, 255).astype(np.uint8)).save(path)


@runtime_checkable
class RadianceField(Protocol):
    """Density and colour at points: what every 3-D stage reads, whether frozen or trained."""

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """points [N, 3] in [-1, 1]^3 -> density [N] >= 0 per unit length, rgb [N, 3] in [0, 1]."""
        ...


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh, optionally with a UV atlas and textures on it.

    vertices [V, 3] float32, faces [F, 3] int32 (counter-clockwise seen from outside), normals [V, 3] float32,
    uv [V, 2] float32 with (0, 0) at the picture's lower left; textures [H, W, 3] uint8, row 0 at the top:
    texture is the base colour (sRGB), normal_map the tangent-space normals (+Y up, as glTF and Blender read them),
    orm ambient occlusion, roughness and metallic in red, green and blue (glTF's packing, linear).
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    normal_map: np.ndarray | None = None
    orm: np.ndarray | None = None

    def with_(self, **changes: np.ndarray | None) -> Mesh:
        """A copy with some arrays replaced."""
        return replace(self, **changes)

    def save(self, path: Path) -> None:
        """Write every array to one safetensors file."""
        write_safetensors(path, {k: np.ascontiguousarray(v) for k, v in vars(self).items() if v is not None})

    @classmethod
    def load(cls, path: Path) -> Mesh:
        """Read what ``save`` wrote.

        Raises:
            SlipcastError: no such file, or what is in it is not a mesh as the class describes it.
        """
        try:
            mesh = cls(**load_file(path))
            mesh.check()
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise SlipcastError(
                f"{path} is not a readable slipcast mesh ({in_one_line(error)}); run the mesh stage again"
            ) from error
        return mesh

    def check(self) -> None:
        """Raise ``ValueError`` if the arrays are not as the class describes them: a sentence for the first fault."""
        vertices = len(self.vertices)
        expected = {
            "vertices": (("V", 3), np.float32),
            "faces": (("F", 3), np.int32),
            "normals": ((vertices, 3), np.float32),
            "uv": ((vertices, 2), np.float32),
            **dict.fromkeys(_TEXTURES, (("H", "W", 3), np.uint8)),
        }
        for name, (shape, kind) in expected.items():
            array = getattr(self, name)
            if array is None:
                continue
            fits = array.ndim == len(shape) and all(
                found > 0 if isinstance(wanted, str) else found == wanted
                for found, wanted in zip(array.shape, shape, strict=False)
            )
            if not fits or array.dtype != kind:
                wanted = f"[{', '.join(map(str, shape))}] of {np.dtype(kind).name}"
                raise ValueError(f"{name} should be {wanted}, not {list(array.shape)} of {array.dtype}")
            if kind is np.float32 and not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite")
        if self.faces.min() < 0 or self.faces.max() >= vertices:
            raise ValueError(f"faces name vertices outside 0 to {vertices - 1}")
        if self.uv is None and any(getattr(self, name) is not None for name in _TEXTURES):
            raise ValueError("there are textures but no uv")
