"""Pictures to learn from, trainings as processes of their own, and their pages."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes.studio_assets
import numpy as np
import pytest
from fakes.studio_assets import ME
from PIL import Image

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

from starlette.testclient import TestClient

from slipcast.configs.errors import BadInput
from slipcast.pipeline.domains.settings import Settings
from slipcast.pipeline.studio import picture_sets, trainings
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.domain_form import FIELDS, MORE, training_words
from slipcast.pipeline.studio.picture_sets import add_pictures, find_set, new_set
from slipcast.pipeline.studio.plots import plot
from slipcast.pipeline.studio.processes import living
from slipcast.pipeline.studio.reading import read_set
from slipcast.pipeline.studio.trainings import (
    resume_training,
    start_training,
    stop_training,
    training_seen,
)

EVIL = "<script>alert(1)<script>.png"


@pytest.fixture(autouse=True)
def _own_domains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPCAST_DOMAINS", str(tmp_path / "domains"))
    monkeypatch.setattr(trainings, "PROGRAM", tuple(ME))


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def picture(seed: int, width: int = 40, height: int = 40) -> bytes:
    held = io.BytesIO()
    rgb = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(rgb).save(held, "PNG")
    return held.getvalue()


SENT = [(f"pot {n}.png", picture(n)) for n in range(5)] + [("wide.png", picture(9, 80))]


@pytest.fixture
def quiet_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a set by itself."""
    monkeypatch.setattr(picture_sets, "start_noted", lambda *given, **named: None)


# Pictures


@pytest.mark.usefixtures("quiet_reader")
def test_pictures_are_kept_under_names_of_ours_and_read_with_theirs(desk: Desk) -> None:
    name = new_set(desk)
    odd = [("../../etc/passwd", b"root"), (EVIL, picture(0)), ("dot.png", picture(3, 8, 8))]
    add_pictures(desk, name, [*SENT, *odd])
    found = find_set(desk, name)
    assert found is not None and found.reading is None, "it is being read"
    assert all(path.parent == found.pictures for path in found.pictures.iterdir())
    assert len(list(found.pictures.iterdir())) == 7 and sorted(found.names.values())[0] == "dot.png"
    whys = dict(found.refused)
    assert "is no picture that can be read" in whys["../../etc/passwd"]
    assert whys[EVIL] == "is the same as pot 0.png, byte by byte"
    read_set(found.folder)
    found = find_set(desk, name)
    assert found is not None and found.reading is not None
    assert (found.reading["count"], found.reading["held_out"], found.reading["few"]) == (6, 1, True)
    assert found.reading["shapes"] == {"square": 5, "wide": 1}
    assert (found.reading["smallest"], found.reading["largest"]) == (40, 80)
    (left,) = found.reading["left_out"]["smaller than 32 pixels"]
    assert found.names[left] == "dot.png"
    add_pictures(desk, name, [("more.png", picture(20))])
    again = find_set(desk, name)
    assert again is not None and again.reading is None, "what was added is to be read too"


@pytest.mark.usefixtures("quiet_reader")
def test_too_few_pictures_are_a_sentence(desk: Desk) -> None:
    name = new_set(desk)
    add_pictures(desk, name, SENT[:2])
    found = find_set(desk, name)
    assert found is not None
    read_set(found.folder)
    found = find_set(desk, name)
    assert found is not None and found.reading is not None
    assert found.reading["error"].startswith("holds 2 different pictures to learn from, and 4 are the least")


@pytest.mark.slow
def test_a_set_is_read_by_a_process_of_its_own(desk: Desk) -> None:
    name = new_set(desk)
    add_pictures(desk, name, SENT)
    until(lambda: (found := find_set(desk, name)) is not None and found.reading is not None, 200)


@pytest.mark.parametrize("name", ["a..b", "zz", "0" * 11, "0" * 13, "A" * 12])
def test_a_set_is_no_path(desk: Desk, client: TestClient, name: str) -> None:
    assert find_set(desk, name) is None
    assert client.get(f"/domains/pictures/{name}").status_code == 404
    with pytest.raises(BadInput, match="there is no such set"):
        add_pictures(desk, name, SENT)


@pytest.mark.usefixtures("quiet_reader")
def test_an_upload_leads_to_the_set_and_everything_in_it_is_escaped(client: TestClient, desk: Desk) -> None:
    files = [("pictures", (name, data)) for name, data in [*SENT, (EVIL, picture(30)), (f"{EVIL}2", b"no")]]
    sent = client.post("/domains/pictures", files=files)
    assert sent.status_code == 303
    page = client.get(sent.headers["location"])
    assert "Reading 7 pictures" in page.text and "<script>alert" not in page.text
    assert 'alt="&lt;script&gt;alert(1)&lt;script&gt;.png"' in page.text and "is no picture" in page.text
    name = sent.headers["location"].rpartition("/")[2]
    assert client.get(f"/domains/pictures/{name}/state").json()["rests"] is False
    found = find_set(desk, name)
    assert found is not None
    read_set(found.folder)
    told = client.get(f"/domains/pictures/{name}/state").json()
    assert told["rests"] and told["spoken"] == "7 different pictures to learn from."
    more = client.post("/domains/pictures", data={"set": name}, files=[("pictures", ("a.png", picture(31)))])
    assert more.headers["location"] == sent.headers["location"]
    small = next((found.folder / "small").iterdir())
    got = client.get(f"/domains/pictures/{name}/small/{small.stem}")
    assert got.content == small.read_bytes()
    assert client.get(f"/domains/pictures/{name}/small/..%2ftold").status_code == 404


def test_an_empty_and_an_oversized_upload_are_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipcast.pipeline.studio import picture_set_page

    empty = client.post("/domains/pictures", data={"set": ""})
    assert empty.status_code == 422 and 'id="pictures-error"' in empty.text
    monkeypatch.setattr(picture_set_page, "MOST_BYTES", 1000)
    large = client.post("/domains/pictures", files=[("pictures", ("a.png", picture(1)))])
    assert large.status_code == 413 and "larger than the 0.001 MB" in large.text
    monkeypatch.setattr(picture_set_page, "MOST_BYTES", 10**6)
    monkeypatch.setattr(picture_set_page, "MOST_FILES", 2)
    many = client.post("/domains/pictures", files=[("pictures", (f"{n}.png", b"x")) for n in range(3)])
    assert many.status_code == 400


# The form


def typed(**given: str) -> dict[str, str]:
    return dict.fromkeys(FIELDS, "") | {"name": "clay", "licence": "MIT"} | given


def test_the_form_says_what_the_command_takes() -> None:
    words, errors = training_words(
        typed(
            base="sd15",
            prompt="-- a jug",
            steps="7",
            method="lora",
            aspect="pad",
            more="batch=8\n--word = cup",
        ),
        Path("/p"),
    )
    assert errors == {}
    assert words == [
        "/p", "--licence=MIT", "--base=sd15", "--steps=7", "--method=lora", "--aspect=pad", "--prompt=-- a jug",
        "--batch=8", "--word=cup",
    ]  # fmt: skip


def test_every_further_option_is_one_of_the_command() -> None:
    import inspect

    from slipcast.pipeline.cli.domain import train

    assert {name.replace("-", "_") for name in MORE} <= set(inspect.signature(train).parameters)
    assert {"name", "licence", "base", "prompt", "method", "steps", "aspect"} <= set(Settings.__annotations__)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "letters, digits"),
        ("name", "../x", "letters, digits"),
        ("name", "starter", "taken by slipcast itself"),
        ("name", "there", "never overwritten"),
        ("licence", "", "under which terms"),
        ("steps", "0", "from 1 up"),
        ("steps", "-3", "from 1 up"),
        ("method", "magic", "method"),
        ("aspect", "round", "aspect"),
        ("more", "batch", "batch=8"),
        ("more", "--out=/etc", "option"),
        ("more", "licence=MIT", "option"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(tmp_path: Path, field: str, value: str, said: str) -> None:
    (tmp_path / "domains" / "there").mkdir(parents=True)
    _, errors = training_words(typed(**{field: value}), Path("/p"))
    assert list(errors) == [field] and said in errors[field]


# Trainings


def start(desk: Desk, name: str = "clay", steps: int = 20) -> None:
    start_training(desk, name, ["pictures", "--licence=MIT", "--base=starter", f"--steps={steps}"])


def seen(desk: Desk, name: str = "clay") -> trainings.Training:
    found = training_seen(desk, name)
    assert found is not None
    return found


def test_a_training_is_a_process_that_is_stopped_and_goes_on_to_its_end(desk: Desk) -> None:
    start(desk, steps=60)
    assert seen(desk).state == "running"
    for again in (lambda: start(desk, "other"), lambda: resume_training(desk, "clay")):
        with pytest.raises(BadInput, match="the training of 'clay' is at work"):
            again()
    until(lambda: len(seen(desk).evaluations) > 1)
    stop_training(desk, "clay")
    assert seen(desk).state in ("stopping", "stopped")
    until(lambda: seen(desk).is_over)
    stopped = seen(desk)
    assert stopped.state == "stopped" and stopped.error is None and stopped.steps == 60
    assert stopped.step is not None and 0 < stopped.step < 60
    with pytest.raises(BadInput, match="is not at work"):
        stop_training(desk, "clay")
    resume_training(desk, "clay")
    until(lambda: seen(desk).is_over)
    ended = seen(desk)
    assert (ended.state, ended.step) == ("finished", 60)
    assert [one["at"] for one in ended.evaluations] == list(range(0, 61, 5))
    assert ended.evaluations[-1]["loss"] == pytest.approx(0.3) and ended.losses[-1] == (
        60,
        pytest.approx(0.4),
    )
    with pytest.raises(BadInput, match="never overwritten"):
        start(desk)


def test_a_training_that_is_killed_is_stopped_and_one_that_fails_says_why(desk: Desk) -> None:
    start(desk, steps=500)
    until(lambda: len(seen(desk).evaluations) > 1)
    told = living(desk.folder / "trainings" / "clay.json")
    assert told is not None
    os.kill(told["pid"], 9)
    until(lambda: seen(desk).is_over)
    assert seen(desk).state == "stopped" and seen(desk).error is None
    start(desk, "fail")
    until(lambda: seen(desk, "fail").is_over)
    assert (seen(desk, "fail").state, seen(desk, "fail").error) == ("failed", "the base is not here")


def test_it_is_told_that_nothing_is_learned_until_something_is(desk: Desk) -> None:
    log = desk.folder / "trainings" / "clay.log"
    log.parent.mkdir(parents=True)
    lines = [
        "domain ...",
        "note: step 0: held-out loss 0.2",
        "note: step 5: held-out loss 0.3",
        "note: it is not learning: x",
    ]
    log.write_text("\n".join(lines))
    assert not seen(desk).learning and "it is not learning: x" not in seen(desk).notes
    log.write_text("\n".join([*lines, "note: step 10: held-out loss 0.1"]))
    assert seen(desk).learning


def test_what_it_is_at_is_read_from_its_last_line(desk: Desk) -> None:
    log = desk.folder / "trainings" / "clay.log"
    log.parent.mkdir(parents=True)
    work = Path(os.environ["SLIPCAST_DOMAINS"]) / "clay.training"
    work.mkdir(parents=True)
    told = {"settings": {"name": "clay"}, "stretches": [{"steps": 40}, {"steps": 60}]}
    (work / "settings.json").write_text(json.dumps(told))
    log.write_text("domain ...\ndomain: training up to step 60 of 100 5/20, about 44 s left\n")
    found = seen(desk)
    assert (found.what, found.done, found.total, found.left_s) == ("training up to step 60 of 100", 5, 20, 44)
    assert (found.step, found.steps) == (45, 100)
    (work / "settings.json").write_text("{")
    (work / "evaluations.json").write_text('[{"stretch": 7}]')
    assert seen(desk).steps is None and seen(desk).evaluations == []


def test_a_real_command_says_in_its_log_why_it_cannot_begin(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainings, "PROGRAM", (sys.executable, "-m", "slipcast.pipeline.cli.app"))
    start_training(desk, "clay", ["/nowhere", "--licence=MIT", "--ema=7"])
    until(lambda: seen(desk).is_over, 200)
    assert seen(desk).error is not None and "--ema expects a number from 0" in str(seen(desk).error)


# Pages


def test_the_list_shows_what_ships_what_was_learned_and_what_is_not_finished(
    client: TestClient, desk: Desk
) -> None:
    start(desk, "blue clay", steps=5)
    assert "training</span>" in client.get("/domains").text
    until(lambda: seen(desk, "blue clay").is_over)
    start(desk, "fail")
    until(lambda: seen(desk, "fail").is_over)
    page = client.get("/domains").text
    assert 'href="/domains/of/starter"' in page and 'href="/domains/of/blue%20clay"' in page
    assert "/domains/of/blue%20clay/samples/1-000005.png" in page and "+40.0 %" in page
    (Path(os.environ["SLIPCAST_DOMAINS"]) / "blue clay" / "domain.json").write_text("{")
    assert "damaged" in client.get("/domains").text


def test_a_domains_page_has_its_card_its_samples_and_its_courses(client: TestClient, desk: Desk) -> None:
    sent = client.post("/domains/of/clay/stop")
    assert sent.status_code == 422
    assert client.get("/domains/of/clay").status_code == 404
    start(desk, steps=10)
    running = client.get("/domains/of/clay/state").json()
    assert running["rests"] is False and running["spoken"] == "The training is running."
    until(lambda: seen(desk).is_over)
    page = client.get("/domains/of/clay").text
    assert "finished" in page and 'href="/?domain=clay&amp;base=starter"' in page
    assert 'aria-label="Denoising loss by step"' in page and "Frechet distance to held-out" in page
    sheet = client.get("/domains/of/clay/samples/1-000010.png")
    assert sheet.status_code == 200 and sheet.content[:4] == b"\x89PNG"
    for path in (
        "/domains/of/clay/samples/..%2f..%2fclay%2fdomain.json",
        "/domains/of/clay/report",
        "/domains/of/a%2fb",
    ):
        assert client.get(path).status_code == 404, path
    versions = {name: part["version"] for name, part in running["parts"].items()}
    told = client.get("/domains/of/clay/state").json()
    known = client.get(
        "/domains/of/clay/state", params={n: p["version"] for n, p in told["parts"].items()}
    ).json()
    assert known["parts"] == {} and versions["head"] != told["parts"]["head"]["version"]
    starter = client.get("/domains/of/starter").text
    assert "Apache-2.0" in starter and "Use in Make" in starter


@pytest.mark.usefixtures("quiet_reader")
def test_the_form_of_a_training_starts_it_or_tells_what_is_wrong(client: TestClient, desk: Desk) -> None:
    name = new_set(desk)
    add_pictures(desk, name, SENT)
    wrong = client.post(
        f"/domains/pictures/{name}/train", data={"name": "clay", "prompt": EVIL, "steps": "x"}
    )
    assert (
        wrong.status_code == 422 and 'id="licence-error"' in wrong.text and 'id="steps-error"' in wrong.text
    )
    assert 'value="clay"' in wrong.text and "<script>alert" not in wrong.text
    sent = client.post(
        f"/domains/pictures/{name}/train", data={"name": "clay", "licence": "MIT", "steps": "3"}
    )
    assert (sent.status_code, sent.headers["location"]) == (303, "/domains/of/clay")
    until(lambda: seen(desk).is_over)
    assert seen(desk).settings["licence"] == "MIT"


def test_a_plot_has_a_name_a_legend_and_its_numbers() -> None:
    drawn = plot({"a <b>": [(0, 1.0), (5, 0.5)], "c": [(5, float("nan"))]}, "Loss & more")
    assert 'aria-label="Loss &amp; more by step"' in drawn and "a &lt;b&gt;" in drawn and "<b>" not in drawn
    assert "0.5</td>" in drawn and "nan" not in drawn
    assert plot({"a": []}, "x") == "" and plot({"a": [(0, float("inf"))]}, "x") == ""
    flat = plot({"a": [(0, 2.0), (1, 2.0)]}, "flat")
    assert "polyline" in flat and "nan" not in flat
    assert fakes.studio_assets.colour(0) != fakes.studio_assets.colour(1)
