"""What Khronos' glTF validator says of files, in numbers; the exit code is 1 if it finds an error or a warning.

    python -m benchmarks.gltf_validation FILES...

Needs node and `npm install gltf-validator`, found in the current folder, globally, or in SLIPCAST_GLTF_VALIDATOR.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_VALIDATE = """
const [folder, ...files] = process.argv.slice(1);
const validator = require(folder);
(async () => {
  for (const file of files) {
    const bytes = new Uint8Array(require('fs').readFileSync(file));
    const found = await validator.validateBytes(bytes, {maxIssues: 20});
    console.log(JSON.stringify(found.issues));
  }
})();
"""


def find_validator() -> str | None:
    """The folder of npm's gltf-validator, found by really loading it; None if node or the package is missing."""
    places = [os.environ.get("SLIPCAST_GLTF_VALIDATOR", ""), *(_npm_root(*scope) for scope in ((), ("-g",)))]
    for place in filter(None, places):
        folder = str(Path(place) / "gltf-validator")
        if _node("require(process.argv[1])", folder) is not None:
            return folder
    return None


def validate(folder: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The validator's issues for each file: numErrors, numWarnings, numInfos, numHints and messages."""
    printed = _node(_VALIDATE, folder, *map(str, files))
    if printed is None:
        raise RuntimeError("gltf-validator did not run; is each file readable?")
    return [json.loads(line) for line in printed.splitlines()]


def main() -> None:
    """Validate, print a line for each file and each message, then the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    files = parser.parse_args().files
    folder = find_validator()
    if folder is None:
        sys.exit(
            "gltf-validator is not installed: npm install gltf-validator, or set SLIPCAST_GLTF_VALIDATOR"
        )
    found = validate(folder, files)
    counts = {kind: sum(issues[f"num{kind.title()}"] for issues in found) for kind in ("errors", "warnings")}
    for path, issues in zip(files, found, strict=True):
        print(f"{path}: {issues['numErrors']} errors, {issues['numWarnings']} warnings")
        for message in issues["messages"]:
            print(f"    {message['code']} at {message.get('pointer', '?')}: {message['message']}")
    print(f"{len(files)} files, {counts['errors']} errors, {counts['warnings']} warnings")
    sys.exit(any(counts.values()))


def _npm_root(*scope: str) -> str:
    try:
        done = subprocess.run(["npm", "root", *scope], capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip()


def _node(script: str, *arguments: str) -> str | None:
    """What a node script prints; None if node is missing or the script fails."""
    try:
        done = subprocess.run(["node", "-e", script, *arguments], capture_output=True, text=True, timeout=600)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    main()
