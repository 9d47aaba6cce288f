"""The pages as HTML: well-formed, with links that lead somewhere, and never with code that came from a run."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from fakes.report_runs import FOLDERS, draw_run, manifest

from slipcast.configs.errors import BadInput
from slipcast.pipeline.report import run_page, viewer, words
from slipcast.pipeline.report.markup import Markup, element, joined, json_script
from slipcast.pipeline.report.pictures import THUMBNAIL_SIZE, thumbnail
from slipcast.pipeline.report.settings import settings_told, standard
from slipcast.pipeline.report.writing import is_fresh, write_index, write_report

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u2028\ud800\x00</style></script><!--"
VOID = ("br", "img", "input", "link", "meta", "source", "path")


class Page(HTMLParser):
    """Elements and text of a page; fails if an element is closed that is not open."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path, self.open_elements, self.text = path, list[str](), ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open_elements == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open_elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_elements.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_elements and self.open_elements[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]

    def addresses(self) -> Iterator[str]:
        """Whatever the page refers to, data in it and its own parts left out."""
        for _, attributes in self.elements:
            for name in ("href", "src", "srcset"):
                value = attributes.get(name)
                if value and not value.startswith(("data:", "#")):
                    yield value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_run(tmp_path_factory.mktemp("out of box") / "runs" / "a #1 100% vase-3")


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every text of the manifest, names of settings, facts and roles included, is an attack."""
    told = manifest(EVIL)

    def spoiled(value: Any, *, keep: tuple[str, ...] = ()) -> Any:
        if isinstance(value, dict):
            return {k if k in keep else k + EVIL: spoiled(v) for k, v in value.items()}
        return (
            [spoiled(one) for one in value]
            if isinstance(value, list)
            else EVIL
            if isinstance(value, str)
            else value
        )

    for name, line in told["stages"].items():
        line["facts"] = spoiled(
            line["facts"], keep=("losses", "ranking", "chosen", "faces", "text_evidence", "atlas")
        )
        line |= {
            "models": {EVIL: {"id": EVIL, "revision": EVIL, "licence": EVIL}},
            "status": "failed",
            "error": EVIL,
        }
        line["folder"] = FOLDERS[name]
    told["stages"][EVIL] = {"status": EVIL, "folder": EVIL, "facts": {EVIL: EVIL}}
    told |= {"versions": {EVIL: EVIL, "slipcast": EVIL}, "settled": spoiled(told["config"])}
    told["config"] = told["config"] | {EVIL: EVIL}
    folder = tmp_path_factory.mktemp("hostile") / "runs" / "x<b>'\"&-1"
    draw_run(folder.with_name("plain"))
    del told["stages"][EVIL]["folder"]
    draw_run(folder, manifest(EVIL.replace("\ud800", "")))
    told["prompt"] = EVIL.replace("\ud800", "")
    (folder / "manifest.json").write_text(json.dumps(told).replace("\\ud800", ""), encoding="utf-8")
    (folder / "50-export" / "<img src=x onerror=alert(3)>.glb").write_bytes(b"x")
    return folder


def test_a_page_is_one_file_that_refers_only_to_files_beside_it(run: Path, page: Page) -> None:
    addresses = list(page.addresses())
    assert any(address.endswith(".glb") for address in addresses)
    for address in addresses:
        assert address.startswith("./") and (run / unquote(address)).is_file(), address


def test_a_page_shows_everything_of_its_run(page: Page) -> None:
    told = (
        "a blue vase", "finished", "seed 3", "Candidates", "chosen", "rank 2", "refine", "3.5 s", "700 MB", "20,000",
        "Handles", "38.1 dB", "distillation", "0.03", "50-export/a-blue-vase.glb", "Apache-2.0", "2:abc", "3.11.7",
    )  # fmt: skip
    assert [one for one in told if one not in page.text] == []
    images = page.all("img")
    assert len(images) >= 6 and all(image["alt"] and image["width"] for image in images)


def test_only_the_pages_own_script_may_run(page: Page) -> None:
    (policy,) = (
        m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    text = page.path.read_text(encoding="utf-8")
    code = text.rpartition("<script>")[2].partition("</script>")[0]
    import base64

    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "http" not in policy and "unsafe-inline'; img" in policy  # for styles alone
    assert re.search(r"script-src [^;]*'unsafe-inline'", policy) is None
    assert sum(script.get("type") is None for script in page.all("script")) == 1


def test_nothing_of_a_run_becomes_part_of_the_page(hostile: Path) -> None:
    for path in (write_report(hostile), write_index(hostile.parent)):
        page = Page(path)
        assert "<script>alert(1)</script>" in page.text  # as text
        assert len([s for s in page.all("script") if s.get("type") is None]) == 1
        assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
        assert not [image for image in page.all("img") if image.get("src") == "x"]
        for address in page.addresses():
            assert (path.parent / unquote(address)).is_file(), address


def test_data_of_the_index_is_what_was_meant(hostile: Path) -> None:
    text = write_index(hostile.parent).read_text(encoding="utf-8")
    data = text.partition('id="runs">')[2].partition("</script>")[0]
    told = json.loads(data)["runs"]
    assert (
        told[hostile.name]["prompt"].startswith("<script>alert(1)</script>")
        and told["plain"]["faces"] == 20000
    )


def test_markup_escapes_whatever_is_no_markup() -> None:
    assert element("p", "a < b", element("b", "&"), None, [1, 2.5], class_='"x"') == (
        '<p class="&quot;x&quot;">a &lt; b<b>&amp;</b>12.5</p>'
    )
    assert joined(Markup("<b>")) == "<b>" and element("img", alt="", hidden=True) == '<img alt="" hidden>'
    assert element("p", "\x00\ud800\x1b[31m") == "<p>\ufffd?\ufffd[31m</p>"
    script = json_script("x", {"</script>": "<!--\u2028"})
    assert "</script>" not in script[:-9] and "\u2028" not in script and "<!--" not in script


def test_commands_are_quoted_for_a_shell_and_name_the_run(run: Path, page: Page) -> None:
    lines = [line for line in page.text.split("slipcast ") if line.startswith(("make --resume", "export"))]
    assert len(lines) == 3
    for line in lines:
        assert shlex.split("slipcast " + line.partition("Copy")[0])[-3 if "--format" in line else -2] == str(
            run
        ) or (str(run) in shlex.split(line.partition("Copy")[0]))
    assert f"'{run}'" in page.text


@pytest.mark.parametrize("until", ["image", "lift", "refine", "mesh"])
def test_a_run_that_stopped_half_way_has_a_page(tmp_path: Path, until: str) -> None:
    page = Page(write_report(draw_run(tmp_path / "run-0", manifest(until=until), mesh=False)))
    assert (
        "No 3D view yet" in page.text
        and "Nothing has been exported yet." in page.text
        and "partial" in page.text
    )
    assert "Go on with this run" in page.text and not [s for s in page.all("script") if s.get("id") == "glb"]


def test_a_failed_stage_is_told_first(tmp_path: Path) -> None:
    told = manifest(until="mesh")
    told["stages"]["mesh"] |= {"status": "failed", "error": "the field is empty", "facts": {}}
    text = Page(write_report(draw_run(tmp_path / "run-0", told, mesh=False))).text
    assert text.index("Failed in stage mesh: the field is empty. The command") < text.index("Files")


@pytest.mark.parametrize("nothing", [{}, {"stages": {}}, {"stages": {"image": {}}, "config": {}}])
def test_a_manifest_that_says_nothing_has_a_page(tmp_path: Path, nothing: dict[str, Any]) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"prompt": "x", "seed": 0} | nothing))
    assert "partial" in Page(write_report(tmp_path)).text
    assert not (tmp_path / "thumbnail.jpg").exists()


def test_facts_of_any_type_do_no_harm(tmp_path: Path) -> None:
    """What makes a manifest useless is refused in its own sentence; facts may be anything."""
    odd: list[Any] = [None, True, -1, 1e300, "x", [], [[]], {}, {"a": {"b": [None]}}]
    for value in odd:
        told = manifest()
        for line in told["stages"].values():
            line["facts"] = dict.fromkeys(line["facts"], value)
            line |= {"folder": value, "error": value, "models": {}}
        Page(write_report(draw_run(tmp_path / "run-0", told, mesh=False)))


@pytest.mark.parametrize(
    ("folder", "name"), [("50-export", "../../secret.glb"), ("..", "secret.glb"), ("/x", "a.glb")]
)
def test_files_outside_the_run_are_not_shown(tmp_path: Path, folder: str, name: str) -> None:
    told = manifest()
    run = draw_run(tmp_path / "run-0", told)
    folder = str(tmp_path / "x") if folder == "/x" else folder
    told["stages"]["export"] |= {"folder": folder, "facts": {"glb": name}}
    (run / "manifest.json").write_text(json.dumps(told))
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "secret.glb", tmp_path / "x" / "a.glb"):
        path.write_bytes(b"glTF secret")
    page = Page(write_report(run))
    assert "Z2xURiBzZWNyZXQ" not in page.path.read_text()  # base64 of what is in them
    assert all(address.startswith("./50-export/") for address in page.addresses())


def test_a_very_large_glb_is_linked_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_page, "LARGEST_GLB", 100)
    page = Page(write_report(draw_run(tmp_path)))
    assert "too large to be shown" in page.text and not any(s.get("id") == "glb" for s in page.all("script"))
    assert "./50-export/a-blue-vase.glb" in page.addresses()


def test_handles_are_counted_by_eulers_formula(tmp_path: Path) -> None:
    told = manifest()
    told["stages"]["mesh"]["facts"] |= {
        "euler_number": -2,
        "components": 2,
    }  # a ball beside a body of genus 3
    assert "Handles3" in Page(write_report(draw_run(tmp_path, told, mesh=False))).text


def test_damaged_pictures_are_left_out(tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run-0")
    whole = len(Page(write_report(run)).all("img"))
    for path in [*run.rglob("*.png"), *run.rglob("*.gif")]:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 3] if path.stem != "texture" else b"no picture")
    assert len(Page(write_report(run)).all("img")) < whole / 2


def test_the_thumbnail_is_the_picture_and_the_front_view(tmp_path: Path) -> None:
    from io import BytesIO

    import numpy as np
    from PIL import Image

    Image.new("RGB", (60, 20), "white").save(tmp_path / "sheet.png")
    sheet = np.full((20, 60, 3), 255, np.uint8)
    sheet[:10, 20:30] = (0, 0, 255)  # the front view; the picture is twice as large, left of it
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(tmp_path / "image.png")
    told = thumbnail(tmp_path / "image.png", tmp_path / "sheet.png")
    assert told is not None
    small = np.asarray(Image.open(BytesIO(told)))
    assert small.shape[1::-1] == THUMBNAIL_SIZE
    assert np.abs(small[128, 128].astype(int) - (255, 0, 0)).max() < 12
    assert np.abs(small[128, 384].astype(int) - (0, 0, 255)).max() < 12
    assert thumbnail(None, tmp_path / "missing.png") is None


def test_changed_settings_are_those_that_somebody_gave() -> None:
    told = manifest(refine__steps=77, image__negative=["x"], device="cpu", dtype="bfloat16")
    changed = {one.name: one.value for one in settings_told(told["config"], told["settled"]) if one.changed}
    assert changed == {"refine.steps": 77, "image.negative": ["x"]}
    assert settings_told({"image": {"old": 1}}, {})[0].changed and standard()["refine.steps"] == 300


def test_the_index_holds_every_run_and_mends_what_is_older(tmp_path: Path) -> None:
    runs = [draw_run(tmp_path / f"vase-{seed}", manifest(seed=seed), mesh=seed > 0) for seed in range(3)]
    told: list[str] = []
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    page = Page(write_index(tmp_path, told.append))
    assert len(page.all("article")) == 3 and len(told) == 1 and told[0].startswith("broken is left out: ")
    for address in page.addresses():
        assert (tmp_path / unquote(address)).is_file()
    assert all(image["loading"] == "lazy" for image in page.all("img"))
    assert all(map(is_fresh, runs))
    before = (runs[1] / "report.html").read_bytes()
    (runs[1] / "manifest.json").write_text(json.dumps(manifest("another", 1)))
    assert not is_fresh(runs[1]) or before == b""
    write_index(tmp_path, told.append)
    assert "another" in (runs[1] / "report.html").read_text() and is_fresh(runs[1])
    assert "all runs" in (runs[1] / "report.html").read_text()  # now that there is an index to go back to


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="neither a run nor a folder of runs"):
        write_index(tmp_path)


def test_the_viewer_is_the_file_of_the_registry_with_its_licences() -> None:
    data = (viewer.FOLDER / viewer.FILE).read_bytes()
    assert hashlib.sha256(data).hexdigest() == viewer.SHA256
    notice = (viewer.FOLDER / "NOTICE").read_text()
    assert viewer.SHA256 in notice and viewer.VERSION in notice
    assert "Apache License" in viewer.licences() and "three.js" in viewer.licences()
    import gzip

    assert gzip.decompress(viewer.packed()) == data


@pytest.mark.parametrize(
    ("told", "text"),
    [(0.31, "0.3 s"), (9.96, "10 s"), (102, "102 s"), (725, "12 min 5 s"), (7380, "2 h 3 min"), (None, "–")],
)
def test_durations(told: float | None, text: str) -> None:
    assert words.duration(told) == text


@pytest.mark.parametrize(
    ("told", "text"),
    [(0, "0 B"), (999, "999 B"), (13_231, "13 KB"), (2_165_076, "2.2 MB"), (1.44e9, "1.4 GB")],
)
def test_sizes(told: float, text: str) -> None:
    assert words.size(told) == text
