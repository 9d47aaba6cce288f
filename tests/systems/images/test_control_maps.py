"""Edges, and the pictures that control follows: laws on shapes whose edges are known, modes, sizes, errors."""

import numpy as np
import pytest
import torch
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.systems.images.control_maps import CONTROLS, FINDERS, canny, control_picture, edge_f1


def square(size: int = 64, first: int = 16, last: int = 48) -> np.ndarray:
    """White rows and columns first .. last - 1 on black."""
    picture = np.zeros((size, size, 3), np.float32)
    picture[first:last, first:last] = 1
    return picture


def outline(size: int = 64, first: int = 16, last: int = 48) -> np.ndarray:
    """The pixels of that square that touch its ground."""
    drawn = np.zeros((size, size), np.float32)
    drawn[first:last, first:last] = 1
    drawn[first + 1 : last - 1, first + 1 : last - 1] = 0
    return drawn


def file(folder, array: np.ndarray, name: str = "picture.png"):
    """An 8-bit picture of an array in [0, 1], or one of the array's own integers."""
    values = array if array.dtype == np.uint16 else (array * 255 + 0.5).astype(np.uint8)
    Image.fromarray(values).save(folder / name)
    return folder / name


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_plain_picture_has_no_edges(value):
    assert not canny(np.full((32, 48, 3), value, np.float32)).any()


def test_a_square_has_its_outline_one_pixel_wide():
    edges = canny(square())
    assert edges.dtype == np.float32
    assert set(np.unique(edges)) == {0, 1}
    assert edge_f1(edges, outline()) == 1
    assert edges.sum() == pytest.approx(outline().sum(), abs=8)  # corners may be cut


def test_edges_turn_and_mirror_with_the_picture():
    disc = np.hypot(*(np.mgrid[0:65, 0:65] - 32.0)) < 20
    picture = np.repeat(disc[..., None], 3, 2).astype(np.float32)
    assert edge_f1(canny(picture.transpose(1, 0, 2)), canny(picture).T) == 1
    assert edge_f1(canny(picture[:, ::-1]), canny(picture)[:, ::-1]) == 1


def test_an_edge_of_colour_alone_is_an_edge():
    """Two colours of one brightness (Rec. 601) differ in their channels only."""
    picture = np.full((32, 32, 3), (0.587 / 0.299 * 0.4, 0.0, 0.5), np.float32)
    picture[:, 16:] = (0.0, 0.4, 0.5)
    assert canny(picture)[:, 14:18].any(1).all()


def test_thresholds_are_sums_of_sobel_gradients_of_8_bit_values():
    """A step of h levels has a gradient of 4 h: it begins an edge above ``high`` and goes on above ``low``."""
    picture = np.zeros((32, 32, 3), np.float32)
    picture[:, 16:] = 49 / 255
    assert not canny(picture).any()
    picture[:16, 16:] = 51 / 255
    assert canny(picture)[:, 14:18].any(1).all()
    picture[18:, 16:] = 24 / 255
    assert not canny(picture)[20:, 14:18].any()
    assert canny(picture, low=90)[:, 14:18].any(1).all()


def test_canny_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        canny(np.zeros((8, 8), np.float32))


def test_edge_f1_forgives_one_pixel_and_no_more():
    line, beside, apart = (np.zeros((16, 16)) for _ in range(3))
    line[:, 5], beside[:, 6], apart[:, 8] = 1, 1, 1
    assert edge_f1(line, line, tolerance=0) == 1
    assert edge_f1(beside, line) == 1
    assert edge_f1(beside, line, tolerance=0) == 0
    assert edge_f1(apart, line) == 0
    # Half of what is wanted, and nothing wrong: precision 1, recall 1/2 (one row more within the tolerance).
    half = line * (np.arange(16) < 8)[:, None]
    assert edge_f1(half, line, tolerance=0) == pytest.approx(2 / 3)
    assert edge_f1(half, line) == edge_f1(line, half)


def test_edge_f1_of_nothing():
    nothing = np.zeros((8, 8))
    assert edge_f1(nothing, nothing) == 1
    assert edge_f1(nothing, np.eye(8)) == 0
    assert edge_f1(np.eye(8), nothing) == 0


@pytest.mark.parametrize("kind", CONTROLS)
@pytest.mark.parametrize("shape", [(64, 64), (80, 120), (30, 20)])
def test_every_control_has_the_size_asked_for_and_stays_in_range(tmp_path, kind, shape):
    noise = np.random.default_rng(0).random((*shape, 3))
    made = control_picture(kind, file(tmp_path, noise), 48)
    assert made.shape == (1, 3, 48, 48)
    assert made.dtype == torch.float32
    assert 0 <= made.min() <= made.max() <= 1


def test_canny_control_is_the_edges_of_the_picture_three_times(tmp_path):
    made = control_picture("canny", file(tmp_path, square()), 64)[0]
    assert np.array_equal(made[0], canny(square()))
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


@pytest.mark.parametrize("kind", CONTROLS)
def test_maps_are_used_as_they_are(tmp_path, kind):
    """Those of canny, which are found in a picture unless asked otherwise, where this is said."""
    levels = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    made = control_picture(kind, Image.fromarray(levels), 32, "no" if kind == "canny" else "")[0]
    assert np.allclose(made.permute(1, 2, 0), levels / 255, atol=1e-6)


@pytest.mark.parametrize("kind", FINDERS)
def test_maps_are_found_where_it_is_asked_for(kind):
    picture = Image.fromarray((square() * 255).astype(np.uint8))
    made = control_picture(kind, picture, 64, "yes")[0]
    assert np.array_equal(made[0], FINDERS[kind](square()))
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    assert made.max() > 0.4


@pytest.mark.parametrize("kind", sorted({*CONTROLS} - {*FINDERS}))
def test_maps_that_are_not_found_so_are_a_sentence(kind):
    match = (
        "depth is found by a network; name its ONNX file" if kind == "depth" else f"not {kind}; give a map"
    )
    with pytest.raises(BadInput, match=match):
        control_picture(kind, Image.new("RGB", (8, 8)), 8, "yes")
    if kind != "depth":
        with pytest.raises(BadInput, match="only depth is found by one"):
            control_picture(kind, Image.new("RGB", (8, 8)), 8, "net.onnx")


def test_the_middle_square_of_a_wide_picture_is_taken(tmp_path):
    wide = np.zeros((32, 96, 3), np.float32)
    wide[:, 32:64] = 1
    assert (control_picture("depth", file(tmp_path, wide), 32) == 1).all()


def test_fine_grain_is_averaged_not_picked():
    grain = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    made = control_picture("depth", Image.fromarray(grain), 16)
    assert np.allclose(made, 0.5, atol=0.02)


def test_transparent_parts_are_grey(tmp_path):
    rgba = np.zeros((32, 32, 4), np.float32)
    rgba[8:24, 8:24] = 1
    made = control_picture("depth", file(tmp_path, rgba), 32)[0]
    assert np.allclose(made[:, 0, 0], 128 / 255)
    assert (made[:, 8:24, 8:24] == 1).all()
    seen = control_picture("canny", file(tmp_path, rgba), 32)[0, 0].numpy()
    assert edge_f1(seen, outline(32, 8, 24)) == 1


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_shows_the_same_picture(mode):
    drawn = Image.fromarray((square() * 255).astype(np.uint8))
    made = control_picture("depth", drawn.convert(mode), 64)
    assert np.allclose(made[0].permute(1, 2, 0), square(), atol=2 / 255)


def test_sixteen_bits_keep_their_depth(tmp_path):
    ramp = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    made = control_picture("depth", file(tmp_path, ramp), 32)[0]
    assert np.allclose(made[0], ramp / 65535, atol=1e-6)
    assert torch.equal(made[0], made[2])


def test_a_turned_photograph_is_put_upright(tmp_path):
    top_white = np.zeros((32, 32, 3), np.float32)
    top_white[:16] = 1
    picture = Image.fromarray((top_white * 255).astype(np.uint8)).transpose(Image.Transpose.ROTATE_180)
    notes = Image.Exif()
    notes[0x0112] = 3  # orientation: turned by 180 degrees
    picture.save(tmp_path / "turned.png", exif=notes)
    made = control_picture("depth", tmp_path / "turned.png", 32)[0]
    assert np.allclose(made.permute(1, 2, 0), top_white)


def test_an_unknown_kind_names_the_nearest(tmp_path):
    with pytest.raises(BadInput, match=r"'cany'.*canny"):
        control_picture("cany", file(tmp_path, square()), 32)
    with pytest.raises(BadInput, match=r"'pose'.*openpose"):
        control_picture("pose", file(tmp_path, square()), 32)


def test_unreadable_pictures_are_said_in_a_sentence(tmp_path):
    with pytest.raises(BadInput, match=r"no picture .*missing\.png"):
        control_picture("canny", tmp_path / "missing.png", 32)
    with pytest.raises(BadInput, match="no picture"):
        control_picture("canny", tmp_path, 32)
    (tmp_path / "text.png").write_text("no picture at all")
    with pytest.raises(BadInput, match=r"text\.png is no picture that can be read"):
        control_picture("canny", tmp_path / "text.png", 32)
    whole = file(tmp_path, np.random.default_rng(0).random((64, 64, 3)))
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(BadInput, match="that can be read"):
        control_picture("depth", whole, 32)


def test_floating_point_maps_of_unknown_range_are_refused():
    with pytest.raises(BadInput, match="8 or 16 bits"):
        control_picture("depth", Image.new("F", (8, 8), 7.3), 8)
