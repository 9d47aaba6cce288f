"""Importing the guidance room must stay cheap: no diffusers, no transformers."""

from __future__ import annotations

import subprocess
import sys

import slipcast.guidance

SCRIPT = """
import time, sys, torch
began = time.process_time()
import slipcast.guidance
print(time.process_time() - began, "diffusers" in sys.modules, "transformers" in sys.modules)
"""


def test_import_is_light() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout.split()
    assert answer[1:] == ["False", "False"]
    assert float(answer[0]) < 2


def test_public_names_are_sorted_and_exist() -> None:
    names = slipcast.guidance.__all__
    assert sorted(names, key=lambda n: (not n.isupper(), n)) == names
    assert all(hasattr(slipcast.guidance, name) for name in names)
