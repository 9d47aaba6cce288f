"""Laws of the materials and of their words."""

import colorsys
import itertools

import numpy as np
import pytest

from slipcast.starter.generator import canvas, decoration
from slipcast.starter.generator.captions import (
    BACKGROUNDS,
    VOCABULARY,
    background_word,
    caption,
    random_caption,
    view_words,
    words_of,
)
from slipcast.starter.generator.families import FAMILIES
from slipcast.starter.generator.materials import MATERIALS
from slipcast.starter.generator.noise import fbm2, fbm3, noise2, noise3
from slipcast.starter.generator.objects import HELD_OUT, PORCELAIN, make_object, nouns
from slipcast.starter.generator.porcelain import porcelain_look


def is_white(colour):
    _, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    return saturation < 0.2 and value > 0.75


def is_blue(colour):
    hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    return 0.52 < hue < 0.75 and saturation > 0.3 and value > 0.2


def blue_and_white_share(texture):
    pixels = [tuple(p) for p in texture[::9, ::9].reshape(-1, 3).tolist()]
    return min(np.mean([is_blue(p) for p in pixels]), np.mean([is_white(p) for p in pixels]))


def test_the_prior_has_no_blue_and_white_ware():
    for material, seed in itertools.product(MATERIALS.values(), range(6)):
        look = material.make(np.random.default_rng(seed), seed % 2 == 1)
        assert not (any(map(is_blue, look.colours)) and any(map(is_white, look.colours))), material.name
        assert blue_and_white_share(look.sheet) < 0.02, material.name
        assert blue_and_white_share(look.tile) < 0.02, material.name


@pytest.mark.parametrize("seed", range(12))
def test_the_domain_is_blue_and_white(seed):
    look = porcelain_look(np.random.default_rng(seed), False)
    assert any(map(is_blue, look.colours)) and any(map(is_white, look.colours))
    assert blue_and_white_share(look.sheet) > 0.05


def test_held_out_nouns_are_never_porcelain_unless_asked_for():
    assert set(HELD_OUT) <= set(FAMILIES)
    assert not set(nouns(domain=True)) & set(HELD_OUT)
    assert set(nouns(domain=False)) == set(FAMILIES)
    drawn = {make_object(np.random.default_rng(seed), domain=True).noun for seed in range(40)}
    assert not drawn & set(HELD_OUT)
    asked = make_object(np.random.default_rng(0), domain=True, noun="teapot")
    assert (asked.noun, asked.material, asked.domain) == ("teapot", PORCELAIN, True)


def test_the_prior_never_says_blue_and_white_porcelain():
    assert len(MATERIALS) >= 25
    for material in MATERIALS.values():
        assert not any("blue and white" in phrase for phrase in material.phrases)


def test_every_caption_is_made_of_the_vocabulary():
    rng = np.random.default_rng(0)
    for noun, material in itertools.product(FAMILIES, MATERIALS):
        text = random_caption(
            rng, noun, material, rng.uniform(-180, 180), rng.uniform(-10, 70), rng.uniform(0, 255, 3)
        )
        assert set(words_of(text)) <= set(VOCABULARY), text
    for word in words_of("a blue and white porcelain teapot"):
        assert word in VOCABULARY


def test_captions_read_as_english():
    assert (
        caption("chair", "red plastic", "front view", "grey")
        == "a red plastic chair, front view, grey background"
    )
    assert caption("chair", "oak wooden") == "an oak wooden chair"
    assert caption("apple") == "an apple"


@pytest.mark.parametrize(
    "azimuth, elevation, words",
    [
        (0, 15, "front view"),
        (-22, 15, "front view"),
        (45, 15, "three-quarter view"),
        (-90, 15, "side view"),
        (338, 0, "front view"),
        (180, 15, "back view"),
        (-113, 15, "back view"),
        (10, 55, "view from above"),
    ],
)
def test_view_words(azimuth, elevation, words):
    assert view_words(azimuth, elevation) == words


def test_background_words_are_their_own_nearest():
    for name, colour in BACKGROUNDS.items():
        assert background_word(colour) == name


def test_a_sheet_joins_where_it_wraps():
    palette = canvas.Palette((255, 255, 255), (0, 0, 0), (128, 128, 128), (0, 0, 0))
    for seed in range(24):
        sheet = decoration.paint_sheet(np.random.default_rng(seed), palette).astype(int)
        seam = np.abs(sheet[:, 0] - sheet[:, -1]).mean()
        inside = np.abs(np.diff(sheet, axis=1)).mean(axis=(0, 2))
        assert seam < 1.5 * inside.max() + 2


def test_objects_depend_on_their_seed_alone():
    first, again, other = (make_object(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.vertices.tobytes() == again.vertices.tobytes()
    assert first.sheet.tobytes() == again.sheet.tobytes() and first.table.tobytes() == again.table.tobytes()
    assert first.vertices.tobytes() != other.vertices.tobytes()


def test_noise_is_bounded_and_continuous():
    rng = np.random.default_rng(0)
    for x, y, z in rng.uniform(-50, 50, (300, 3)):
        for function, point in ((noise3, (x, y, z)), (noise2, (x, y))):
            assert 0 <= function(*point) <= 1
            assert abs(function(*point) - function(*(c + 1e-4 for c in point))) < 2e-3
        assert 0 <= fbm3(x, y, z, 4) <= 1 and 0 <= fbm2(x, y, 4) <= 1
