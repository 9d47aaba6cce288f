"""Folders of pictures as people have them: what is learned from, what is left out and why, and what is held out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.systems.images.collection import Collection, Picture, read_collection
from slipcast.systems.images.files import LARGEST
from slipcast.systems.images.framing import frame_of, grounds_of, read_framed
from slipcast.systems.images.likeness import likeness, near_groups


def noise(seed: int, height: int = 48, width: int = 48, channels: int = 3) -> Image.Image:
    """Soft blots, so that a scaled copy still looks the same."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 6, channels)).astype(np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def folder_of(place: Path, count: int = 8) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        noise(seed).save(place / f"{seed}.png")
    return place


def test_everything_odd_is_counted_and_named_and_the_rest_is_used(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set")
    within = folder / "more"
    within.mkdir()
    shutil.copy(folder / "0.png", within / "again.png")
    noise(1).save(within / "near.jpg", quality=90)
    noise(20, 60, 90, 4).save(within / "alpha.webp", lossless=True)
    Image.fromarray(np.asarray(noise(21).convert("L")).astype(np.uint16) * 257).save(within / "deep.png")
    noise(22).save(within / "moving.gif", save_all=True, append_images=[noise(23)])
    whole = (folder / "2.png").read_bytes()
    (within / "cut.png").write_bytes(whole[: len(whole) // 2])
    (within / "text.png").write_text("no picture")
    (within / "notes.txt").write_text("words")
    noise(24, 8, 8).save(within / "dot.png")
    (folder / ".hidden.png").write_bytes(whole)
    (within / "loop").symlink_to(folder)
    (within / "dead.png").symlink_to(tmp_path / "gone.png")
    Image.new("1", (20_000, 10_000)).save(within / "huge.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(25, 40, 80).save(within / "turned.jpg", exif=turned)

    found = read_collection(folder, size=48)
    assert len(found.pictures) == 8 + 5  # near, alpha, deep, moving, turned
    assert {why: sorted(names) for why, names in found.left_out.items()} == {
        "a link to a folder that was looked into already": ["more/loop"],
        "no picture by its name": ["more/notes.txt"],
        "the same as another, pixel by pixel": ["more/again.png"],
        f"more than {LARGEST // 10**6} million pixels: scale it down": ["more/huge.png"],
        "damaged, or no picture inside": ["more/cut.png", "more/dead.png", "more/text.png"],
        "smaller than 32 pixels": ["more/dot.png"],
    }
    assert found.noted["animated: its first frame is taken"] == ["more/moving.gif"]
    assert len(found.noted["nearly the same as another"]) == 1
    assert found.noted["smaller than 48 pixels, and enlarged"] == ["more/turned.jpg"]
    by_name = {one.path.name: one for one in found.pictures}
    assert by_name["alpha.webp"].transparent and not by_name["deep.png"].transparent
    assert by_name["turned.jpg"].size == (80, 40)
    assert any("more/huge.png" in sentence for sentence in found.sentences())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda place: place / "gone", "is not there"),
        (lambda place: folder_of(place, 0), "holds no picture to learn from, and 4 are the least"),
        (lambda place: folder_of(place, 3), "holds 3 different pictures to learn from, and 4 are the least"),
        (lambda place: folder_of(place, 3) / "0.png", "is a file"),
    ],
)
def test_a_folder_of_too_little_is_refused_in_one_sentence(tmp_path: Path, make, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_collection(make(tmp_path / "set"))


def test_names_and_folders_say_nothing(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "one", 30), tmp_path / "other/deep"
    other.mkdir(parents=True)
    for path in one.iterdir():
        shutil.copy(path, other / f"{29 - int(path.stem)}-renamed.png")
    first, second = read_collection(one), read_collection(tmp_path / "other")
    assert first.identity == second.identity
    for a, b in zip(first.split(), second.split(), strict=True):
        assert [p.content for p in a] == [p.content for p in b]
    assert len(first.split()[1]) == 3
    noise(40).save(one / "new.png")
    assert read_collection(one).identity != first.identity


def test_near_copies_are_held_out_together_or_not_at_all() -> None:
    names = [f"{i:03}" for i in range(100)]
    pictures = tuple(Picture(name, (64, 64), False, Path(name)) for name in names)
    found = Collection(Path(), pictures, near=(("003", "050", "098"), ("020", "021")))
    learned, held = ({one.content for one in part} for part in found.split(0.1))
    assert {"003", "050", "098"} <= held and {"020", "021"} <= learned
    assert learned | held == set(names) and not learned & held
    everything = Collection(Path(), pictures, near=(tuple(names),))
    assert [len(part) for part in everything.split(0.1)] == [90, 10]


def test_copies_that_were_scaled_or_encoded_are_near_and_other_colours_are_not(tmp_path: Path) -> None:
    noise(3).save(tmp_path / "poor.jpg", quality=60)
    seen = [noise(3), noise(3).resize((96, 144)), Image.open(tmp_path / "poor.jpg"), noise(4)]
    plain = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue", (250, 2, 2))]
    assert near_groups([likeness(one) for one in [*seen, *plain]]) == [[0, 1, 2], [4, 6]]


@pytest.mark.parametrize(
    ("size", "frame"), [((100, 100), (64, 64)), ((300, 100), (88, 44)), ((100, 150), (52, 76))]
)
def test_buckets_keep_shape_and_area(size: tuple[int, int], frame: tuple[int, int]) -> None:
    found = frame_of(size, 64, "bucket", 4)
    assert found == frame
    assert found[0] % 4 == found[1] % 4 == 0 and 0.85 * 64**2 <= found[0] * found[1] <= 64**2
    assert frame_of(size, 64, "crop", 4) == (64, 64)


def test_what_is_cropped_and_what_is_padded(tmp_path: Path) -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    cropped = read_framed(tmp_path / "wide.png", 40, "crop")
    assert torch.allclose(cropped, torch.tensor(200 / 255), atol=0.02)
    padded = read_framed(tmp_path / "wide.png", 80, "pad")
    border = 200 * 80 / (2 * 80 + 2 * 40) / 255
    assert padded.shape == (3, 80, 80)
    assert torch.allclose(padded[:, :20], torch.tensor(border), atol=0.005)
    assert torch.allclose(padded[:, 20:60, 25:55], torch.tensor(200 / 255), atol=0.01)


def test_transparent_parts_lie_over_the_ground_that_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    grounds = grounds_of("a content", 4)
    assert grounds[0] == (128, 128, 128) and len(set(grounds)) == 4
    assert grounds_of("another", 4) != grounds
    for ground in grounds:
        made = read_framed(tmp_path / "clear.png", 16, "crop", ground)
        assert torch.equal(made, (torch.tensor(ground) / 255).view(3, 1, 1).expand(3, 16, 16))
