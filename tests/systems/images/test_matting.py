"""Matting networks made here, of each family's conventions, whose coverage is known; and files that are none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.images.matting import FAMILIES, load_matting

onnx: Any = pytest.importorskip("onnx", reason="needs the extra [dev]")
pytest.importorskip("onnxruntime", reason="needs the extra [matting]")

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FED = {"u2net": (MEAN, DEVIATION), "isnet": (np.full(3, 0.5), np.ones(3)), "birefnet": (MEAN, DEVIATION)}
"""(mean, deviation) that each family's authors normalise by, written down a second time."""
REDNESS, OFFSET = np.array([1.5, -1.0, -0.25]), 0.125  # no sum of 0: what is added to all channels shows


def network(
    path: Path,
    family: str,
    *,
    side: int | str | None = None,
    logits: bool = False,
    scale: float = 1.0,
    first: Any = None,
) -> Path:
    """A network that undoes a family's normalisation and says how red each pixel is, clipped to [0, 1]."""
    from onnx import TensorProto, helper, numpy_helper

    side = FAMILIES[family].side if side is None else side
    mean, deviation = FED[family]
    weight = (scale * REDNESS * deviation).reshape(1, 3, 1, 1).astype(np.float32)
    bias = np.array([scale * (OFFSET + REDNESS @ mean)], np.float32)
    low, high = np.float32(0.01), np.float32(0.99)
    nodes = [helper.make_node("Conv", ["picture", "weight", "bias"], ["red"])]
    out = "red"
    if scale == 1:
        nodes.append(helper.make_node("Clip", ["red", "low", "high"], ["clipped"]))
        out = "clipped"
    if logits:  # log(p / (1 - p))
        nodes += [
            helper.make_node("Sub", ["one", out], ["rest"]),
            helper.make_node("Div", [out, "rest"], ["odds"]),
            helper.make_node("Log", ["odds"], ["logits"]),
        ]
        out = "logits"
    constants = {"weight": weight, "bias": bias, "low": low, "high": high, "one": np.float32(1)}
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    taken = helper.make_tensor_value_info("picture", TensorProto.FLOAT, first or [1, 3, side, side])
    given = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "red", [taken], [given], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def photo(side: int, radius: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """(picture, truth): a red disc before a ground of every other colour, no plane could be fitted to."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    inside = np.hypot(rows, columns) < radius
    ground = np.stack([rng.uniform(0, 0.3, (side, side)), *(rng.uniform(0.4, 1, (2, side, side)))], -1)
    picture = np.where(inside[..., None], [1.0, 0.05, 0.05], ground).astype(np.float32)
    return picture, inside


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_is_fed_as_its_authors_feed_it(family: str, tmp_path: Path) -> None:
    net = load_matting(network(tmp_path / "net.onnx", family, logits=family == "birefnet"), family)
    picture = (
        np.random.default_rng(1).uniform(0.3, 0.7, (net.family.side, net.family.side, 3)).astype(np.float32)
    )
    picture[0, 0] = 1  # as bright as it gets: what u2net divides by
    wanted = (picture @ REDNESS + OFFSET).clip(0.01, 0.99)
    assert np.abs(net.coverage(picture) - wanted).max() < 1e-4
    assert wanted.std() > 0.1 and ((wanted > 0.02) & (wanted < 0.98)).mean() > 0.7  # clipping hides nothing


@pytest.mark.parametrize("family", FAMILIES)
def test_a_disc_before_a_busy_ground_is_cut_out(family: str, tmp_path: Path) -> None:
    """At another size than the network's: coverage against truth."""
    net = load_matting(network(tmp_path / "net.onnx", family), family)
    picture, truth = photo(200)
    subject = net.cut_out(picture)
    assert subject.alpha.shape == (200, 200) and subject.alpha.dtype == np.float32
    union = (truth | (subject.alpha > 0.5)).sum()
    assert (truth & (subject.alpha > 0.5)).sum() / union > 0.97
    assert (
        np.abs(subject.rgb[truth] - [1.0, 0.05, 0.05]).max() < 1e-6
    )  # colours of the rim are the subject's own


def test_the_ratio_of_a_picture_is_kept(tmp_path: Path) -> None:
    net = load_matting(network(tmp_path / "net.onnx", "u2net"))
    picture = np.zeros((120, 300, 3), np.float32)
    picture[40:80, 200:260] = [1, 0, 0]
    rows, columns = np.nonzero(net.coverage(picture) > 0.6)
    assert abs(rows.min() - 40) <= 1 and abs(rows.max() - 79) <= 1
    assert abs(columns.min() - 200) <= 1 and abs(columns.max() - 259) <= 1


def test_the_size_tells_u2net_and_asks_where_two_families_share_it(tmp_path: Path) -> None:
    assert load_matting(network(tmp_path / "a.onnx", "u2net")).family is FAMILIES["u2net"]
    large = network(tmp_path / "b.onnx", "isnet")
    with pytest.raises(BadInput, match="1024 x 1024 pixels, as isnet and birefnet do; say which"):
        load_matting(large)
    with pytest.raises(BadInput, match="as isnet and birefnet do"):
        load_matting(large, "u2net")
    free = network(tmp_path / "c.onnx", "u2net", side="side")
    with pytest.raises(BadInput, match=r"say which by image\.matting_kind=u2net or isnet or birefnet"):
        load_matting(free)
    assert load_matting(free, "isnet").family is FAMILIES["isnet"]


def test_a_picture_of_nothing_is_said(tmp_path: Path) -> None:
    net = load_matting(network(tmp_path / "net.onnx", "u2net"))
    with pytest.raises(SlipcastError, match="finds no subject"):
        net.cut_out(np.full((64, 64, 3), [0.0, 1.0, 1.0], np.float32))


def test_numbers_that_are_no_coverage_are_refused(tmp_path: Path) -> None:
    net = load_matting(network(tmp_path / "net.onnx", "u2net", scale=40.0))
    with pytest.raises(
        BadInput, match=r"gives numbers from .* not coverage; choose another image\.matting_kind"
    ):
        net.coverage(photo(64)[0])


def test_what_is_no_matting_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BadInput, match="cannot be read as an ONNX network"):
        load_matting(tmp_path / "text.onnx")
    with pytest.raises(BadInput, match="there is no matting network"):
        load_matting(tmp_path / "gone.onnx")
    other = network(tmp_path / "other.onnx", "u2net", side=512)
    with pytest.raises(BadInput, match="512 x 512 pixels, as none that is known do"):
        load_matting(other)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadInput, match=r"pip install \"slipcast\[matting\]\""):
        load_matting(other)
