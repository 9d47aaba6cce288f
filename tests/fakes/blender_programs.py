"""Programs that stand for Blender, and a mesh of one triangle to hand them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from slipcast.systems.types import Mesh


def fake(path: Path, body: str) -> Path:
    """A program that is this Python running ``body``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{body}\n")
    path.chmod(0o755)
    return path


def says(path: Path, version: str) -> Path:
    """A program that tells its version as Blender does, and can do no more."""
    return fake(path, f"print('Blender {version}')\nprint('\\tbuild date: today')")


def triangle(**changes: np.ndarray) -> Mesh:
    """One face, a metre wide and high, seen from the front."""
    arrays = {
        "vertices": np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]], np.float32),
        "faces": np.array([[0, 1, 2]], np.int32),
        "normals": np.array([[0, -1, 0]] * 3, np.float32),
    }
    return Mesh(**arrays | changes)
