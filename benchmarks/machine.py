"""Where a figure comes from: commit, machine, seed, and a JSON file beside the printed table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slipcast.pipeline.run.measure import commit, machine


def provenance() -> dict[str, Any]:
    """Commit (with + when the tree has changes), processor, cores, torch."""
    import torch

    found = machine()
    return {
        "commit": commit(),
        "processor": found["processor"],
        "cores": found["cores"],
        "torch": torch.__version__,
    }


def report(name: str, figures: dict[str, Any], folder: Path) -> None:
    """Print the figures and keep them, with where they come from."""
    told = {"benchmark": name, **provenance(), "figures": figures}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(told, indent=1))
    print(json.dumps(told, indent=1))
