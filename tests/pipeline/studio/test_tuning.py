"""Pictures of the tuning page: drawn once by their settings, by a process that stays, and compared."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from fakes.studio_assets import ME
from PIL import Image

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

import re

from starlette.testclient import TestClient

from slipcast.configs.loading import load_config
from slipcast.pipeline.batch.staged import read_staged
from slipcast.pipeline.studio import sketches as sketches_module
from slipcast.pipeline.studio import tune_page
from slipcast.pipeline.studio.sketches import Sketch, Sketches, key_of

EVIL = "<script>alert(1)</script>"


def until(true: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Sketches]]:
    """Makes pictures by a quick program, for the pages too; all processes end with the test."""
    monkeypatch.setattr(sketches_module, "PROGRAM", (*ME, "sketch"))
    monkeypatch.setenv("SLIPCAST_DOMAINS", str(tmp_path / "domains"))
    made: list[Sketches] = []

    def open_one(folder: Path, program: tuple[str, ...] | None = None) -> Sketches:
        made.append(Sketches(folder, program))
        return made[-1]

    monkeypatch.setattr(tune_page, "Sketches", open_one)
    yield open_one
    for one in made:
        one.close()


@pytest.fixture
def sketches(opened: Callable[..., Sketches], tmp_path: Path) -> Sketches:
    return opened(tmp_path / "sketches")


def values(prompt: str = "a jug", /, **overrides: Any) -> dict[str, Any]:
    return {"prompt": prompt, "seed": 0, "config": "starter", "overrides": overrides}


def done(sketches: Sketches, key: str) -> Sketch:
    until(lambda: (found := sketches.look(key)) is not None and found.state in ("done", "failed"))
    found = sketches.look(key)
    assert found is not None
    return found


def test_a_picture_is_drawn_once_by_its_settings(sketches: Sketches, opened: Callable[..., Sketches]) -> None:
    asked = values("a jug", **{"image.domain_weight": 3.0})
    key = sketches.ask(asked)
    assert done(sketches, key).told["weights"] == {"domain": 3.0, "text": 4.0}
    path = sketches.folder / f"{key}.png"
    made = path.stat().st_mtime_ns
    other = opened(sketches.folder)  # of a server that was started again
    assert other.ask(asked) == key and done(other, key).state == "done"
    assert path.stat().st_mtime_ns == made and other._process is None
    assert sketches.ask(values("a jug", **{"image.domain_weight": 3.5})) != key


def test_they_are_drawn_in_their_order_and_one_that_fails_is_tried_again(sketches: Sketches) -> None:
    keys = [sketches.ask(values(prompt)) for prompt in ("a", "fail", "b")]
    assert [done(sketches, key).state for key in keys] == ["done", "failed", "done"]
    assert done(sketches, keys[1]).error == "it would not"
    assert sketches.ask(values("fail")) == keys[1] and done(sketches, keys[1]).state == "failed"
    assert sketches.look("0" * 32) is None


def test_a_process_that_dies_fails_its_picture_and_the_next_one_starts_another(
    sketches: Sketches, opened: Callable[..., Sketches]
) -> None:
    first = sketches.ask(values("a"))
    done(sketches, first)
    assert sketches._process is not None
    sketches._process.kill()
    sketches._process.wait()
    assert done(sketches, sketches.ask(values("b"))).state == "done", "it is started anew"
    broken = opened(sketches.folder, ("false",))
    told = done(broken, broken.ask(values("c")))
    assert told.state == "failed" and "the process that draws ended" in str(told.error)
    missing = opened(sketches.folder, ("/nowhere/at/all",))
    assert done(missing, missing.ask(values("d"))).state == "failed"


def test_a_domain_that_was_trained_further_draws_anew(tmp_path: Path) -> None:
    asked = values(domain="clay")
    keys = [key_of(asked)]
    for text in ("{}", '{"steps": 2}'):
        (tmp_path / "domains" / "clay").mkdir(parents=True, exist_ok=True)
        (tmp_path / "domains" / "clay" / "domain.json").write_text(text)
        keys.append(key_of(asked))
    assert len(set(keys)) == 3 and key_of(asked) == keys[2]


# The page


def cells(page: str) -> list[dict[str, str]]:
    return [json.loads(html.unescape(one)) for one in re.findall(r'data-cell="([^"]*)"', page)]


def test_the_page_holds_both_sides_and_the_strip(client: TestClient) -> None:
    empty = client.get("/tune").text
    assert "Say what to draw" in empty and cells(empty) == []
    asked = {"prompt": EVIL, "seed": "4", "a_text_weight": "6", "vary": "text_weight", "values": "1, 3"}
    page = client.get("/tune", params=asked).text
    a, b, *strip = cells(page)
    assert (a["prompt"], a["seed"], a["text_weight"], a["domain_weight"]) == (EVIL, "4", "6", "")
    assert (b["text_weight"], b["domain_weight"]) == ("", "0")
    assert [one["text_weight"] for one in strip] == ["1", "3"] and "<script>alert" not in page
    links = [html.unescape(one) for one in re.findall(r'<a href="(/tune\?[^"]*)"', page)]
    assert [parse_qs(urlparse(one).query).get("a_text_weight") for one in links] == [
        ["1"],
        ["6"],
        ["3"],
        ["6"],
    ]
    assert [parse_qs(urlparse(one).query).get("b_text_weight") for one in links] == [None, ["1"], None, ["3"]]


def test_a_cell_is_drawn_and_told(client: TestClient) -> None:
    cell = {"prompt": "a jug", "seed": "1", "domain_weight": "2.5", "steps": "3"}
    told = client.post("/tune/draw", data=cell).json()
    assert told["state"] in ("waiting", "drawing", "done")
    where = f"/tune/drawn/{told['key']}"
    until(lambda: client.get(where).json()["state"] == "done")
    told = client.get(where).json()
    assert "domain 2.5" in told["caption"]
    assert client.get(told["picture"]).headers["content-type"] == "image/png"
    other = client.post("/tune/draw", data=cell | {"domain_weight": "5"}).json()["key"]
    until(lambda: client.get(f"/tune/drawn/{other}").json()["state"] == "done")
    norms = client.get("/tune/norms", params={"a": told["key"], "b": other}).json()
    assert "domain - null" in norms["a"] and ">25</text>" not in norms["a"]
    tops = [re.findall(r'text-anchor="end">([\d.]+)<', norms[side])[-2] for side in "ab"]
    assert tops[0] == tops[1], "both are drawn on one scale"
    assert client.get("/tune/norms").json() == {"a": "", "b": ""}


@pytest.mark.parametrize("path", ["/tune/drawn/{}", "/tune/pictures/{}"])
@pytest.mark.parametrize("key", ["0" * 32, "x", "..%2f..%2fserver"])
def test_what_nobody_asked_for_is_not_there(client: TestClient, path: str, key: str) -> None:
    assert client.get(path.format(key)).status_code == 404


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"steps": "0"}, "steps", "from 1 to 100"),
        ({"steps": "many"}, "steps", "from 1 to 100"),
        ({"values": ""}, "values", "1 to 8 values"),
        ({"values": "1 2 3 4 5 6 7 8 9"}, "values", "1 to 8 values"),
        ({"values": "1 x"}, "values", "expects a number"),
        ({"a_domain_weight": "x"}, "a_domain_weight", "expects a number"),
        ({"b_strength": "-1"}, "b_strength", "at least 0"),
        ({"seed": "-1"}, "seed", "whole number"),
        ({"preset": "none such"}, "preset", "no preset"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field_and_nothing_is_drawn(
    client: TestClient, asked: dict[str, str], field: str, said: str
) -> None:
    page = client.get("/tune", params={"prompt": "a jug", **asked})
    assert page.status_code == 422 and cells(page.text) == []
    (told,) = re.findall(rf'id="{field}-error">([^<]*)<', page.text)
    assert said in html.unescape(told)
    if field not in ("values",):
        cell = {name.removeprefix("a_").removeprefix("b_"): value for name, value in asked.items()}
        answer = client.post(
            "/tune/draw", data={"prompt": "a jug", **cell}, headers={"Accept": "application/json"}
        )
        assert answer.status_code == 422 and said in answer.json()["error"]


def test_the_settings_are_a_file_that_slipcast_run_takes_and_the_form_of_make(
    client: TestClient, tmp_path: Path
) -> None:
    asked = {
        "prompt": "a jug: blue",
        "seed": "7",
        "preset": "smoke",
        "b_domain_weight": "3",
        "b_strength": "0.5",
    }
    page = client.get("/tune", params=asked).text
    file, make = (
        [html.unescape(one) for one in re.findall(rf'href="({start}\?[^"]*)"', page)][1]
        for start in ("/tune/settings.yaml", "/")
    )
    answer = client.get(file)
    assert "attachment" in answer.headers["content-disposition"]
    (tmp_path / "tuned.yaml").write_bytes(answer.content)
    (run,) = read_staged(tmp_path / "tuned.yaml", out=tmp_path / "runs")
    expected = load_config("smoke", ["image.domain_weight=3", "domain_strength=0.5"])
    assert (run.prompt, run.seed, run.config) == ("a jug: blue", 7, expected), (
        "without the few steps of a sketch"
    )
    form = client.get(make).text
    assert 'name="domain_weight"' in form and 'value="3"' in form and 'value="7"' in form
    assert '<option value="smoke" selected>' in form


def test_a_sketch_is_the_first_candidate_of_make_and_its_pushes_are_told(tmp_path: Path) -> None:
    """The real process's part, in this one: two steps of the starter."""
    from slipcast.pipeline.drawing.pictures import draw
    from slipcast.pipeline.drawing.plan import models_for, plan_pictures
    from slipcast.pipeline.run.progress import Quiet
    from slipcast.pipeline.stages.image import picture_of
    from slipcast.pipeline.studio.sketching import Sketcher
    from slipcast.systems.guided.settled import settled

    sketcher = Sketcher(tmp_path)
    asked = values("a red vase", **{"image.steps": 2, "image.domain_weight": 1.5})
    sketcher.draw("0" * 32, asked)
    told = json.loads((tmp_path / f"{'0' * 32}.json").read_text())
    assert told["weights"]["domain"] == 1.5
    assert (
        all(len(norms) == 2 and min(norms) > 0 for norms in told["norms"].values())
        and len(told["norms"]) == 2
    )
    config = load_config("starter", ["image.steps=2", "image.domain_weight=1.5", "image.candidates=1"])
    store = models_for(picture_of(config, "a red vase", 0))
    picture = picture_of(settled(config, store.uses()), "a red vase", 0)
    (batch,) = draw(plan_pictures(picture, Quiet(), store), lambda: None)
    expected = (batch.pictures[0].permute(1, 2, 0).numpy() * 255 + 0.5).clip(0, 255).astype(np.uint8)
    assert (np.asarray(Image.open(tmp_path / f"{'0' * 32}.png")) == expected).all()
    (store,) = sketcher._stores.values()
    sketcher.draw("1" * 32, values("a red vase", **{"image.steps": 1, "image.domain_weight": 0.0}))
    assert list(sketcher._stores.values()) == [store], "the models stay"
    off = json.loads((tmp_path / f"{'1' * 32}.json").read_text())
    assert list(off["norms"]) == ["text - null"]
