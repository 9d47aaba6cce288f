"""``lift.keep``: several candidates are lifted, the best is kept, and everything after it is held to its picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipcast.configs.errors import SlipcastError
from slipcast.configs.loading import load_config
from slipcast.pipeline.make import make
from slipcast.pipeline.run.keys import given
from slipcast.pipeline.stages import lift as stage
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.images.files import read_subject
from slipcast.systems.lift.looks import Looks

QUICK = ["image.steps=2", "image.candidates=3", "lift.keep=2", "lift.resolution=24"]
REST = ["refine.steps=1", "refine.views=1", "refine.size=32", "refine.resolution=24", "refine.samples=16"]


def made_with(out: Path, *settings: str, until: str = "lift") -> Any:
    return make("a porcelain bowl", load_config("smoke", [*QUICK, *settings]), out=out, until_stage=until)


def test_candidates_are_lifted_ranked_and_the_chosen_picture_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    def second_is_better(grid: Any, picture: Any, elevation_rad: float) -> Looks:
        looked.append(elevation_rad)
        return Looks(0.2 + 0.6 * (len(looked) == 2), 0.1, ("too small",) if len(looked) == 1 else ())

    monkeypatch.setattr(stage, "looks_of", second_is_better)
    made = made_with(tmp_path, "image.elevation_deg=20", *REST, until="refine")
    image, lift = made.run / "10-image", made.run / "20-lift"
    told = json.loads((image / "kept.json").read_text())
    ranking = json.loads((image / "image.json").read_text())["ranking"]
    assert [one["candidate"] for one in told["kept"]] == ranking[:2]
    assert set(told["kept"][0]) == {"candidate", "text", "domain"}
    assert (image / "image.png").read_bytes() == (image / "kept-1.png").read_bytes()
    assert looked == [pytest.approx(np.radians(20))] * 2
    assert (lift / "picture.png").read_bytes() == (image / "kept-2.png").read_bytes()
    facts = made.records["lift"].facts
    assert facts["chosen"] == ranking[1]
    assert [one["candidate"] for one in facts["lifted"]] == ranking[:2]
    assert facts["lifted"][0]["faults"] == ["too small"]
    refine = next(one for one in STAGES if one.name == "refine")
    assert "lift/picture.png" in given(refine, made.records)


def test_one_candidate_is_what_it_was(tmp_path: Path) -> None:
    made = made_with(tmp_path, "lift.keep=1")
    assert not list(made.run.glob("*/kept*")) and not (made.folder / "picture.png").exists()
    assert set(made.records["lift"].facts) == {"solid_fraction"}


def test_a_candidate_that_cannot_be_lifted_is_left_out_and_none_at_all_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lifted: list[int] = []
    true_lift = stage._lift

    def first_fails(ctx: Any, candidate: Any, elevation_rad: float, folder: Path) -> Any:
        lifted.append(candidate.number)
        if len(lifted) == 1:
            raise SlipcastError("nothing solid came out")
        return true_lift(ctx, candidate, elevation_rad, folder)

    monkeypatch.setattr(stage, "_lift", first_fails)
    made = made_with(tmp_path)
    assert made.records["lift"].facts["chosen"] == lifted[1]
    monkeypatch.setattr(
        stage, "_lift", lambda *_: (_ for _ in ()).throw(SlipcastError("nothing solid came out"))
    )
    with pytest.raises(SlipcastError, match="nothing solid came out"):
        made_with(tmp_path / "other")


def test_pictures_of_ones_own_are_one_object(tmp_path: Path) -> None:
    made = made_with(tmp_path / "drawn")
    own = tmp_path / "own.png"
    shutil.copy(made.run / "10-image" / "image.png", own)
    made = made_with(tmp_path / "own", f"image.picture=[{own}]")
    assert set(made.records["lift"].facts) == {"solid_fraction"}
    assert read_subject(own).alpha.any()
