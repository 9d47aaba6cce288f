"""Every setting of a run, typed, with one sentence each; a file a stage.

These dataclasses are the single source of what may be set: presets (``configs/presets/*.yaml``) and ``key=value``
overrides are checked against them by ``configs.loading``. Angles are degrees here (``_deg``) and radians everywhere
else. A guidance weight w follows the project's one convention: w = 0 is the base, w = 1 the branch itself, so w is
what diffusers calls ``guidance_scale``. Noise fractions t run from 0 (clean picture) to 1 (pure noise).
"""

from __future__ import annotations

from .export import ExportConfig
from .image import ImageConfig
from .lift import LiftConfig
from .make import MakeConfig
from .mesh import MeshConfig
from .paint import PaintConfig
from .recipe import ExtraCondition, RecipeConfig
from .refine import RefineConfig
from .setting import setting

__all__ = [
    "ExportConfig",
    "ExtraCondition",
    "ImageConfig",
    "LiftConfig",
    "MakeConfig",
    "MeshConfig",
    "PaintConfig",
    "RecipeConfig",
    "RefineConfig",
    "setting",
]
