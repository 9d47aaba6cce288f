"""Khronos' own validator of glTF files, run by node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

_VALIDATE = """
const fs = require('fs'), path = require('path');
const [module, file] = process.argv.slice(1);
const read = name => new Uint8Array(fs.readFileSync(name));
const beside = uri => Promise.resolve(read(path.join(path.dirname(file), decodeURIComponent(uri))));
require(module).validateBytes(read(file), {externalResourceFunction: beside}).then(
    found => console.log(JSON.stringify(found.issues)));
"""


def validator() -> str:
    """The folder of npm's gltf-validator, found by really loading it; skips the test if it is nowhere."""
    places = [os.environ.get("SLIPCAST_GLTF_VALIDATOR", ""), *(_npm_root(*scope) for scope in ((), ("-g",)))]
    for place in filter(None, places):
        module = str(Path(place) / "gltf-validator")
        if _node("require(process.argv[1])", module) is not None:
            return module
    pytest.skip(
        "npm's gltf-validator is not installed (npm install gltf-validator, or set SLIPCAST_GLTF_VALIDATOR)"
    )


def _npm_root(*scope: str) -> str:
    try:
        return subprocess.run(
            ["npm", "root", *scope], capture_output=True, text=True, timeout=60
        ).stdout.strip()
    except OSError:
        return ""


def _node(script: str, *arguments: str) -> str | None:
    """What a node script prints; None if node is missing or the script fails."""
    try:
        done = subprocess.run(["node", "-e", script, *arguments], capture_output=True, text=True, timeout=120)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def validate(module: str, path: Path) -> dict[str, Any]:
    printed = _node(_VALIDATE, module, str(path))
    assert printed is not None, "gltf-validator did not run"
    return json.loads(printed)
