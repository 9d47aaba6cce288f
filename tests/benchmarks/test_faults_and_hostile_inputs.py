"""A few of the faults and hostile inputs that the benchmarks try in full, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _figures(name: str, out: Path, *options: str) -> dict[str, Any]:
    """What a benchmark reports."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((out / f"{name}.json").read_text())["figures"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_faults_lose_nothing_and_the_same_command_makes_the_same(tmp_path: Path) -> None:
    told = _figures("faults", tmp_path, "--count", "8", "--seed", "7", "--starter-every", "0")
    assert told["wrong"] == []
    assert told["faults"] == sum(told["right"].values()) == 8 and len(told["right"]) >= 4


def test_hostile_inputs_are_values_or_sentences(tmp_path: Path) -> None:
    told = _figures("hostile", tmp_path, "--count", "200", "--seed", "7")
    assert [(name, line["faults"]) for name, line in told["readers"].items() if line["faults"]] == []
    assert told["fault"] == 0 and told["inputs"] >= 200
    assert told["refused"] + told["failed"] > told["value"] > 10  # mutants that bite, and some that do not
