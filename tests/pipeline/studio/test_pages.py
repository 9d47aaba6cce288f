"""The pages of a queue that nobody works off, with runs drawn by hand."""

from __future__ import annotations

import io
import json
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.report_runs import draw_run, manifest
from PIL import Image

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

from starlette.testclient import TestClient

from slipcast.pipeline.batch.rows import Worker
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.now import Now

EVIL = "<script>alert(1)</script> a \"vase\" & 'jug'"


def run_of(
    desk: Desk, name: str, told: dict[str, Any] | None = None, *, state: str = "done", **drawn: Any
) -> Path:
    """Draw the run of a job, and say in the ledger what became of it."""
    row = desk.row(name)
    assert row is not None
    folder = desk.runs / row.folder
    draw_run(folder, told or manifest(row.prompt, row.seed), **drawn)
    with desk.ledger() as ledger:
        if state == "running":
            ledger.start(row.key, Worker("here", 1, 0.0))
        else:
            ledger.set_state(row.key, state, result=f"{row.folder}/50-export/a-blue-vase.glb", seconds=42.0)
    return folder


def test_the_first_page_holds_every_field_and_what_its_address_says(client: TestClient) -> None:
    page = client.get(
        "/", params={"prompt": EVIL, "preset": "smoke", "strength": "0.5", "more": "refine.steps=7"}
    )
    for name in ("prompt", "seed", "preset", "base", "domain", "loras", "strength", "negative", "text_weight",
                 "domain_weight", "candidates", "picture", "more"):  # fmt: skip
        assert f'id="{name}" name="{name}"' in page.text, name
        assert f'<label for="{name}">' in page.text, name
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text and "<script>alert" not in page.text
    assert '<option value="smoke" selected>' in page.text and "refine.steps=7</textarea>" in page.text


def test_a_form_is_queued_and_leads_to_its_job(client: TestClient, desk: Desk) -> None:
    sent = client.post("/make", data={"prompt": EVIL, "seed": "5", "how": "candidates"})
    (row,) = desk.rows()
    assert (sent.status_code, sent.headers["location"]) == (303, f"/jobs/{row.id}")
    assert (row.prompt, row.seed, row.until, row.state) == (EVIL, 5, "image", "queued")
    page = client.get(sent.headers["location"])
    assert page.status_code == 200 and "<script>alert" not in page.text and "&lt;script&gt;" in page.text
    assert "waiting" in page.text and "Next in the queue" in page.text
    again = client.post("/make", data={"prompt": EVIL, "seed": "5", "how": "candidates"})
    assert again.headers["location"] == f"/jobs/{row.id}"
    assert len(desk.rows()) == 1, "the same form sent twice is one job"
    client.post("/make", data={"prompt": EVIL, "seed": "5", "how": "whole"})
    assert [one.until for one in desk.rows()] == [None, "image"]


def test_a_form_that_errs_keeps_what_was_typed_and_queues_nothing(client: TestClient, desk: Desk) -> None:
    typed = {
        "prompt": "a vase",
        "seed": "x",
        "negative": "red\nblue",
        "strength": "0.35",
        "more": "refine.stepz=1",
    }
    page = client.post("/make", data=typed)
    assert page.status_code == 422 and desk.rows() == []
    assert 'value="x"' in page.text and "red\nblue</textarea>" in page.text and 'value="0.35"' in page.text
    assert "refine.stepz=1</textarea>" in page.text and "<details open>" in page.text
    for name in ("seed", "more"):
        assert re.search(
            rf'id="{name}"[^>]*aria-invalid="true"[^>]*aria-describedby="{name}-error', page.text
        )
        assert f'id="{name}-error"' in page.text
    assert 'role="alert"' in page.text and "2 fields need" in page.text


def test_change_the_settings_fills_the_form(client: TestClient, desk: Desk) -> None:
    client.post("/make", data={"prompt": "a vase", "text_weight": "3", "more": "refine.steps=9"})
    page = client.get("/", params={"again": desk.rows()[0].id})
    assert ">a vase</textarea>" in page.text and 'value="3"' in page.text and "refine.steps: 9" in page.text
    assert client.get("/", params={"again": "nobody"}).status_code == 200


def test_the_queue_when_it_is_empty_and_when_it_is_not(client: TestClient, desk: Desk) -> None:
    assert "Nothing is queued yet" in client.get("/jobs").text
    names = [desk.submit({"prompt": f"vase {number} a"}) for number in range(30)]
    desk.cancel(names[3])
    page, second = client.get("/jobs").text, client.get("/jobs?page=2").text
    assert "Page 1 of 2" in page and "Page 2 of 2" in second
    listed = re.findall(r'<div class="what">\s*<a href="/jobs/([^"]+)"', page + second)
    assert listed == names[::-1], "the newest first"
    assert page.count("/cancel") + second.count("/cancel") == 29 and (page + second).count("/retry") == 1
    assert "<strong>29</strong> waiting" in page and "<strong>1</strong> cancelled" in page
    for odd in ("0", "-1", "x", "99999999999"):
        assert client.get("/jobs", params={"page": odd}).status_code == 200


def test_cancel_and_try_again_go_back_to_where_they_were_asked(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    assert client.post(f"/jobs/{name}/cancel", data={"back": "queue"}).headers["location"] == "/jobs"
    assert desk.rows()[0].state == "cancelled"
    assert "Go on" in client.get(f"/jobs/{name}").text
    assert client.post(f"/jobs/{name}/retry").headers["location"] == f"/jobs/{name}"
    assert desk.rows()[0].state == "queued"
    refused = client.post(f"/jobs/{name}/retry")
    assert refused.status_code == 422 and "is queued" in refused.text
    assert client.post("/jobs/nobody/cancel").status_code == 422


def test_a_job_at_work_tells_its_stage_and_the_time_left(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = desk.submit({"prompt": "a vase"})
    told = manifest("a vase", 0, until="refine")
    told["stages"]["refine"]["status"] = "running"
    run_of(desk, name, told, state="running", mesh=False)
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    now = Now(desk.folder)
    now("started", name, attempt=1)
    now("stage", name, stage="refine", outcome="running", seconds=None)
    now("step", name, stage="refine", what="refining", done=10, total=100)
    clock[0] += 20.0
    now("step", name, stage="refine", what="refining", done=50, total=100)
    monkeypatch.undo()
    page = client.get(f"/jobs/{name}").text
    assert 'aria-valuenow="50"' in page and "refining 50 of 100" in page
    assert "about 25 s left" in page, "forty steps took twenty seconds, and fifty are left"
    assert '<p id="spoken" role="status" class="unseen">running: Refinement</p>' in page
    assert "50 %" in client.get("/jobs").text


def test_candidates_appear_as_they_are_drawn_and_one_is_picked(client: TestClient, desk: Desk) -> None:
    values = {"prompt": "a vase", "seed": 2, "until": "image", "overrides": {"image.candidates": 5}}
    name = desk.submit(values)
    told = manifest("a vase", 2, until="image", image__candidates=5)
    told["stages"]["image"] |= {"status": "running", "facts": {}}
    folder = run_of(desk, name, told, state="running", mesh=False)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 80, 3), np.uint8)
    Image.fromarray(pixels[:, :32]).save(folder / "10-image/candidates.png")
    page = client.get(f"/jobs/{name}").text
    assert page.count('name="number"') == 2 and page.count("being drawn") == 3
    assert client.post(f"/jobs/{name}/pick", data={"number": "2"}).status_code == 422
    Image.fromarray(pixels).save(folder / "10-image/candidates.png")
    told["stages"]["image"] |= {"status": "finished", "facts": {"chosen": 3, "ranking": [3, 1, 0, 2, 4]}}
    (folder / "manifest.json").write_text(json.dumps(told))
    state = client.get(f"/jobs/{name}/state").json()
    assert state["parts"]["candidates"]["html"].count('name="number"') == 5
    assert "best-ranked" in state["parts"]["candidates"]["html"]
    tile = Image.open(io.BytesIO(client.get(f"/jobs/{name}/candidates/4").content))
    np.testing.assert_array_equal(np.asarray(tile), pixels[:, 64:])
    assert client.get(f"/jobs/{name}/candidates/5").status_code == 404
    picked = client.post(f"/jobs/{name}/pick", data={"number": "1"})
    new = desk.rows()[0]
    assert picked.headers["location"] == f"/jobs/{new.id}"
    assert (new.until, new.seed, new.prompt) == (None, 2, "a vase")
    assert desk.entry(new.id)["overrides"] == {"image.candidates": 5, "image.pick": 1}
    assert new.folder != desk.rows()[1].folder, "another pick must not replace it"
    for odd in ("", "x", "-1", "5"):
        assert client.post(f"/jobs/{name}/pick", data={"number": odd}).status_code == 422
    assert len(desk.rows()) == 2


def test_only_what_looks_otherwise_is_sent_again(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    first = client.get(f"/jobs/{name}/state").json()
    assert set(first["parts"]) >= {"head", "progress"} and first["rests"] is False
    known = {part: told["version"] for part, told in first["parts"].items()}
    assert client.get(f"/jobs/{name}/state", params=known).json()["parts"] == {}
    desk.cancel(name)
    later = client.get(f"/jobs/{name}/state", params=known).json()
    assert "head" in later["parts"] and "candidates" not in later["parts"]
    assert (later["rests"], later["spoken"]) == (True, "cancelled")
    page = client.get(f"/jobs/{name}").text
    for part, told in client.get(f"/jobs/{name}/state").json()["parts"].items():
        assert f'data-part="{part}" data-version="{told["version"]}"' in page, (
            "the page shows what it is asked for"
        )


def test_the_refinement_as_it_goes(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    told = manifest("a vase", 0, until="refine", refine__steps=60)
    told["stages"]["refine"]["status"] = "running"
    folder = run_of(desk, name, told, state="running", mesh=False)
    log = folder / "30-refine/log.jsonl"
    line = {"step": 4, "losses": {"distillation": 0.25, "picture_colour": None}, "steps_per_s": 2.5}
    log.write_text(json.dumps(line | {"step": 3}) + "\n" + json.dumps(line) + '\n{"step": 5, "loss')
    Image.new("RGB", (64, 16)).save(folder / "30-refine/preview.png")
    part = client.get(f"/jobs/{name}/state").json()["parts"]["refinement"]
    assert "Step 5 of 60, 2.5 a second" in part["html"] and "0.25" in part["html"]
    assert f"/jobs/{name}/pictures/preview?v=" in part["html"]
    assert client.get(f"/jobs/{name}/pictures/preview").headers["content-type"] == "image/png"
    log.write_text("nonsense\n")
    assert client.get(f"/jobs/{name}").status_code == 200


def test_a_finished_job_shows_object_maps_figures_and_files(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": EVIL})
    folder = run_of(desk, name)
    page = client.get(f"/jobs/{name}").text
    assert (
        "<script>alert" not in page
        and f'data-glb="/jobs/{name}/run/50-export/a-blue-vase.glb?show=1"' in page
    )
    assert "20,000" in page and "Base colour" in page and page.count("Write it") == 7
    glb = client.get(f"/jobs/{name}/run/50-export/a-blue-vase.glb")
    assert glb.content == (folder / "50-export/a-blue-vase.glb").read_bytes()
    assert glb.headers["content-disposition"].startswith("attachment")
    shown = client.get(f"/jobs/{name}/run/50-export/a-blue-vase.glb?show=1")
    assert shown.headers["content-disposition"].startswith("inline")
    for picture in ("picture", "texture", "turntable", "sheet"):
        assert client.get(f"/jobs/{name}/pictures/{picture}").status_code == 200, picture
    for picture in ("normal_map", "nothing", "..%2F..%2Fmanifest.json"):
        assert client.get(f"/jobs/{name}/pictures/{picture}").status_code == 404, picture
    assert client.get(f"/jobs/{name}/thumbnail").headers["content-type"] == "image/jpeg"
    assert client.get(f"/jobs/{name}/state").json()["rests"] is True


def test_the_report_is_shown_in_a_box_of_its_own(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    run_of(desk, name)
    report = client.get(f"/jobs/{name}/run/report.html")
    assert "<h1" in report.text and report.headers["content-security-policy"].startswith(
        "sandbox allow-scripts allow-downloads;"
    )


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "../../studio.jsonl.batch/studio.jsonl",
        "%2e%2e/secret.txt",
        "50-export/link.glb",
        "/etc/passwd",
    ],
)
def test_downloads_are_files_of_the_run_alone(client: TestClient, desk: Desk, path: str) -> None:
    name = desk.submit({"prompt": "a vase"})
    folder = run_of(desk, name)
    (desk.runs / "secret.txt").write_text("secret")
    (folder / "50-export/link.glb").symlink_to(desk.runs / "secret.txt")
    answer = client.get(f"/jobs/{name}/run/{path}")
    assert answer.status_code == 404 and "secret" not in answer.text.replace("secret.txt", "")


def test_formats_of_several_files_come_as_one(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    folder = run_of(desk, name)
    (folder / "exports").mkdir()
    for ending in (".obj", ".mtl", "_basecolor.png"):
        (folder / f"exports/a-vase{ending}").write_text(ending)
    (folder / "exports/notes.txt").write_text("somebody's own")
    zipped = client.get(f"/jobs/{name}/zip/obj")
    assert sorted(zipfile.ZipFile(io.BytesIO(zipped.content)).namelist()) == [
        "a-vase.mtl",
        "a-vase.obj",
        "a-vase_basecolor.png",
    ]
    assert [client.get(f"/jobs/{name}/zip/{one}").status_code for one in ("stl", "exe")] == [404, 404]


def test_a_job_whose_files_somebody_removed_can_be_made_again(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    folder = run_of(desk, name)
    assert "Make it again" not in client.get(f"/jobs/{name}").text
    shutil.rmtree(folder)
    page = client.get(f"/jobs/{name}").text
    assert "Make it again" in page and "not in its folder any more" in page
    assert client.post(f"/jobs/{name}/retry").status_code == 303 and desk.rows()[0].state == "queued"
    run_of(desk, name)
    shutil.rmtree(folder)
    assert desk.submit({"prompt": "a vase"}) == name and desk.rows()[0].state == "queued"


def test_a_failed_job_says_where_and_why(client: TestClient, desk: Desk) -> None:
    name = desk.submit({"prompt": "a vase"})
    told = manifest("a vase", 0, until="lift")
    told["stages"]["lift"] |= {"status": "failed", "error": "it would not"}
    run_of(desk, name, told, state="failed", mesh=False)
    with desk.ledger() as ledger:
        row = desk.row(name)
        assert row is not None
        ledger.set_state(row.key, "set aside", error="<b>it</b> would not.")
    page = client.get(f"/jobs/{name}").text
    assert (
        "Failed in stage lift:" in page and "&lt;b&gt;it&lt;/b&gt; would not." in page and "Try again" in page
    )


@pytest.mark.parametrize(
    "path", ["/jobs/nobody", "/jobs/nobody/state", "/jobs/..%2F..", "/nowhere", "/jobs/x/candidates/y"]
)
def test_what_is_not_there_is_told_on_a_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "Traceback" not in answer.text
    script = client.get(path, headers={"Accept": "application/json"})
    assert set(script.json()) == {"error"}


def test_what_stops_all_work_is_on_every_page(desk: Desk, studio_of: Callable[..., TestClient]) -> None:
    page = studio_of(desk, "Nothing can be made <now>.").get("/jobs").text
    assert 'role="alert"' in page and "Nothing can be made &lt;now&gt;." in page


def test_a_damaged_picture_and_a_fault_of_ours_are_told_too(
    desk: Desk, studio_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = studio_of(desk)
    name = desk.submit({"prompt": "a vase"})
    folder = run_of(desk, name)
    (folder / "40-mesh/texture.png").write_bytes(b"no picture")
    (folder / "10-image/image.png").write_bytes(b"no picture")
    assert client.get(f"/jobs/{name}/pictures/texture").status_code == 404
    assert client.get(f"/jobs/{name}/thumbnail").status_code == 404

    def broken(self: Desk) -> None:
        raise ZeroDivisionError("<oh>")

    monkeypatch.setattr(Desk, "rows", broken)
    answer = client.get("/jobs")
    assert answer.status_code == 500 and "ZeroDivisionError: &lt;oh&gt;" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
