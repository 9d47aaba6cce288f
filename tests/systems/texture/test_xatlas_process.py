"""xatlas in a helper process: the same atlases, and no end to a run where it hangs or dies."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
import xatlas

from slipcast.configs.errors import SlipcastError
from slipcast.systems.texture import xatlas_process
from slipcast.systems.texture.xatlas_process import Atlas, XAtlas

CHART = {"max_cost": 0.7, "roundness_weight": 1.0, "max_chart_area": 0.8}
PACK = {"resolution": 128, "padding": 2, "bruteForce": True, "bilinear": False}


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = trimesh.creation.icosphere(subdivisions=2)
    vertices = made.vertices.astype(np.float32)
    return vertices, made.faces.astype(np.int32), vertices


@pytest.fixture(scope="module")
def made(ball: tuple[np.ndarray, ...]) -> Atlas:
    with XAtlas() as helper:
        return helper.generate(*ball, chart=CHART, pack=PACK)


def same(one: Atlas, other: Atlas) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("source", "faces", "uv", "size")
    )


def test_atlases_are_those_of_xatlas_itself(ball: tuple[np.ndarray, ...], made: Atlas) -> None:
    vertices, faces, normals = ball
    atlas, chart, pack = xatlas.Atlas(), xatlas.ChartOptions(), xatlas.PackOptions()
    for options, values in ((chart, CHART), (pack, PACK)):
        for name, value in values.items():
            setattr(options, name, value)
    atlas.add_mesh(vertices, faces.astype(np.uint32), normals)
    atlas.generate(chart, pack)
    source, cut, uv = atlas[0]
    assert same(made, Atlas(source, cut, uv, np.array([atlas.width, atlas.height]), atlas.atlas_count))
    assert made.pages == atlas.atlas_count == 1 and made.uv.dtype == np.float32
    time.sleep(
        0.05
    )  # its threads should sleep by now: letting it go any earlier could block this very process


def test_uv_that_a_mesh_has_are_packed_as_they_are(ball: tuple[np.ndarray, ...], made: Atlas) -> None:
    vertices, _, _ = ball
    cut = vertices[made.source], made.faces, vertices[made.source], made.uv * made.size.astype(np.float32)
    with XAtlas() as helper:
        packed = helper.generate(
            *cut, chart={"use_input_mesh_uvs": True}, pack=PACK | {"rotate_charts": False}
        )
        cut_anew = helper.generate(*cut, chart=CHART | {"max_chart_area": 0.1}, pack=PACK)
    lengths = [
        np.linalg.norm(
            (atlas.uv * atlas.size)[np.roll(atlas.faces, -1, 1)] - (atlas.uv * atlas.size)[atlas.faces],
            axis=2,
        )
        for atlas in (made, packed)
    ]
    np.testing.assert_allclose(lengths[1] / lengths[0], lengths[1].sum() / lengths[0].sum(), rtol=0.05)
    assert len(cut_anew.source) > len(packed.source) == len(made.source)


def test_a_helper_that_hangs_on_letting_go_is_replaced(
    ball: tuple[np.ndarray, ...], made: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = xatlas_process.SCRIPT.read_text()
    assert "        del atlas" in source
    hanging = tmp_path / "hanging.py"
    hanging.write_text(source.replace("        del atlas", "        __import__('time').sleep(100)"))
    monkeypatch.setattr(xatlas_process, "SCRIPT", hanging)
    monkeypatch.setattr(xatlas_process, "LETTING_GO_S", 0.1)
    began = time.monotonic()
    with XAtlas() as helper:
        first = helper._process
        assert same(helper.generate(*ball, chart=CHART, pack=PACK), made)
        assert same(helper.generate(*ball, chart=CHART, pack=PACK), made)
        assert first.returncode is not None and helper._process.pid != first.pid
    assert helper._process.returncode is not None, "the second hangs, too, and nobody waits for it"
    assert time.monotonic() - began < 50


def test_a_helper_that_lets_go_is_kept(ball: tuple[np.ndarray, ...]) -> None:
    with XAtlas() as helper:
        first = helper._process
        for _ in range(3):
            helper.generate(*ball, chart=CHART, pack=PACK)
        assert helper._process is first


def test_what_xatlas_refuses_is_told(ball: tuple[np.ndarray, ...]) -> None:
    vertices, faces, normals = ball
    with XAtlas() as helper, pytest.raises(SlipcastError, match="on 320 faces: RuntimeError"):
        helper.generate(vertices, faces + 7, normals, chart=CHART, pack=PACK)
    with XAtlas() as helper:
        helper._process.kill()
        helper._process.wait()
        with pytest.raises(SlipcastError, match="ended with -9"):
            helper.generate(vertices, faces, normals, chart=CHART, pack=PACK)
