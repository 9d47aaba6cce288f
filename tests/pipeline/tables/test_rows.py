"""From cells to rows, and to what the papers state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from slipcast.configs.errors import BadInput
from slipcast.pipeline.tables.cells import Kept
from slipcast.pipeline.tables.page import write_page
from slipcast.pipeline.tables.rows import figure, orderings, row
from slipcast.pipeline.tables.scales import QUICK, SD15, STARTER, scale_named
from slipcast.pipeline.tables.store import Store
from slipcast.pipeline.tables.tables import seeds_of


def kept(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Kept]:
    return {name: Kept(dict(found), 1.0, {}) for name, found in figures.items()}


@given(some.lists(some.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_an_interval_contains_its_mean(values) -> None:
    found = figure(values, [[v - 1, v + 1] for v in values])
    assert found.low is not None and found.high is not None
    assert found.low <= found.mean <= found.high and found.seeds == len(values)


def test_the_interval_over_seeds_is_students() -> None:
    """Three seeds 1, 2, 3: 2 +- 4.303 / sqrt(3)."""
    found = figure([1.0, 2.0, 3.0])
    assert found.mean == 2 and found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), rel=1e-5)
    assert figure([4.0]) == figure([4.0], ()) and str(figure([4.0])) == "4.00"


def test_a_row_takes_the_cells_of_its_own_seeds_alone() -> None:
    cells = kept(
        {"table1/full-0": {"fd": 1.0}, "table1/full-1": {"fd": 3.0}, "table1/full-size-0": {"fd": 9.0}}
    )
    found = row(cells, "table1/full", "fd")
    assert found is not None and (found.mean, found.seeds) == (2.0, 2)
    assert row(cells, "table1/full", "align") is None


def test_the_interval_of_a_share_is_one_of_shares() -> None:
    cells = kept({f"table1/full-{seed}": {"align_known": v, "fd": v} for seed, v in enumerate((0.1, 0.9))})
    share, distance = (row(cells, "table1/full", column) for column in ("align_known", "fd"))
    assert share is not None and (share.low, share.mean, share.high) == (0, 0.5, 1)
    assert distance is not None and distance.high is not None and distance.high > 1


def outcome(ours: float, full: float, unguided: float) -> dict[str, Kept]:
    nets = ("fd_lite0", "fd_lite1")
    cells: dict[str, dict[str, float]] = {
        "table1/null-text-0": {**dict.fromkeys(nets, ours), "align": 0.7},
        "table1/full-0": {
            **dict.fromkeys(nets, full),
            **{f"unguided_{net}": unguided for net in nets},
            "align": 0.4,
        },
        "table1/prior-0": {"align": 0.75},
    }
    return kept(cells)


@pytest.mark.parametrize(("full", "unguided", "held"), [(30, 25, True), (30, 15, False), (15, 30, False)])
def test_ours_is_compared_with_the_better_way_of_each_other_method(full, unguided, held) -> None:
    told = {one.stated: one for one in orderings(outcome(20, full, unguided), STARTER)}
    best = [one for stated, one in told.items() if stated.startswith("ours has the lowest")]
    assert [one.held for one in best] == [held, held] and "full" in best[0].by
    assert told["ours is aligned at least 0.20 better than full fine-tuning"].held
    assert told["ours is aligned within 0.10 of the prior itself"].held


def two_guidances(cfg: tuple[float, ...], dog: tuple[float, ...]) -> dict[str, Kept]:
    return kept(
        {
            f"strength/{guide}-2-{seed}": {"fd_lite0": value}
            for guide, values in (("cfg", cfg), ("dog", dog))
            for seed, value in enumerate(values)
        }
    )


@pytest.mark.parametrize(
    ("cfg", "dog", "outcome", "count"),
    [
        # What seeds have in common cancels: a gain of 1 in each is a sure one, however far the seeds lie apart.
        ((10.0, 50.0, 90.0), (9.0, 48.9, 89.1), "yes", 3),
        ((10.0, 50.0, 90.0), (11.0, 51.1, 90.9), "no", 0),
        ((10.0, 50.0, 90.0), (2.0, 51.0, 89.0), "yes, but seeds differ by more", 2),
        ((10.0, 50.0, 90.0), (18.0, 49.0, 91.0), "no, but seeds differ by more", 1),
    ],
)
def test_rows_are_compared_seed_by_seed(cfg, dog, outcome, count) -> None:
    told = [one for one in orderings(two_guidances(cfg, dog), STARTER) if "DoG" in one.stated]
    assert [one.outcome for one in told] == [outcome]
    assert f"as stated in {count} of 3 seeds" in told[0].by


def test_seeds_that_one_row_has_not_yet_are_not_compared() -> None:
    [told] = [
        one
        for one in orderings(two_guidances((10.0, 900.0), (9.0,)), STARTER)
        if one.stated.startswith("DoG")
    ]
    assert told.held and told.by.endswith("by -1.00, one seed")


def test_a_page_shows_what_is_swept_as_curves(tmp_path) -> None:
    cells = two_guidances((30.0, 31.0), (20.0, 21.0)) | kept(
        {f"strength/none-1-{seed}": {"fd_lite0": 40.0} for seed in range(2)}
    )
    store = Store(tmp_path / "out", "starter", "base", {})
    write_page(tmp_path / "results.md", cells, store, STARTER, "command")
    text = (tmp_path / "results.md").read_text()
    assert "pictures/results-strength-curves.png" in text and "forgetting" not in text.lower()
    assert (tmp_path / "pictures/results-strength-curves.png").is_file()


def test_a_page_has_the_figures_the_command_and_says_when_it_is_quick(tmp_path) -> None:
    cells = outcome(20, 30, 25)
    for scale in (STARTER, QUICK):
        store = Store(tmp_path / scale.name, "starter", "base", {})
        write_page(tmp_path / "docs/results.md", cells, store, scale, "slipcast eval paper-tables")
        text = (tmp_path / "docs/results.md").read_text()
        assert ("no results" in text) == (scale is QUICK)
        assert "slipcast eval paper-tables" in text and "| full |" in text and "20.0" in text
        assert "Assets" not in text  # no cells, no table


def test_a_page_names_every_commit_and_machine_that_its_cells_are_from(tmp_path) -> None:
    """What was stopped may go on after a change of the code, or on another machine."""
    origins = [
        {"commit": "abc123", "cores": 2},
        {"commit": "0a1b2c", "cores": 2},
        {"commit": "abc123", "cores": 8},
    ]
    named = zip(outcome(20, 30, 25).items(), origins, strict=True)
    cells = {name: Kept(one.figures, 1800.0, made) for (name, one), made in named}
    page, place = tmp_path / "page.md", Store(tmp_path / "out", "starter", "base", {})
    write_page(page, cells, place, STARTER, "command", missing=7)
    text = page.read_text()
    assert "7 cells are not computed yet" in text
    assert "2 cells, 1.00 hours: cores 2; commit abc123, 0a1b2c\n" in text
    assert "1 cells, 0.50 hours: cores 8; commit abc123\n" in text


def test_scales_and_seeds_are_refused_in_a_sentence() -> None:
    assert scale_named("starter", quick=True, seeds=(3,)).seeds == (3,)
    assert (SD15.steps, SD15.batch, SD15.sample_steps, SD15.samples) == (100_000, 32, 100, 50_000)
    with pytest.raises(BadInput, match="sd15"):
        scale_named("sd51")
    with pytest.raises(BadInput, match="--quick"):
        scale_named("sd15", quick=True)
    for text in ("a", "1,1", "", "1;2"):
        with pytest.raises(BadInput, match="--seeds"):
            seeds_of(text)
    assert seeds_of("0, 2") == (0, 2) and seeds_of(None) is None


def test_no_picture_of_the_words_is_learned_from(tmp_path: Path) -> None:
    from slipcast.starter.dataset import NOUNS
    from slipcast.starter.generator.objects import HELD_OUT

    assert set(STARTER.held_out) == set(HELD_OUT) and set(STARTER.words) <= set(NOUNS)
    assert not set(STARTER.known) & set(HELD_OUT)
