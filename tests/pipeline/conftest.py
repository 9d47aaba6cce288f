"""Blender, once for all tests that need the real one, and what it makes of one object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.blender_subjects import FACTS, ball_run, cube

from slipcast.configs.errors import BadInput
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.process import Blender, find_blender
from slipcast.pipeline.blender.writer import build_blend, inspect_blend


@pytest.fixture(scope="session")
def blender() -> Blender:
    try:
        return find_blender()
    except BadInput:
        pytest.skip("no Blender here (SLIPCAST_BLENDER=PATH names one)")


@pytest.fixture(scope="session")
def box(blender: Blender, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Path]:
    """(the box as .blend, what Blender finds in it in another process, its preview as PNG)."""
    folder = tmp_path_factory.mktemp("box")
    path, picture = folder / "box.blend", folder / "box.png"
    build_blend(Asset(cube(), "box", FACTS), path, blender, picture=picture)
    return path, inspect_blend(path, blender=blender.program), picture


@pytest.fixture(scope="session")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose mesh and GLB are finished; alone in its folder of runs."""
    return ball_run(tmp_path_factory.mktemp("runs"))
