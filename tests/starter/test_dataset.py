"""Shards: the same bytes however they were made, and what their arrays hold."""

import json

import numpy as np
import pytest

from slipcast.configs.errors import BadInput
from slipcast.starter import dataset
from slipcast.starter.dataset import build_shards, draw_views, load_shards, unpack_occupancy
from slipcast.starter.generator.objects import HELD_OUT

SMALL = dict(split="prior", count=5, views=2, seed=3, size=32, shard_objects=2)


def build(folder, **changes):
    return list(build_shards(folder, **{**SMALL, **changes}))


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard_*"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert build(folder) == [0, 2, 4, 5]
    return folder


def test_an_interrupted_build_ends_with_the_same_bytes(whole, tmp_path, monkeypatch):
    build(tmp_path, count=3)
    writes, save = [], dataset.save_file

    def power_cut(arrays, path):
        if writes:
            path.write_bytes(b"half a file")
            raise KeyboardInterrupt
        writes.append(path)
        save(arrays, path)

    monkeypatch.setattr(dataset, "save_file", power_cut)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    monkeypatch.undo()
    assert build(tmp_path) == [4, 5]
    assert shard_bytes(tmp_path) == shard_bytes(whole)


def test_worker_processes_make_the_same_bytes(whole, tmp_path):
    build(tmp_path, workers=2)
    assert shard_bytes(tmp_path) == shard_bytes(whole)


def test_a_finished_build_is_left_alone(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("shard_*")}
    assert build(whole) == [5]
    assert before == {path: path.stat().st_mtime_ns for path in whole.glob("shard_*")}


def test_later_objects_are_the_same_without_the_earlier_ones(whole, tmp_path):
    assert build(tmp_path, skip=2, count=3) == [0, 2, 3]
    assert shard_bytes(tmp_path) == {k: v for k, v in shard_bytes(whole).items() if "00000" not in k}
    with pytest.raises(BadInput, match="multiple of 2"):
        build(tmp_path, skip=1)


def test_another_recipe_is_refused(whole):
    with pytest.raises(BadInput, match="another recipe"):
        build(whole, seed=4)
    with pytest.raises(BadInput, match="split"):
        build(whole, split="porcelain")


def test_the_loader_joins_shards(whole):
    arrays, info = load_shards(whole)
    assert arrays["rgba"].shape == (10, 32, 32, 4) and arrays["object"].tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]
    assert arrays["points"].shape == arrays["albedo"].shape == (5, 4096, 3)
    solids = unpack_occupancy(arrays["occupancy"])
    assert solids.shape == (5, 64, 64, 64)
    # The samples of a surface lie at the border of its solid.
    cells = ((arrays["points"][0].astype(np.float32) * 0.97 + 1) * 32).astype(int)
    assert solids[0][tuple(cells.T)].mean() > 0.3
    assert arrays["noun"].max() < len(info["nouns"]) and arrays["material"].max() < len(info["materials"])
    assert set(load_shards(whole, ["noun"])[0]) == {"noun"}
    assert info == json.loads((whole / "dataset.json").read_text())


def test_the_domain_split_holds_no_held_out_noun(tmp_path):
    build(tmp_path, split="domain", count=12, views=1, size=16, shard_objects=12)
    arrays, info = load_shards(tmp_path)
    assert arrays["domain"].all()
    assert not {info["nouns"][k] for k in arrays["noun"]} & set(HELD_OUT)


def test_views_are_spread_as_promised():
    views = [draw_views(np.random.default_rng(seed), 8) for seed in range(200)]
    azimuth, elevation = (np.degrees(np.stack(angles)) for angles in zip(*views, strict=True))
    assert np.abs(azimuth[:, 0]).max() <= 8.01 and np.abs(elevation[:, 0] - 15).max() <= 4.01
    assert (np.abs(azimuth) <= 60.01).sum(1).min() >= 4
    assert azimuth[:, 4:].min() < -150 and azimuth[:, 4:].max() > 150
    assert elevation.min() >= -10.01 and elevation.max() <= 70.01
