"""Settings of the stage 45-paint."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting

NO_CONTROL = "none"


@dataclass(frozen=True)
class PaintConfig:
    """Stage 45-paint: views of the mesh are denoised together, as the picture was drawn, and agree in its texture."""

    steps: int | None = setting(
        None,
        "Denoising steps of all views, 12 for a start; 0 leaves the paint of the mesh, null is what the base says.",
        at_least=0,
        at_most=1000,
    )
    views: int = setting(10, "Cameras, a quarter of them from above.", at_least=1, at_most=64)
    size: int | None = setting(
        None, "Side of a view, in pixels; null is the base's own.", at_least=16, at_most=2048
    )
    start: float = setting(
        0.5,
        "Noise fraction that the views begin at; the larger, the less of the old paint stays.",
        at_least=0,
        at_most=1,
    )
    guidance: float | None = setting(
        None,
        "Factor on the weights that the picture was drawn with (image.weights); null is what the base says, or 1.",
        at_least=0,
    )
    control: str | None = setting(
        None,
        "Kind of ControlNet that holds the views to the mesh's shape, or none; null is what the base says, or none.",
        choices=("canny", "depth", NO_CONTROL),
    )
    control_scale: float = setting(1.0, "Strength of that ControlNet.", at_least=0)
    keep_detail: float = setting(
        0.0,
        "Share of the old paint's detail, finer than the autoencoder knows, that is laid over the new.",
        at_least=0,
        at_most=1,
    )
    agree_every: int = setting(
        1, "Steps between two agreements in the texture; more where the autoencoder is slow.", at_least=1
    )
    power: float = setting(
        32.0,
        "Power of the cosine by which a texel belongs to the views that see it squarely.",
        at_least=0,
        at_most=64,
    )
    anchor: float = setting(
        1.0,
        "How firmly the front keeps the picture: 1 keeps it where it is seen squarely, 0 paints it as all else.",
        at_least=0,
        at_most=1,
    )
