"""The command line: what goes to stdout, which exit code, which sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop
from typer.testing import CliRunner, Result

from slipcast.pipeline.cli.app import app
from slipcast.pipeline.cli.doctor import examine, report, warnings_about
from slipcast.pipeline.run.stage import StageContext


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def _sentence(result: Result) -> str:
    """The one line on stderr of a failed command, after checking that it is one and that stdout is empty."""
    lines = result.stderr.strip().splitlines()
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert lines[-1].startswith("slipcast: ") and sum(line.startswith("slipcast: ") for line in lines) == 1
    return lines[-1]


def test_the_last_line_is_the_path_of_the_glb(workshop: Workshop) -> None:
    result = _run("make", "a blue vase")
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.splitlines()[-1]) == Path("runs/a-blue-vase-0/50-export/asset.glb")
    assert Path(result.stdout.splitlines()[-1]).is_file()
    assert "refine" in result.stderr


def test_until_prints_the_stages_folder(workshop: Workshop) -> None:
    result = _run("make", "a blue vase", "--until", "lift", "--out", "elsewhere", "--seed", "3")
    assert result.stdout.strip() == str(Path("elsewhere/a-blue-vase-3/20-lift"))


def test_json_is_one_object_and_nothing_else(workshop: Workshop) -> None:
    workshop.hooks["mesh"] = lambda ctx: print("a library that prints")
    result = _run("make", "a blue vase", "--json", "refine.steps=3")
    content = json.loads(result.stdout)
    assert content["prompt"] == "a blue vase" and content["seed"] == 0
    assert Path(content["glb"]).is_file() and content["stages"]["mesh"]["made"] is True
    assert (
        json.loads(_run("make", "a blue vase", "--json", "refine.steps=3").stdout)["stages"]["mesh"]["made"]
        is False
    )
    manifest = json.loads((Path(content["run"]) / "manifest.json").read_text())
    assert manifest["config"]["refine"]["steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["make", ""], "the prompt is empty"),
        (["make", "   "], "the prompt is empty"),
        (["make", "123 456"], "no letters"),
        (["make", "a\x07 vase"], "U+0007"),
        (["make", "x" * 4001], "4001 characters"),
        (["make", "a vase", "refine.stps=3"], "did you mean refine.steps?"),
        (["make", "a vase", "refine.steps=many"], "expects a whole number, not 'many'"),
        (["make", "a", "blue", "vase"], "a prompt of several words needs quotes"),
        (["make", "a vase", "--config", "stater"], "the presets are"),
        (["make", "a vase", "--from", "bake"], "--from expects one of"),
        (["starter", "build", "--preset", "tpu"], "--preset expects cpu or gpu"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    workshop: Workshop, arguments: list[str], said: str
) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert said in _sentence(result)
    assert workshop.ran == [] and not workshop.out.exists()


@pytest.mark.parametrize(
    "arguments",
    [["make"], ["make", "a vase", "--seed", "-1"], ["make", "a vase", "--nonsense"], ["nonsense"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert _run(*arguments).exit_code == 2


def _break(ctx: StageContext) -> None:
    raise RuntimeError("the kiln is cold")


def test_a_failure_is_exit_code_1_and_debug_shows_where(workshop: Workshop) -> None:
    workshop.hooks["lift"] = _break
    result = _run("make", "a vase")
    assert result.exit_code == 1
    assert "stage lift failed (RuntimeError: the kiln is cold)" in _sentence(result)
    debug = _run("make", "a vase", "--debug")
    assert debug.exit_code == 1 and "Traceback" in debug.stderr and "_break" in debug.stderr


def test_ctrl_c_is_130_and_the_same_command_goes_on(workshop: Workshop) -> None:
    def stop(ctx: StageContext) -> None:
        raise KeyboardInterrupt

    workshop.hooks["refine"] = stop
    result = _run("make", "a vase")
    assert result.exit_code == 130
    assert "the same command goes on" in _sentence(result)
    workshop.hooks.clear()
    assert _run("make", "a vase").exit_code == 0
    assert workshop.ran == ["refine", "mesh", "paint", "export"]


def test_the_version_is_the_packages() -> None:
    assert _run("--version").stdout.strip() == f"slipcast {metadata.version('slipcast')}"


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    """Under a second of a cold process's time on the CPU, which on an idle machine is what the clock shows.

    The best of two, since the first may have to compile bytecode.
    """
    code = (
        "import sys; from slipcast.pipeline.cli.app import app\n"
        "try:\n    app(['--help'], prog_name='slipcast')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'diffusers', 'transformers', 'yaml', 'numba', 'trimesh'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    seconds, done = [], None
    for _ in range(2):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = os.times()
        seconds.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert done is not None and "make" in done.stdout and "doctor" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert min(seconds) < 1.0


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "slipcast.pipeline.cli.app", "make", " "]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("slipcast: the prompt is empty") and done.stderr.count("\n") == 1


def test_the_doctor_tells_in_words_and_in_json() -> None:
    words, as_json = _run("doctor"), _run("doctor", "--json")
    assert words.exit_code == as_json.exit_code == 0
    findings = json.loads(as_json.stdout)
    assert findings["torch"]["version"] in words.stdout
    assert findings["memory_gb"] > 0 and set(findings["starter"]) == {"prior", "domain", "lift", "judge"}


def test_the_doctor_warns_of_torchvision_and_missing_models(tmp_path: Path) -> None:
    findings = examine(tmp_path)
    findings["torch"]["cuda"] = []
    findings["torchvision"] = "0.28.0"
    findings["starter"] = {"prior": True, "domain": False}
    sentences = "\n".join(warnings_about(findings))
    assert "pip uninstall torchvision" in sentences and "starter models missing: domain;" in sentences
    findings["torchvision"] = None
    findings["starter"]["domain"] = True
    assert not [w for w in warnings_about(findings) if "torchvision" in w or "missing" in w]


def test_doctor_says_where_compiled_loops_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = examine(tmp_path)
    assert Path(findings["compiled_loops"]).is_dir() and findings["compiled_loops"] in report(findings)
    assert not [warning for warning in findings["warnings"] if "compiled" in warning]
    monkeypatch.setattr("slipcast.systems.compiled.cache_folder", lambda: None)
    findings = examine(tmp_path)
    assert findings["compiled_loops"] is None and "NUMBA_CACHE_DIR" in report(findings)
