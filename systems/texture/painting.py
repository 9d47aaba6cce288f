"""Paint for a textured mesh: many views, denoised together by the guided denoiser, that agree in the texture.

All cameras see the unpainted mesh; their pictures are noised part of the way and denoised again (SDEdit), and after
every step the views' clean predictions are laid into the texture and drawn anew from it, so that each goes on from what
all of them agree on: synchronised multi-view denoising, as in TexFusion (arxiv.org/abs/2310.13772) and SyncMVD
(arxiv.org/abs/2311.12891). Unlike score distillation it follows one path of the denoiser, with weights that draw
pictures, so that it neither averages over modes nor adds up guidance until colours burn.

Where the front view sees squarely, the picture that the object was made from is kept. Where no view sees anything, the
old colour is. The canvas may be smaller than the texture: a view has few pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError
from ...configs.schema import PaintConfig
from ...guidance.agreement import ScheduledNoise, denoise_together
from ..field.cameras import orbit_camera
from ..types import Mesh, SubjectImage
from .canvas import SURE_PIXELS, Canvas, canvas_of
from .texels import Texels, surface_texels

_HIGH_RAD = math.radians(50.0)  # of the views from above; refinement looks from there too
_SHARE_HIGH = 4  # one view in so many
_TEXELS_PER_PIXEL = 4  # along a view's side; the object fills about half of it
_AT_ONCE = 2  # views that the autoencoder is given at a time: bounds the memory
_SQUARE = (0.5, 0.8)  # cosines between which the picture's hold on a texel rises from none to full


@dataclass(frozen=True)
class Painter:
    """What paints.

    denoiser: of all views as one batch, told each view's words and background.
    encode, decode: pictures [B, 3, S, S] in [0, 1] -> latents [B, C, h, w], and back.
    """

    denoiser: ScheduledNoise
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def painting_angles(count: int, elevation_rad: float) -> list[tuple[float, float]]:
    """(azimuth, elevation) of ``count`` views: a ring from the front, and a quarter of them from above."""
    high = count // _SHARE_HIGH
    ring = count - high
    angles = [(2 * math.pi * k / ring, elevation_rad) for k in range(ring)]
    return angles + [(2 * math.pi * (k + 0.5) / high, _HIGH_RAD) for k in range(high)]


def paint(
    mesh: Mesh,
    painter: Painter,
    angles: Sequence[tuple[float, float]],
    backgrounds: np.ndarray,
    *,
    picture: SubjectImage,
    size: int,
    config: PaintConfig,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Mesh, dict[str, float]]:
    """Give a mesh a new base colour; all else stays.

    Args:
        angles: of the V views, see ``painting_angles``; the first is the picture's own.
        backgrounds: sRGB behind each view, [V, 3].
        picture: what the front is to show.
        size: pixels along each side of a view.
        generator: of the noise.
        progress: called after each step with (steps done, steps in all).
    Returns:
        The mesh (itself, with no steps), and facts: the shares of the surface that views see and that the picture
        holds, and the mean change in 8-bit steps.
    Raises:
        BadInput: a mesh without uv and texture, or of which no view sees anything.
        SlipcastError: a colour is not finite.
    """
    if not config.steps:
        return mesh, {}
    if mesh.uv is None or mesh.texture is None:
        raise BadInput("painting needs a mesh with uv and a base colour; run the mesh stage again")
    cameras = [orbit_camera(*pair) for pair in angles]
    edge = mesh.texture.shape[0]
    texels = surface_texels(mesh, min(edge, _TEXELS_PER_PIXEL * size))
    canvas = canvas_of(mesh, texels, cameras, size, power=config.power)
    if not canvas.trust.any():
        raise BadInput(
            f"none of the {len(cameras)} views sees the mesh's surface squarely enough to paint it; "
            "look at the mesh, or give paint.views more"
        )
    shared = _Texture(
        canvas, texels, mesh, backgrounds.astype(np.float32), painter, *_held(canvas, picture, config)
    )
    clean = shared.encoded(shared.seen(shared.before))
    if config.keep_detail:
        shared.keep_detail(clean, config.keep_detail)
    noise = torch.randn(clean.shape, generator=generator)
    denoise_together(
        painter.denoiser,
        clean,
        noise,
        shared.agree,
        start=config.start,
        steps=config.steps,
        agree_every=config.agree_every,
        callback=progress,
    )
    texture = _enlarged(shared.colours, canvas.trust, texels, mesh, edge)
    facts = {
        "seen": _share(canvas.trust),
        "held_by_picture": _share(shared.hold),
        "changed": round(float(np.abs(texture.astype(int) - mesh.texture).mean()), 3),
    }
    return mesh.with_(texture=texture), facts


class _Texture:
    """The texture while it is painted: ``colours`` [N, 3] is what the views agreed on last."""

    def __init__(
        self,
        canvas: Canvas,
        texels: Texels,
        mesh: Mesh,
        backgrounds: np.ndarray,
        painter: Painter,
        hold: np.ndarray,
        held: np.ndarray,
    ) -> None:
        self.canvas, self._backgrounds, self._painter = canvas, backgrounds, painter
        self.hold, self._held = hold, held
        self.before = _at_texels(mesh, texels)
        self.colours = self.before
        self._detail = np.float32(0)

    def keep_detail(self, clean: Tensor, share: float) -> None:
        """Lay what the autoencoder cannot say of the old paint, whose views' latents are ``clean``, over the new."""
        self._detail = np.float32(share) * (self.before - self.canvas.laid(self._decoded(clean)))

    def _decoded(self, latents: Tensor) -> np.ndarray:
        pictures = torch.cat([self._painter.decode(part) for part in latents.split(_AT_ONCE)])
        return pictures.permute(0, 2, 3, 1).float().cpu().numpy()

    def agree(self, latents: Tensor) -> Tensor:
        """Views' latents -> latents of the views of one texture."""
        pictures = self._decoded(latents)
        told = self.canvas.laid(pictures) + self._detail
        told += self.hold[:, None] * (self._held - told)
        self.colours = self.before + self.canvas.trust[:, None] * (told - self.before)
        if not np.isfinite(self.colours).all():
            raise SlipcastError("a colour that was painted is not finite; check the base's autoencoder")
        agreed = self.seen(self.colours) + self.canvas.lost(pictures)
        # As a change of the latents: what the autoencoder cannot say is lost from the change alone.
        return latents + (self.encoded(agreed) - self.encoded(pictures)).to(latents)

    def seen(self, colours: np.ndarray) -> np.ndarray:
        """The views of the texels' colours [N, 3], [V, S, S, 3]."""
        return self.canvas.seen(colours, self._backgrounds)

    @torch.no_grad()
    def encoded(self, pictures: np.ndarray) -> Tensor:
        """Views [V, S, S, 3] as latents."""
        views = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
        return torch.cat([self._painter.encode(part) for part in views.split(_AT_ONCE)])


def _held(canvas: Canvas, picture: SubjectImage, config: PaintConfig) -> tuple[np.ndarray, np.ndarray]:
    """How firmly the picture holds each texel, [N] in [0, anchor], and the colour that it holds it to, [N, 3]."""
    layers = picture.premultiplied(canvas.coverage.shape[1])
    alpha = layers[..., 3:]
    inside = np.asarray(distance_transform_edt(alpha[..., 0] > 0.99)) / SURE_PIXELS
    told = canvas.looked_up(0, np.concatenate([layers, inside.clip(0, 1)[..., None].astype(np.float32)], 2))
    colour = told[:, :3] / np.maximum(told[:, 3:4], np.float32(1e-6))
    low, high = _SQUARE
    square = ((canvas.cosine[0] - low) / (high - low)).clip(0, 1)
    return config.anchor * square * canvas.sure[0] * told[:, 4], colour


def _at_texels(mesh: Mesh, texels: Texels) -> np.ndarray:
    """The mesh's base colour at the texels of a canvas that may be smaller, [N, 3] in [0, 1]."""
    assert mesh.texture is not None
    texture = torch.from_numpy(mesh.texture).permute(2, 0, 1)[None].float() / 255
    size = (texels.size, texels.size)
    scaled = torch.nn.functional.interpolate(texture, size, mode="bilinear", antialias=True)[0]
    return scaled.permute(1, 2, 0).reshape(-1, 3).numpy()[texels.index]


def _enlarged(colours: np.ndarray, trust: np.ndarray, texels: Texels, mesh: Mesh, edge: int) -> np.ndarray:
    """The texture of ``edge`` texels a side: as before where nothing is trusted, else the canvas's colours."""
    assert mesh.texture is not None
    layers = texels.picture(np.concatenate([colours, trust[:, None]], 1).astype(np.float32))
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(layers).permute(2, 0, 1)[None], (edge, edge), mode="bilinear", align_corners=False
    )
    grown = grown[0].permute(1, 2, 0).reshape(-1, 4).numpy()
    full = surface_texels(mesh, edge)
    before = mesh.texture.reshape(-1, 3)[full.index]
    new = (grown[full.index, :3] * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return full.picture(np.where(grown[full.index, 3:] > 0, new, before))


def _share(weights: np.ndarray) -> float:
    return round(float(weights.mean()), 4)
