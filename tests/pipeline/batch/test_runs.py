"""Runs listed, compared and removed; whatever slipcast did not make is there afterwards, byte for byte."""

from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import MakeConfig, MeshConfig
from slipcast.pipeline import make as make_module
from slipcast.pipeline.batch.listing import Wanted, as_seconds, difference, list_runs
from slipcast.pipeline.batch.pruning import prune
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run.lock import FolderLock
from slipcast.pipeline.run.stage import StageContext


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(make_module, "reported", lambda path, notice: nullcontext())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A run that is finished, one that failed, one that was stopped after its picture."""
    shop = Workshop(Path("runs"))
    shop.make()

    def fail(ctx: StageContext) -> None:
        raise SlipcastError("it would not")

    shop.hooks["lift"] = fail
    with pytest.raises(SlipcastError):
        shop.make(seed=1)
    shop.hooks.clear()
    shop.make(seed=2, until_stage="image")
    for seed in range(3):
        changed = time.time() - 3600 * (3 - seed)
        os.utime(f"runs/a-blue-vase-{seed}/manifest.json", (changed, changed))
    (Path("runs") / "notes").mkdir()
    (Path("runs") / "notes" / "mine.txt").write_text("mine")
    return shop


def _names(wanted: Wanted | None = None) -> list[str]:
    return [run.path.name[-1] for run in list_runs(Path("runs"), wanted)]


def _run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["runs", *arguments], input=answer)


def test_runs_are_listed_by_state_age_and_size(workshop: Workshop) -> None:
    runs = list_runs(Path("runs"))
    assert [(run.seed, run.state) for run in runs] == [(0, "finished"), (1, "failed"), (2, "unfinished")]
    assert _names(Wanted(state="failed")) == ["1"] and _names(Wanted(older_than_s=5400)) == ["0", "1"]
    (Path("runs") / "a-blue-vase-2" / "large.bin").write_bytes(bytes(200_000))
    assert _names(Wanted(larger_than=100_000)) == ["2"]
    (runs[0].path / "10-image" / "image.png").write_bytes(b"a picture")
    told = json.loads(_run("--json").stdout)["runs"]
    assert told[0]["thumbnail"] == "runs/a-blue-vase-0/10-image/image.png" and told[1]["thumbnail"] is None
    assert 7000 < told[1]["age_s"] < 7400 and told[0]["prompt"] == "a blue vase"
    lines = _run().stdout.splitlines()
    assert len(lines) == 3 and "failed" in lines[1] and "2h" in lines[1]


def test_how_two_runs_differ(workshop: Workshop) -> None:
    workshop.make(MakeConfig(mesh=MeshConfig(resolution=40)), resume=Path("runs/other"))
    told = difference(Path("runs/a-blue-vase-0"), Path("runs/other"))
    assert told["settings"] == {"mesh.resolution": [192, 40]}
    assert "mesh.length" in told["figures"] and "image.length" not in told["figures"]
    same = difference(Path("runs/other"), Path("runs/other"))
    assert same["settings"] == same["figures"] == {}
    text = _run("--diff", "runs/a-blue-vase-0", "runs/other").stdout
    assert "  mesh.resolution: 192 | 40" in text.splitlines()
    result = _run("--diff", "runs/notes", "runs/other")
    assert result.exit_code == 2 and "runs/notes is not the folder of a run" in result.stderr


PEOPLES = (
    "10-image/mine.txt",
    "30-refine/deep/mine.bin",
    "exports/vase.obj",
    "notes.md",
    "20-lift.kept/old.txt",
)


@settings(max_examples=15)
@given(st.sets(st.sampled_from([*PEOPLES, "10-image/image.txt", "40-mesh/mesh.txt"])))
def test_only_what_was_made_is_removed(tmp_path_factory: pytest.TempPathFactory, changed: set[str]) -> None:
    """Files that people add, and files that they edit, among them all subsets of some."""
    run = Workshop(tmp_path_factory.mktemp("runs")).make().run
    for name in changed:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(f"by hand: {name}")
    (pruned,) = prune([run])
    left = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert left == changed == {path.relative_to(run).as_posix() for path in pruned.kept}
    assert all((run / name).read_text() == f"by hand: {name}" for name in changed)
    assert run.exists() == bool(changed) and pruned.freed > 0


def test_links_are_not_followed(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    run = Path("runs/a-blue-vase-0")
    (run / "10-image" / "link").symlink_to(tmp_path / "elsewhere")
    (run / "link").symlink_to(tmp_path / "elsewhere")
    image = run / "20-lift" / "lift.txt"
    image.rename(tmp_path / "elsewhere" / "lift.txt")
    image.symlink_to(tmp_path / "elsewhere" / "lift.txt")
    (pruned,) = prune([run])
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["lift.txt", "mine.txt"]
    assert {path.name for path in pruned.kept} == {"link", "lift.txt"} and (run / "link").is_symlink()


def test_a_run_that_somebody_works_in_is_left_alone(workshop: Workshop) -> None:
    run = Path("runs/a-blue-vase-0")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    lock = FolderLock(run)
    lock.acquire()
    (pruned,) = prune([run])
    lock.release()
    assert pruned.why and "is working in" in pruned.why and pruned.freed == 0
    assert {path: path.read_bytes() for path in before} == before


def test_half_made_stages_go_with_a_failed_run(workshop: Workshop) -> None:
    assert Path("runs/a-blue-vase-1/20-lift.partial").is_dir()
    result = _run("--prune", "--state", "failed", "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    assert [Path(one["path"]).name for one in json.loads(result.stdout)["removed"]] == ["a-blue-vase-1"]
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a-blue-vase-0", "a-blue-vase-2", "notes"]
    assert workshop.make(seed=1).glb is not None, "what was removed can be made again"


def test_removing_asks_first(workshop: Workshop) -> None:
    result = _run("--prune", "--older", "30m", answer="n\n")
    assert (
        result.exit_code == 0 and len(list_runs(Path("runs"))) == 3 and "Remove these 3 runs" in result.stderr
    )
    result = _run("--prune", "--older", "90m", answer="y\n")
    assert result.stdout.splitlines()[-1].startswith("2 removed") and _names() == ["2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "there is no folder none"),
        (["--prune"], "--prune would remove every run"),
        (["--state", "finshed"], "did you mean finished?"),
        (["--older", "long"], "--older: expected an age such as 12h, 7d or 2w, not 'long'"),
        (["--larger", "big"], "--larger: expected a size such as 900M or 4G, not 'big'"),
    ],
)
def test_bad_input(workshop: Workshop, arguments: list[str], said: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2 and said in result.stderr and len(list_runs(Path("runs"))) == 3


def test_ages() -> None:
    assert as_seconds("90s") == 90 and as_seconds(" 1.5 h ") == 5400 and as_seconds("2w") == 1209600
    with pytest.raises(ValueError):
        as_seconds("7")


def test_a_folder_that_is_none() -> None:
    with pytest.raises(BadInput, match="there is no folder none"):
        list_runs(Path("none"))
