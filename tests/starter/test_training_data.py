"""What the trainings read: composites, captions, tokens, turned solids."""

import math
import pickle

import numpy as np
import pytest
import torch

from slipcast.starter.batches import DevicePictures, Pictures, composite, open_pictures, random_backgrounds
from slipcast.starter.dataset import build_shards, load_shards
from slipcast.starter.generator.captions import VOCABULARY, words_of
from slipcast.starter.latents import Latents, cache_latents
from slipcast.starter.text import MAX_TOKENS, make_text_encoder, make_tokenizer
from slipcast.starter.train_lift import DeviceSolids, Solids, disturb, turn_grid
from slipcast.systems.models.learned_codec import LearnedCodec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    for _ in build_shards(out, split="prior", count=3, views=3, seed=5):
        pass
    return out


def test_composites_are_exact_where_alpha_is_zero_or_one():
    rgba = np.zeros((2, 4, 4, 4), np.uint8)
    rgba[0, ..., :3], rgba[0, ..., 3] = 200, 255
    grounds = np.array([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]], np.float32)
    made = composite(rgba, grounds, np.zeros(2, np.float32))
    assert made.shape == (2, 3, 4, 4)
    assert np.allclose(made[0], 200 / 127.5 - 1)
    assert np.allclose(made[1, :, 1, 1], grounds[1] / 127.5 - 1)


def test_a_slope_brightens_the_bottom():
    made = composite(
        np.zeros((1, 9, 9, 4), np.uint8), np.full((1, 3), 100.0, np.float32), np.array([20.0], np.float32)
    )
    assert np.allclose(made[0, 0, 4], 100 / 127.5 - 1)
    assert made[0, 0, 8, 0] - made[0, 0, 0, 0] == pytest.approx(40 / 127.5)


def test_backgrounds_stay_colours():
    colours, slopes = random_backgrounds(np.random.default_rng(0), 200)
    assert colours.min() >= 0
    assert colours.max() <= 255
    assert 0.1 < (slopes != 0).mean() < 0.5


def test_pictures_repeat_for_a_seed_and_pickle_by_folder(folder):
    pictures = Pictures(folder)
    one, captions = pictures.draw(6, torch.Generator().manual_seed(1))
    two, again = pickle.loads(pickle.dumps(pictures)).draw(6, torch.Generator().manual_seed(1))
    assert torch.equal(one, two)
    assert captions == again
    assert one.shape == (6, 3, 128, 128)
    assert {word for caption in captions for word in words_of(caption)} <= set(VOCABULARY)


def test_every_caption_word_is_one_known_token():
    tokenizer = make_tokenizer(VOCABULARY)
    ids = tokenizer("a three-quarter view, Red plastic TEAPOT, dragons").input_ids
    assert ids.count(tokenizer.unk_token_id) == 1
    assert len(ids) == 2 + 7
    assert len(set(tokenizer(list(VOCABULARY), add_special_tokens=False).input_ids[0])) == 1
    assert all(len(row) == 1 for row in tokenizer(list(VOCABULARY), add_special_tokens=False).input_ids)


def test_the_text_encoder_reads_padded_prompts():
    tokenizer = make_tokenizer(VOCABULARY)
    encoder = make_text_encoder(tokenizer, width=32, layers=1)
    words = tokenizer(["", "a vase"], padding="max_length", return_tensors="pt")
    assert encoder(words.input_ids)[0].shape == (2, MAX_TOKENS, 32)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_quarter_turn_moves_cells_exactly(degrees):
    solid = (np.random.default_rng(0).random((8, 8, 8)) > 0.5).astype(np.uint8)
    angle = math.radians(degrees)
    turned = turn_grid(solid, round(math.cos(angle)), round(math.sin(angle)))
    # turned by -angle about +Z: np.rot90 turns axis 0 towards axis 1
    assert np.array_equal(turned, np.rot90(solid, -degrees // 90, axes=(0, 1)))


def test_surface_points_lie_in_or_beside_solid_cells_after_turning(folder):
    solids = Solids((folder,))
    for part, row in solids.rows[:4]:
        _, solid, cells, _ = solids.example(part, row, np.arange(1024))
        near = solid.astype(bool)
        for axis in range(3):
            near = near | np.roll(near, 1, axis) | np.roll(near, -1, axis)
        assert near.reshape(-1)[cells].mean() > 0.97


def test_disturbed_pictures_keep_their_range():
    pictures = torch.rand(8, 4, 16, 16)
    made = disturb(pictures, torch.Generator().manual_seed(0))
    assert made.min() >= 0
    assert made.max() <= 1
    kept = (made == pictures).flatten(1).all(1)
    assert 0 < kept.sum() < 8


def test_pictures_on_a_device_are_those_of_the_cpu(folder):
    held, usual = DevicePictures(folder, device="cpu"), Pictures(folder)
    made, told = held.draw(7, torch.Generator().manual_seed(3))
    expected, captions = usual.draw(7, torch.Generator().manual_seed(3))
    assert told == captions
    assert torch.allclose(made, expected, atol=1e-5)
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(held)
    assert type(open_pictures(folder)) is Pictures


def test_solids_on_a_device_are_those_of_the_cpu(folder):
    solids = Solids((folder,))
    held = DeviceSolids(solids, "cpu")
    rows, points = [0, 4, 8], np.arange(50)
    expected = [
        np.stack(parts) for parts in zip(*(solids.example(0, row, points) for row in rows), strict=True)
    ]
    made = held.examples(held.parts[0], torch.tensor(rows), torch.from_numpy(points))
    for got, wanted in zip(made, expected, strict=True):
        assert (got.numpy() == wanted).mean() > 0.9999  # a cell's edge may round the other way
    drawn = held.draw(5, torch.Generator().manual_seed(0))
    assert [tuple(part.shape) for part in drawn] == [
        (5, 4, 128, 128),
        (5, 64, 64, 64),
        (5, 1024),
        (5, 1024, 3),
    ]
    assert set(drawn[1].unique().tolist()) <= {0.0, 1.0}


def test_many_shards_are_thinned_out_evenly(tmp_path):
    for _ in build_shards(tmp_path, split="prior", count=5, views=2, seed=5, shard_objects=1):
        pass
    assert len(load_shards(tmp_path, ("rgba",))[0]["rgba"]) == 10
    few, _ = load_shards(tmp_path, ("rgba", "noun"), most=4)
    every, _ = load_shards(tmp_path, ("rgba", "noun"))
    assert np.array_equal(few["rgba"], every["rgba"][[0, 1, 6, 7]])
    assert len(load_shards(tmp_path, ("rgba",), most=1)[0]["rgba"]) == 2


def test_latents_are_cached_shard_by_shard(tmp_path):
    torch.manual_seed(0)
    codec = LearnedCodec(encoder_widths=(16, 32), decoder_widths=(16, 32)).requires_grad_(False)
    words = make_tokenizer(VOCABULARY)
    shards = tmp_path / "shards"

    def grown(count):
        for _ in build_shards(shards, split="prior", count=count, views=2, seed=5, shard_objects=2):
            pass
        return cache_latents(shards, codec, words, tmp_path / "latents", draws=3)

    folder = grown(2)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert grown(4) == folder
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 1 and len(after) == 2
    assert before.items() <= after.items()
    cached = Latents(folder)
    assert cached.latents.shape == (24, 8, 16, 16)
    assert cached.tokens.shape == (24, MAX_TOKENS)
    assert not torch.equal(cached.latents[0], cached.latents[4])  # the same picture over another ground
    latents, told = cached.draw(6, torch.Generator().manual_seed(0))
    rows = torch.randint(24, (6,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(latents, cached.latents[rows].float())
    assert torch.equal(told, cached.tokens[rows].long())
    codec.settle(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert grown(4) != folder  # another latent space
