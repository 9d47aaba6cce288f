"""Numbers that change over the steps: threestudio's lists mean what they mean there, and others are refused."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput
from slipcast.configs.limits import check_limits
from slipcast.configs.loading import load_config
from slipcast.configs.over_steps import Number, changes, check_schedule, exceeds, number_at, values_of
from slipcast.configs.schema import MakeConfig, RefineConfig
from slipcast.configs.typed import build
from slipcast.pipeline.stages.table import STAGES

VALUES = st.floats(-1e3, 1e3)


def theirs(value, step):
    """threestudio's ``C`` (utils/misc.py), in our own words: the segment around a step, clamped at both ends."""
    value = [0, *value] if len(value) == 3 else list(value)
    start, first = value[0], value[1]
    segments = []
    for target, end in zip(value[2::2], value[3::2], strict=True):
        segments.append((start, first, target, end))
        start, first = end, target
    chosen = next((one for one in segments if step < one[3]), segments[-1])
    start, first, target, end = chosen
    return first + (target - first) * max(min(1.0, (step - start) / (end - start)), 0.0)


@given(
    steps=st.lists(st.integers(0, 500), min_size=2, max_size=5, unique=True).map(sorted),
    values=st.lists(VALUES, min_size=5, max_size=5),
    step=st.integers(0, 600),
)
@settings(max_examples=50, deadline=None)
def test_law_lists_mean_what_they_mean_in_threestudio(steps, values, step) -> None:
    schedule: list[float] = [steps[0], values[0]]
    for end, value in zip(steps[1:], values[1:], strict=False):
        schedule += [value, end]
    check_schedule("key", schedule)
    assert number_at(schedule, step) == pytest.approx(theirs(schedule, step), abs=1e-9)
    for end, value in zip(steps, values, strict=False):
        assert number_at(schedule, end) == value, "its own steps are met exactly"
    assert min(values_of(schedule)) <= number_at(schedule, step) + 1e-9
    assert number_at(schedule, step) <= max(values_of(schedule)) + 1e-9


def test_the_three_forms() -> None:
    assert [number_at([1.0, 0.0, 10], step) for step in (0, 5, 10, 99)] == [1.0, 0.5, 0.0, 0.0]
    assert [number_at([4, 1.0, 0.0, 8], step) for step in (0, 4, 6, 8)] == [1.0, 1.0, 0.5, 0.0]
    assert [number_at([0, 1.0, 3.0, 2, 0.0, 5], step) for step in range(6)] == [1.0, 2.0, 3.0, 2.0, 1.0, 0.0]
    assert number_at([5000, 0.98, 0.5, 5001], 5000) == 0.98, "their way to write a step"
    assert number_at([5000, 0.98, 0.5, 5001], 5001) == 0.5
    assert number_at(0.3, 7) == 0.3 and not changes(0.3) and changes([1, 1, 1])


@given(low=st.lists(VALUES, min_size=2, max_size=2), high=st.lists(VALUES, min_size=2, max_size=2))
@settings(max_examples=50, deadline=None)
def test_law_one_exceeds_the_other_where_it_does(low, high) -> None:
    one: Number = [2, *low, 7]
    other: Number = [*high, 5]
    step = exceeds(one, other)
    above = [i for i in range(20) if number_at(one, i) > number_at(other, i) + 1e-9]
    assert not above or step is not None
    assert step is None or number_at(one, step) > number_at(other, step)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1.0, 2.0], "expects a number or a schedule .*, not 2 numbers"),
        ([], "not 0 numbers"),
        ([0, 1, 2, 3, 4], "not 5 numbers"),
        ([0, 1, 2, 0], r"must rise, but 0.0 follows 0.0"),
        ([1.0, 2.0, 0], "must rise"),
        ([0, 1, 2, 10, 3, 5], "must rise"),
        ([1.0, 2.0, 10.5], "must be whole numbers"),
        ([-5, 1.0, 2.0, 10], "must be whole numbers from 0 up"),
    ],
)
def test_lists_that_are_no_schedules_are_refused_in_a_sentence(value, sentence) -> None:
    with pytest.raises(BadInput, match=f"refine.drift_weight.*{sentence}|{sentence}") as caught:
        check_limits(MakeConfig(refine=RefineConfig(drift_weight=[float(one) for one in value])))
    assert "refine.drift_weight" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("refine.t_max=[0.5, 1.5, 10]", r"refine.t_max expects at most 1, not 1.5"),
        ("refine.tv_weight=[0, -1, 1, 10]", r"refine.tv_weight expects at least 0, not -1"),
        ("refine.tv_weight=[0, x, 1, 10]", r"expects a number or a schedule such as \[start, v0, v1, end\]"),
        ("refine.tv_weight=none", r"expects a number or a schedule"),
        ("refine.tv_weight=null", r"expects a number or a schedule"),
        ("refine.views=[1, 2, 10]", r"refine.views .*expects a whole number"),
        ("refine.tv_weight=[.inf, 1, 10]", r"finite"),
        (
            "refine.t_min=[0.01, 0.4, 100]",
            r"refine.t_min=.* must not exceed refine.t_max_end=0.25 \(at step 100\)",
        ),
        ("refine.t_max=[0.4, 0.01, 100]", r"refine.t_min=0.02 must not exceed .* \(at step 100\)"),
    ],
)
def test_bad_values_are_told_by_name(override, sentence) -> None:
    with pytest.raises(BadInput, match=sentence):
        load_config("starter", [override])


def test_a_schedule_of_t_max_says_its_own_end() -> None:
    config = load_config("starter", ["refine.t_min=0.2", "refine.t_max=[0.4, 0.3, 100]"])
    assert config.refine.t_max == [0.4, 0.3, 100.0], "t_max_end=0.17 is not read beside it"


def test_plain_numbers_are_what_they_were() -> None:
    (refine,) = (stage for stage in STAGES if stage.name == "refine")
    config = build(MakeConfig, [("test", {"refine": {"drift_weight": 1, "lr_color": 0.5}})])
    assert config.refine.drift_weight == 1.0 and type(config.refine.drift_weight) is float
    plain, scheduled = (
        refine.settings(dataclasses.replace(MakeConfig(), refine=RefineConfig(lr_color=rate)))["lr_color"]
        for rate in (0.05, [0.05, 0.05, 1.0])
    )
    assert plain == 0.05 and scheduled == [0.05, 0.05, 1.0], "a schedule has a key of its own"
