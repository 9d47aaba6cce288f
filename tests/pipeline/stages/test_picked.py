"""``image.pick``: a candidate chosen by hand goes on, drawn by a run that left the choice open or anew, to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.batch.reuse import sharing
from slipcast.pipeline.make import MakeResult, make
from slipcast.pipeline.report.reading import read_told
from slipcast.pipeline.report.run_page import run_page
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.stages.table import STAGES

PROMPT = "a blue and white porcelain vase"
SMALL = ("image.steps=2", "image.candidates=2")


def _make(out: Path, name: str, *settings: str) -> MakeResult:
    config = load_config("starter", [*SMALL, *settings])
    plain = out / "plain-0"
    return make(
        PROMPT, config, resume=out / name, until_stage="image", console=Quiet(), stages=sharing(STAGES, plain)
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one that drew candidates and left the choice open."""
    out = tmp_path_factory.mktemp("runs")
    _make(out, "plain-0")
    return out


@pytest.mark.slow
def test_the_drawings_are_those_that_were_made_and_the_picked_one_goes_on(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = 1 - _chosen(drawn / "plain-0")
    alone = _make(tmp_path, "alone", f"image.pick={other}").folder
    monkeypatch.setattr("slipcast.pipeline.stages.image.draw", None)  # drawing again would fail
    shared = _make(drawn, "plain-0-12345678", f"image.pick={other}").folder
    for name in ("image.png", "candidates.png", "image.json"):
        assert (shared / name).read_bytes() == (alone / name).read_bytes(), name
    assert (shared / "candidates.png").read_bytes() == (
        drawn / "plain-0/10-image/candidates.png"
    ).read_bytes()
    assert (shared / "image.png").read_bytes() != (drawn / "plain-0/10-image/image.png").read_bytes()
    assert _chosen(drawn / "plain-0-12345678") == other


def test_what_is_picked_is_that_tile_of_the_row(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipcast.pipeline.stages.image.draw", None)
    row = np.asarray(Image.open(drawn / "plain-0/10-image/candidates.png").convert("RGB"), np.int32)
    side = row.shape[0]
    for number in range(2):
        folder = _make(drawn, f"plain-0-0000000{number}", f"image.pick={number}").folder
        picture = np.asarray(Image.open(folder / "image.png"), np.int32)
        solid = picture[..., 3] == 255
        assert solid.mean() > 0.02
        tiles = (row[:, one * side : (one + 1) * side] for one in range(2))
        # The rim's colours are freed of the background, so tiles are compared as wholes.
        apart = [np.abs(picture[..., :3] - tile)[solid].mean() for tile in tiles]
        assert np.argmin(apart) == number and apart[number] < 12, apart


def test_an_edited_drawing_is_not_taken(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn / "plain-0", tmp_path / "plain-0")
    row = tmp_path / "plain-0/10-image/candidates.png"
    Image.new("RGB", (96, 32)).save(row)
    again = _make(tmp_path, "plain-0-12345678", "image.pick=0").folder
    assert (again / "candidates.png").read_bytes() == (drawn / "plain-0/10-image/candidates.png").read_bytes()


def test_the_report_shows_all_of_them(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipcast.pipeline.stages.image.draw", None)
    _make(drawn, "plain-0-aaaaaaaa", "image.pick=1")
    page = run_page(read_told(drawn / "plain-0-aaaaaaaa"))
    assert (
        page.count('alt="Candidate ') == 2
        and "number 0" in page
        and "rank" not in page.split("Candidates")[1][:900]
    )


def test_a_number_that_is_none_of_the_candidates_is_told_before_anything_is_drawn() -> None:
    with pytest.raises(
        BadInput, match=r"image\.pick=4 is none of the candidates: image\.candidates=4 are numbered"
    ):
        load_config("starter", ["image.pick=4"])
    with pytest.raises(BadInput, match=r"image\.pick"):
        load_config("starter", ["image.pick=-1"])


def test_runs_that_pick_nothing_keep_their_keys() -> None:
    (stage,) = (stage for stage in STAGES if stage.name == "image")
    assert "pick" not in stage.settings(MakeConfig())
    assert stage.settings(load_config("starter", ["image.pick=0"]))["pick"] == 0


def _chosen(run: Path) -> int:
    stage = read_told(run).stage("image")
    assert stage is not None
    return stage.facts["chosen"]
