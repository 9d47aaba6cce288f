"""Settings of the stage 20-lift."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class LiftConfig:
    """Stage 20-lift: the picture becomes a first radiance field, by a feed-forward network or from a mesh."""

    resolution: int = setting(64, "Voxels along each side of the saved field.", at_least=8, at_most=512)
    keep: int = setting(
        1,
        "How many of image.candidates are lifted, the best drawn first; the best, by picture and lift, goes on.",
        at_least=1,
        at_most=64,
        added_later=True,
    )
    source: str = setting(
        "",
        "What lift_model reads where it is no folder itself; for lift_model=mesh a GLB, glTF, OBJ, PLY or STL.",
    )
    seed: int = setting(
        0, "Of the noise that Shap-E draws from, beside the run's own.", at_least=0, added_later=True
    )
    steps: int = setting(64, "Denoising steps of Shap-E's prior.", at_least=1, at_most=1024, added_later=True)
    guidance: float = setting(
        3.0, "Weight of the picture in Shap-E's prior; 1 is its plain answer.", at_least=1, added_later=True
    )
    command: str = setting(
        "",
        "With lift_model=command: abstract3d-triposr, abstract3d-step1x, trellis2, hunyuan3d-2.1, or a command line "
        "with {picture} and {mesh} or {out}, which no shell reads.",
        added_later=True,
    )
    python: str = setting(
        "python",
        "The Python that a named lift.command runs in, of the program's own environment.",
        added_later=True,
    )
    time_limit_s: float = setting(
        3600.0, "Seconds after which lift.command is ended.", at_least=1, affects_result=False
    )
