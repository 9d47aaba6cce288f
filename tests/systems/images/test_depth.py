"""Depth networks made here, of each family's conventions, whose answer is known; and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.systems.images.control_maps import control_picture
from slipcast.systems.images.depth import depth_by

onnx: Any = pytest.importorskip("onnx", reason="needs the extra [dev]")
pytest.importorskip("onnxruntime", reason="needs the extra [matting]")

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WEIGHTS = np.array([3.0, 1.0, -2.0])


def network(
    path: Path,
    sides: tuple[Any, Any],
    *,
    normalised: bool = True,
    squeezed: bool = True,
    offset: float = 7.0,
    inputs: int = 1,
) -> Path:
    """A network that says WEIGHTS . rgb + offset of each pixel, after undoing ImageNet's normalisation if it has to."""
    from onnx import TensorProto, helper, numpy_helper

    weight = WEIGHTS * DEVIATION if normalised else WEIGHTS
    bias = offset + (WEIGHTS @ MEAN if normalised else 0.0)
    nodes = [helper.make_node("Conv", ["picture", "weight", "bias"], ["said"])]
    out = "said"
    if squeezed:
        nodes.append(helper.make_node("Squeeze", [out, "axis"], ["depth"]))
        out = "depth"
    constants = {
        "weight": weight.reshape(1, 3, 1, 1).astype(np.float32),
        "bias": np.array([bias], np.float32),
        "axis": np.array([1]),
    }
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    taken = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *sides])
        for name in ("picture", "other")[:inputs]
    ]
    given = helper.make_tensor_value_info(out, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "depth", taken, [given], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def stretched(depth: np.ndarray) -> np.ndarray:
    return (depth - depth.min()) / (depth.max() - depth.min())


@pytest.mark.parametrize(
    ("sides", "normalised"),
    [((56, 56), True), ((56, 84), True), (("h", "w"), True), ((256, 256), False), ((384, 384), False)],
)
def test_each_family_is_fed_as_its_authors_feed_it(tmp_path: Path, sides: Any, normalised: bool) -> None:
    path = network(tmp_path / "net.onnx", sides, normalised=normalised)
    height, width = (518 if isinstance(one, str) else one for one in sides)
    picture = np.random.default_rng(0).random((height, width, 3)).astype(np.float32)
    assert np.abs(depth_by(path, picture) - stretched(picture @ WEIGHTS)).max() < 1e-5


@pytest.mark.parametrize("squeezed", [True, False])
def test_near_is_white_at_the_size_of_the_picture(tmp_path: Path, squeezed: bool) -> None:
    path = network(tmp_path / "net.onnx", (56, 56), squeezed=squeezed)
    photo = np.zeros((80, 120, 3), np.uint8)
    photo[20:60, 30:90, 0] = 255
    made = control_picture("depth", Image.fromarray(photo), (80, 120), str(path))[0]
    assert (
        made.shape == (3, 80, 120) and bool((made[0] == made[1]).all()) and bool((made[0] == made[2]).all())
    )
    assert made[:, 25:55, 40:80].min() > 0.99 and made[:, :12].max() < 0.01


def test_what_is_no_depth_network_is_one_sentence(tmp_path: Path) -> None:
    grey = np.full((56, 56, 3), 0.5, np.float32)
    noise = np.random.default_rng(0).random((56, 56, 3)).astype(np.float32)
    with pytest.raises(BadInput, match="sees one depth everywhere"):
        depth_by(network(tmp_path / "a.onnx", (56, 56)), grey)
    with pytest.raises(BadInput, match="takes pictures of 100 x 56 pixels, as no depth network"):
        depth_by(network(tmp_path / "b.onnx", (56, 100)), noise)
    with pytest.raises(BadInput, match=r"it takes picture .*, other .*, not one picture \[1, 3, H, W\]"):
        depth_by(network(tmp_path / "c.onnx", (56, 56), inputs=2), noise)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BadInput, match="cannot be read as an ONNX network"):
        depth_by(tmp_path / "text.onnx", noise)
    with pytest.raises(BadInput, match=r"there is no depth network .* expects an ONNX file"):
        depth_by(tmp_path / "gone.onnx", noise)
    with pytest.raises(BadInput, match=r"gives .* not one depth a pixel"):
        depth_by(network(tmp_path / "d.onnx", (56, 56), offset=float("inf")), noise)
