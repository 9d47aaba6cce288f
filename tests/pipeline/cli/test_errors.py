"""Errors of every command: one sentence on stderr, the same in an object on stdout under ``--json``, the exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop
from typer.testing import CliRunner, Result

from slipcast.configs.stopping import asked_to_stop
from slipcast.pipeline.cli import app as app_module
from slipcast.pipeline.cli import console
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run.stage import StageContext

LONG = "x" * 300


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["make", ""],
        ["make", "a vase", "refine.stps=3"],
        ["make", "a vase", "--config", LONG],
        ["make", "a vase", "--config", f"{LONG}.yaml"],
        ["make", "a vase", "--config", "~nouser/x.yaml"],
        ["make", "a vase", "--out", LONG],
        ["make", "a vase", "--out", "~nouser/x"],
        ["make", "a vase", "--out", "\udcff"],
        ["make", "--resume", "~nouser/x"],
        ["export", "~nouser/x"],
        ["report", "~nouser/x"],
        ["blender", "library", "~nouser/x", "library"],
        ["blender", "extension", "--out", "~nouser/x"],
        ["batch", "status", "jobs.txt", "--out", "~nouser/x"],
        ["run", "runs.yaml", "--out", "~nouser/x"],
        ["starter", "build", "--out", "~nouser/x"],
        ["make", "a vase", "image.view=${oc.env:HOME}"],
        ["make", "a vase", "image.view=\udcff"],
        ["make", "a vase", "export.formats=[]"],
        ["make", "a vase", "--from", "bake"],
        ["image", "a vase", "--spec", LONG],
        ["image", "a vase", "--steps", "0"],
        ["image", "${oc.env:HOME} vase"],
        ["export", "nowhere"],
        ["export", LONG],
        ["blender", "library", "nowhere", "library"],
        ["blender", "library", LONG, "library"],
        ["blender", "check", "--blender", LONG],
        ["blender", "check", "--blender", "~nouser/blender"],
        ["fetch", "nonsuch"],
        ["fetch", LONG],
        ["starter", "build", "--preset", "tpu"],
        ["make", "a vase", "--seed", "-1"],
        ["make", "a vase", "--nonsense"],
        ["make"],
        ["nonsense"],
        ["blender", "nonsense"],
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:40],
)
def test_bad_input_is_told_in_both_ways(workshop: Workshop, arguments: list[str]) -> None:
    as_json = _run(*arguments, "--json")
    assert as_json.exit_code == 2, as_json.stderr
    told = json.loads(as_json.stdout)
    assert list(told) == ["error"] and "\n" not in told["error"] and "unexpectedly" not in told["error"]
    plain = _run(*arguments)
    assert plain.exit_code == 2 and plain.stdout == ""
    if (
        f"slipcast: {told['error']}" not in plain.stderr
    ):  # wrong usage is framed by the command line's library
        assert "Usage:" in plain.stderr
    assert workshop.ran == []


def test_a_home_is_found_wherever_a_run_is_named(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _run("make", "a vase", "--out", "~/runs").exit_code == 0
    assert (tmp_path / "home/runs/a-vase-0/manifest.json").is_file()
    assert _run("make", "--resume", "~/runs/a-vase-0").exit_code == 0 and workshop.ran == []
    assert _run("report", "~/runs").exit_code == 0 and (tmp_path / "home/runs/index.html").is_file()
    assert not Path("~").exists()


def _break(ctx: StageContext) -> None:
    raise RuntimeError("the kiln is cold")


def test_a_failure_is_told_in_both_ways(workshop: Workshop) -> None:
    workshop.hooks["lift"] = _break
    result = _run("make", "a vase", "--json")
    assert result.exit_code == 1
    assert "the kiln is cold" in json.loads(result.stdout)["error"]
    assert json.loads(result.stdout)["error"] in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whatever_fails_after_a_signal_was_stopped(workshop: Workshop, number: signal.Signals) -> None:
    def stop(ctx: StageContext) -> None:
        signal.raise_signal(number)
        raise SystemError("CPUDispatcher() returned a result with an exception set")

    workshop.hooks["refine"] = stop
    result = _run("make", "a vase", "--json")
    assert result.exit_code == 128 + number
    assert json.loads(result.stdout) == {"error": console.STOPPED}
    manifest = json.loads(Path("runs/a-vase-0/manifest.json").read_text())
    assert manifest["stages"]["refine"]["status"] == "interrupted"
    workshop.hooks.clear()
    assert _run("make", "a vase").exit_code == 0 and workshop.ran == ["refine", "mesh", "paint", "export"]


def test_a_command_that_ends_without_looking_was_stopped_all_the_same(workshop: Workshop) -> None:
    workshop.hooks["export"] = lambda ctx: signal.raise_signal(signal.SIGINT)
    assert _run("make", "a vase").exit_code == 130
    assert _run("make", "a vase").exit_code == 0


def test_what_failed_in_part_tells_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    with pytest.raises(typer.Exit) as caught, console.exit_codes(debug=False, as_json=True):
        raise console.PartlyFailed("one of two failed", {"made": {"a": "a.blend"}})
    out, err = capsys.readouterr()
    assert caught.value.exit_code == 1 and "one of two failed" in err
    assert json.loads(out) == {"made": {"a": "a.blend"}, "error": "one of two failed"}


@pytest.mark.parametrize("typer_sees_it", [True, False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_outside_of_a_command_ends_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, typer_sees_it: bool
) -> None:
    """Typer ends with 130 whatever the signal was: found by benchmarks.faults, trial 61."""

    def interrupted(prog_name: str) -> None:
        signal.raise_signal(number)  # asks for a stop
        try:
            signal.raise_signal(number)  # does not wait
        except KeyboardInterrupt:
            if typer_sees_it:
                raise SystemExit(130) from None
            raise

    monkeypatch.setattr(app_module, "app", interrupted)
    with pytest.raises(SystemExit) as end:
        app_module.main()
    assert end.value.code == 128 + number
    assert asked_to_stop() is None
