"""The log of a refinement: every step once, what the guidance really pushed, and a picture that shows it."""

import dataclasses
import io
import json
import math

import pytest
import torch
from fakes.refinements import BUSY, SCHEDULE, refine, same, to_latents
from PIL import Image

from slipcast.guidance import Branch, GaussianPredictor, GuidedNoise, around
from slipcast.guidance.measures import norms_and_cosines
from slipcast.guidance.noise import named_generator
from slipcast.systems.refine.curve import gradient_norm
from slipcast.systems.refine.log import LOG_FILE, PROGRESS_FILE, TIMES, Log
from slipcast.systems.refine.progress_picture import progress_picture


def guided(words, grounds):
    """Two terms that pull the paint towards red and towards dark green."""
    null, red, green = (
        Branch(name, GaussianPredictor(to_latents(torch.tensor(colour).view(1, 3, 1, 1)), 0.1, SCHEDULE))
        for name, colour in (
            ("null", (0.5, 0.5, 0.5)),
            ("red", (0.9, 0.1, 0.1)),
            ("green", (0.1, 0.4, 0.1)),
        )
    )
    return GuidedNoise(around(null, (red, 3.0), (green, 1.5)))


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def without_times(lines):
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def stopped_after(steps):
    def stop(done, total, losses):
        if done == steps:
            raise KeyboardInterrupt

    return stop


def test_every_step_has_a_line_that_says_what_it_measured(tmp_path):
    told = {}
    field = refine(
        BUSY,
        denoiser_for=guided,
        checkpoint_folder=tmp_path,
        progress=lambda done, _, losses: told.update({done - 1: losses}),
    )
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines] == list(range(BUSY.steps))
    for line in lines:
        assert line["losses"] == pytest.approx(told[line["step"]], rel=1e-5)
        assert 0.05 < line["opacity"] < 0.8 and BUSY.t_min <= line["t"] <= BUSY.t_max
        assert set(line["terms"]) == {"red - null", "green - null"} and min(line["terms"].values()) > 0
        assert set(line["cosines"]) == {"red - null | green - null"}
        assert line["steps_per_s"] > 0 and line["memory_mb"] > 1
    assert [line["step"] for line in lines if "gradients" in line] == [0, 2, 4, 5], "those of curve.csv"
    assert same(field, refine(BUSY, denoiser_for=guided)), "a log changes no bit"


def test_law_terms_are_told_as_their_closed_form():
    """Of Gaussian data w (eps(c) - eps(0)) is w a s (mean(0) - mean(c)) / (a^2 v + s^2), whatever x_t is."""
    denoiser, seen = guided([], []), {}
    x_t, t = torch.randn(1, 3, 8, 8, generator=named_generator(0, "x")), torch.tensor([40])
    plain = denoiser(x_t, t)
    assert torch.equal(denoiser.watched_by(seen.update)(x_t, t), plain)
    a, s = (one.item() for one in SCHEDULE.signal_and_noise(t, x_t))
    for name, weight, colour in (("red", 3.0, (0.9, 0.1, 0.1)), ("green", 1.5, (0.1, 0.4, 0.1))):
        away = (to_latents(torch.full((3,), 0.5)) - to_latents(torch.tensor(colour))).view(1, 3, 1, 1)
        expected = weight * a * s * away / (a**2 * 0.1 + s**2)
        torch.testing.assert_close(seen[f"{name} - null"], expected.expand(1, 3, 8, 8), atol=1e-5, rtol=1e-5)


def test_law_lengths_and_cosines_are_those_of_vectors():
    one, other = (
        torch.tensor([[[[3.0, 4.0]]], [[[0.0, 1.0]]]]),
        torch.tensor([[[[4.0, -3.0]]], [[[0.0, 2.0]]]]),
    )
    norms, cosines = norms_and_cosines({"a": one, "b": other, "c": -one, "nothing": torch.zeros_like(one)})
    assert norms == pytest.approx({"a": 3.0, "b": 3.5, "c": 3.0, "nothing": 0.0})
    assert cosines["a | b"] == pytest.approx(0.5) and cosines["a | c"] == pytest.approx(-1.0)
    assert cosines["a | nothing"] == 0.0 and len(cosines) == 6
    assert norms_and_cosines({}) == ({}, {})


def test_a_term_whose_branches_were_not_all_asked_is_not_told():
    branches = (
        Branch(name, GaussianPredictor(mean, 0.1, SCHEDULE)) for name, mean in (("null", 0.0), ("text", 1.0))
    )
    seen = {}
    null, text = branches
    GuidedNoise(around(null, (text, 1.0))).watched_by(seen.update)(torch.zeros(1, 3, 2, 2), torch.tensor([9]))
    assert seen == {}, "with a weight of 1 nobody asks null"


@pytest.mark.parametrize("stop_after", [3, 5])
def test_a_resumed_log_has_no_gap_and_no_doubles(tmp_path, stop_after):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    refine(BUSY, denoiser_for=guided, checkpoint_folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        refine(
            BUSY,
            denoiser_for=guided,
            checkpoint_folder=tmp_path / "cut",
            progress=stopped_after(stop_after),
        )
    assert len(log_of(tmp_path / "cut")) == stop_after, "it is there while the refinement works"
    with open(tmp_path / "cut" / LOG_FILE, "a") as file:
        file.write('{"step": 5, "los')  # the last line of a process that was killed
    refine(BUSY, denoiser_for=guided, checkpoint_folder=tmp_path / "cut")
    whole, cut = (without_times(log_of(tmp_path / name)) for name in ("whole", "cut"))
    assert whole == cut
    pictures = [(tmp_path / name / PROGRESS_FILE).read_bytes() for name in ("whole", "cut")]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", 0),
        ("no log\n", 0),
        ('{"step": 0}\n{"step": 2}\n', 0),
        ("[1]\n", 0),
        ('{"step": 1}\n{"step": 2}\n{"step": 3}\n', 2),
        ('{"step": 0}\n', 0),
    ],
    ids=["empty", "nonsense", "a gap", "no object", "begun late", "ends too early"],
)
def test_of_a_log_that_is_there_only_an_unbroken_one_is_kept(tmp_path, text, kept):
    (tmp_path / LOG_FILE).write_text(text)
    log = Log(tmp_path, 3, torch.device("cpu"))
    log.add(3, {"a": 1.0}, {})
    assert [line["step"] for line in log_of(tmp_path)] == [*range(3 - kept, 3), 3]


def test_numbers_that_are_none_are_null(tmp_path):
    log = Log(tmp_path, 0, torch.device("cpu"))
    log.add(0, {"a": math.nan}, {"terms": {"b": math.inf}, "opacity": 0.25})
    (line,) = log_of(tmp_path)
    assert line["losses"] == {"a": None} and line["terms"] == {"b": None} and line["opacity"] == 0.25
    log.save()


def test_the_picture_shows_a_line_for_each_name():
    lines = [
        {"step": i, "losses": {"falls": 10.0**-i, "stays": 1.0}, "opacity": 0.5, "terms": {"a - b": 2.0}}
        for i in range(5)
    ]
    picture = Image.open(io.BytesIO(progress_picture(lines))).convert("RGB")
    assert picture.size == (1000, 750)
    learned = progress_picture([line | {"own_loss": 0.5} for line in lines])
    assert Image.open(io.BytesIO(learned)).size == (1000, 1000), "the LoRA's loss has axes of its own"
    blue = [
        (x, y)
        for x in range(70, 700)
        for y in range(35, 220)
        if picture.getpixel((x, y)) == (0x2F, 0x6D, 0xB5)
    ]
    heights = [min(y for x, y in blue if x == at) for at in (75, 390, 705 - 10)]
    assert heights == sorted(heights) and heights[-1] > heights[0] + 100, "the falling line falls"
    assert progress_picture(lines) == progress_picture(lines)
    for few in ([], lines[:1], [{"step": 0, "losses": {}}], [{"step": 0, "losses": {"zero": 0.0}}]):
        assert Image.open(io.BytesIO(progress_picture(few))).size[0] == 1000
    many = [{"step": i, "losses": {"a very long name of a loss " * 3: 1.0 + i}} for i in range(5000)]
    assert Image.open(io.BytesIO(progress_picture(many))).size == (1000, 250)


def test_the_course_hands_its_gradients_on(tmp_path):
    refine(dataclasses.replace(BUSY, steps=1), checkpoint_folder=tmp_path)
    (line,) = log_of(tmp_path)
    assert set(line["gradients"]) == set(line["losses"]) and line["gradients"]["distillation"] > 0
    assert gradient_norm(torch.tensor(1.0), []) == 0.0
