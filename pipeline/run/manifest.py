"""``manifest.json``: where a run's is, what it must hold, and what a run was asked for."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors, read_json
from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.schema import MakeConfig
from .prompts import check_prompt

MANIFEST = "manifest.json"
FORMAT = 1
_LARGEST_SEED = 2**63 - 1
_VERSIONS_OF = (
    "slipcast",
    "torch",
    "numpy",
    "diffusers",
    "transformers",
    "nerfacc",
    "trimesh",
    "PyMCubes",
    "xatlas",
    "usd-core",
)


@dataclass(frozen=True)
class Asked:
    """What a run is asked for, and the folder to go on in, if it is not to be found by prompt and seed."""

    prompt: str
    seed: int
    config: MakeConfig
    run: Path | None = None


def asked_of(where: Path, overrides: Sequence[str] = ()) -> Asked:
    """Prompt, seed and settings of the run in a folder, whatever the folder is called now; ``overrides`` come on top.

    Raises:
        BadInput: no run, or its manifest holds what cannot be used.
    """
    from ...configs.loading import restore_config

    run = find_run(where)
    manifest = read_manifest(run)
    config = restore_config(manifest.get("config", {}), overrides, source=str(run / MANIFEST))
    return Asked(check_prompt(manifest["prompt"]), manifest["seed"], config, run)


def find_run(where: Path) -> Path:
    """The run's folder: the path itself, or for a path inside it, such as that of its GLB, the folder around.

    Raises:
        BadInput: there is no run.
    """
    with explain_os_errors(where, "looking for the run"):
        if where.exists():
            for path in (where, *where.absolute().parents[:2]):
                if (path / MANIFEST).is_file():
                    return path
        raise BadInput(_no_run(where))


def _no_run(where: Path) -> str:
    if not where.exists():
        return f"there is no folder {where}; give the folder of a run, such as runs/a-blue-vase-0"
    inside = sorted(file.parent.name for file in where.glob(f"*/{MANIFEST}")) if where.is_dir() else []
    if inside:
        return f"{where} holds runs but is none; give one of them, such as {where / inside[0]}"
    return f"{where} is not the folder of a run (it has no {MANIFEST}); give one, such as runs/a-blue-vase-0"


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run's folder, its entries of the types that they should have.

    Raises:
        BadInput: none, or one that cannot be used, with the reason.
    """
    path = run / MANIFEST
    content = read_json(path, "the manifest of a slipcast run")
    version = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if _is_int(version) and version > FORMAT:
        raise BadInput(
            f"{path} was written by a newer slipcast (format {shown(version)}, this one reads {FORMAT}); "
            "update slipcast"
        )
    if problem := _problem(content):
        raise BadInput(f"{path} is not the manifest of a slipcast run ({problem})")
    return content


def _problem(content: Any) -> str | None:
    """What is wrong with a manifest, or None."""
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}, not an object"
    if content.get("format", FORMAT) != FORMAT:
        return f"its format is {shown(content['format'])}, not {FORMAT}"
    if not isinstance(content.get("prompt"), str):
        return "its prompt is no text"
    if not (_is_int(content.get("seed")) and 0 <= content["seed"] <= _LARGEST_SEED):
        return "its seed is no whole number from 0 to 2^63 - 1"
    stages, forced = content.get("stages", {}), content.get("forced", {"from": "", "done": []})
    if not (_is_table(stages) and all(_is_table(line.get("models", {})) for line in stages.values())):
        return "its stages are no objects"
    if not all(isinstance(line.get("status", ""), str) for line in stages.values()):
        return "the status of a stage is no text"
    config = content.get("config", {})
    if not (
        isinstance(config, dict)
        and isinstance(config.get("dtype", ""), str)
        and isinstance(config.get("device", ""), str)
    ):
        return "its settings are no object"
    if not (
        isinstance(forced, dict)
        and isinstance(forced.get("from"), str)
        and isinstance(forced.get("done"), list)
    ):
        return "its note of --from is none"
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(line, dict) for line in value.values())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run makes."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):  # an absent package has no version to tell
            found[name] = metadata.version(name)
    return found
