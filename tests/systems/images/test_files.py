"""Pictures as people have them: turned, deep, transparent, animated, damaged, huge; and masks of every kind."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.systems.images.files import (
    latent_mask,
    read_image,
    read_mask,
    read_picture,
    read_subject,
    with_kept_pixels,
)

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture has to be stored so that the viewer's turn by this EXIF orientation shows it upright."""


def noise(height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def saved(folder: Path, picture: Image.Image | np.ndarray, name: str = "picture.png", **options) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(folder / name, **options)
    return folder / name


def shown(path: Path, size: int = 16) -> np.ndarray:
    return read_picture(path, size)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_a_stored_turn_is_undone(tmp_path, orientation, suffix) -> None:
    upright, notes, how = Image.fromarray(noise(8, 24)), Image.Exif(), TURNS[orientation]
    notes[0x0112] = orientation
    stored = upright if how is None else upright.transpose(how)
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, stored, f"photo.{suffix}", exif=notes, **options)
    assert np.array_equal(np.asarray(read_image(path)), np.asarray(upright))


def test_eight_bits_come_back_to_the_bit(tmp_path) -> None:
    assert np.array_equal(shown(saved(tmp_path, noise())) * 255, noise())


@pytest.mark.parametrize(
    "kind", ["I;16", "I;16 tiff", "I tiff", "F in [0, 1]", "F of 8 bits", "F of 16 bits"]
)
def test_deep_grey_is_scaled_by_its_range(tmp_path, kind) -> None:
    deep = np.linspace(0, 65535, 256).reshape(16, 16)
    made = {
        "I;16": (deep.astype(np.uint16), "deep.png"),
        "I;16 tiff": (deep.astype(np.uint16), "deep.tiff"),
        "I tiff": (deep.astype(np.int32), "deep.tiff"),
        "F in [0, 1]": ((deep / 65535).astype(np.float32), "deep.tiff"),
        "F of 8 bits": ((deep / 257).astype(np.float32).round(), "deep.tiff"),
        "F of 16 bits": (deep.astype(np.float32).round(), "deep.tiff"),
    }
    array, name = made[kind]
    picture = shown(saved(tmp_path, array, name))
    assert np.abs(picture[..., 0] - deep / 65535).max() < 1 / 255
    assert np.array_equal(picture[..., 0], picture[..., 2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 7.3, 1e9])
def test_floats_of_unknown_range_are_refused(tmp_path, value) -> None:
    odd = np.full((4, 4), 0.5, np.float32)
    odd[1, 1] = value
    with pytest.raises(BadInput, match="save it with 8 or 16 bits"):
        read_image(saved(tmp_path, odd, "odd.tiff"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_lie_over_grey(tmp_path, mode) -> None:
    """Half is opaque white; the other half is transparent, with a colour below that nobody sees."""
    rgba = np.full((16, 16, 4), 255, np.uint8)
    rgba[:, :8, 3] = 0
    picture = Image.fromarray(rgba)
    if mode == "P":
        flat = Image.new("P", (16, 16), 0)
        flat.putpalette([255, 0, 0, 255, 255, 255])
        flat.paste(1, (8, 0, 16, 16))
        path = saved(tmp_path, flat, transparency=0)
    else:
        path = saved(tmp_path, picture.convert(mode))
    assert np.allclose(shown(path)[:, :8], 128 / 255)
    assert (shown(path)[:, 8:] == 1).all()


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "1"])
def test_every_mode_shows_the_same_picture(tmp_path, mode) -> None:
    bars = np.zeros((16, 16, 3), np.uint8)
    bars[:, 8:] = 255
    made = Image.fromarray(bars).convert(mode)
    assert np.allclose(shown(saved(tmp_path, made, "bars.tiff")), bars / 255, atol=2 / 255)


def test_an_animation_shows_its_first_frame(tmp_path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (shown(tmp_path / "moving.gif") == 1).all()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_huge_picture_is_refused_before_it_is_read(tmp_path, side) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(BadInput, match="million pixels, which is too large"):
        read_image(tmp_path / "bomb.png")


@given(st.sampled_from(["png", "jpeg", "gif", "tiff", "webp", "bmp"]), st.data())
def test_damage_is_a_sentence_or_a_picture(tmp_path_factory, suffix, data) -> None:
    path = saved(tmp_path_factory.getbasetemp(), noise(24, 24), f"damaged.{suffix}")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    try:
        assert shown(path).shape == (16, 16, 3)
    except BadInput as error:
        assert path.name in str(error)


def painted(folder: Path, mask: Image.Image | np.ndarray, size: int = 32, **options) -> np.ndarray:
    """[size, size] booleans."""
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    picture = saved(folder, Image.new("RGB", image.size), "shown.png")
    return read_mask(saved(folder, image, "mask.png", **options), picture, size)[0, 0].numpy() > 0


def stroke(size: int = 32) -> np.ndarray:
    drawn = np.zeros((size, size), bool)
    drawn[10:13, 4:20] = True
    return drawn


@pytest.mark.parametrize("below", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
def test_white_strokes_on_nothing(tmp_path, below) -> None:
    """A transparent pixel is black, whatever colour it hides."""
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[..., :3] = below
    rgba[stroke()] = 255
    assert np.array_equal(painted(tmp_path, rgba), stroke())
    if len(set(below)) == 1:
        assert np.array_equal(painted(tmp_path, Image.fromarray(rgba).convert("LA")), stroke())


def test_a_hidden_grey_of_a_png_is_black(tmp_path) -> None:
    """PNG may name one grey that is transparent, in 8 and in 16 bits."""
    for white in (np.uint8(255), np.uint16(65535)):
        levels = np.full((32, 32), white * 0.9, white.dtype)
        levels[stroke()] = white
        assert np.array_equal(painted(tmp_path, levels, transparency=int(levels[0, 0])), stroke())


@pytest.mark.parametrize(("level", "seen"), [(0, False), (60, False), (127, False), (128, True), (255, True)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_is_nearer_to_white_is_painted(tmp_path, depth, level, seen) -> None:
    scale = 1 if depth == np.uint8 else 257
    levels = np.zeros((32, 32), depth)
    levels[0, 0] = 255 * scale
    levels[stroke()] = level * scale
    assert painted(tmp_path, levels)[11, 11] == seen
    assert painted(tmp_path, levels).sum() == 1 + seen * stroke().sum()


def test_a_mask_without_white_is_refused(tmp_path) -> None:
    for grey in (np.full((8, 8), 60 * 257, np.uint16), np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(BadInput, match="no white part"):
            painted(tmp_path, grey)


@given(st.integers(0, 255), st.integers(0, 255), st.sampled_from([32, 64, 256]))
def test_no_stroke_is_lost_in_scaling(tmp_path_factory, row, column, size) -> None:
    """One white pixel of 256 x 256, at any size: its own pixel is painted, and nothing further than one away."""
    dot = np.zeros((256, 256), np.uint8)
    dot[row, column] = 255
    found = painted(tmp_path_factory.getbasetemp(), dot, size)
    y, x = row * size // 256, column * size // 256
    assert found[y, x] and found.sum() == 1
    latents = latent_mask(torch.from_numpy(found[None, None].astype(np.float32)), 8)[0, 0]
    assert latents[y // 8, x // 8] == 1 and latents.sum() == 1


def test_a_photo_stored_turned_takes_an_upright_mask(tmp_path) -> None:
    notes = Image.Exif()
    notes[0x0112] = 6
    saved(tmp_path, Image.new("RGB", (24, 40)), "photo.jpg", exif=notes)  # shown 40 wide, 24 high
    mask = np.zeros((24, 40), np.uint8)
    mask[:12] = 255
    found = read_mask(saved(tmp_path, mask, "mask.png"), tmp_path / "photo.jpg", 24)[0, 0]
    assert (found[:12] == 1).all() and (found[12:] == 0).all()
    with pytest.raises(BadInput, match="make them equal"):
        read_mask(saved(tmp_path, mask.T, "turned.png"), tmp_path / "photo.jpg", 24)


def test_kept_pixels_are_kept_to_the_bit(tmp_path) -> None:
    picture = read_picture(saved(tmp_path, noise(32, 32)), 32)
    mask = torch.from_numpy(stroke().astype(np.float32))[None, None]
    drawn = 255 - noise(32, 32)
    made = with_kept_pixels(drawn, picture, mask)
    assert np.array_equal(made[~stroke()], noise(32, 32)[~stroke()])
    assert np.array_equal(made[stroke()], drawn[stroke()])


def test_a_subjects_picture_is_read_as_people_may_have_edited_it(tmp_path: Path) -> None:
    levels = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    path = tmp_path / "image.png"
    Image.fromarray(levels).save(path)
    subject = read_subject(path)
    assert np.array_equal(subject.rgb, levels[..., :3].astype(np.float32) / 255)
    assert np.array_equal(subject.alpha, levels[..., 3].astype(np.float32) / 255)
    Image.fromarray(np.full((3, 3), 60 * 257, np.uint16)).save(path)  # grey of 16 bits: 60 of 255
    subject = read_subject(path)
    assert np.allclose(subject.rgb, 60 / 255) and (subject.alpha == 1).all()
    whole = path.read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2], whole[:40] + b"\xff" * 9 + whole[49:]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="no picture that can be read"):
            read_subject(path)
