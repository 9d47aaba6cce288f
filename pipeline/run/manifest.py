"""``manifest.json``: where a run's is, what it must hold, and what a run was asked for."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from ...configs.atomic import explain_os_errors, read_json
from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.paths import given_path
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


def asked_of(
    where: Path, overrides: Sequence[str] = (), layers: Sequence[tuple[str, Mapping[Any, Any]]] = ()
) -> Asked:
    """Prompt, seed and settings of the run in a folder, whatever it is called now; ``layers``, ``overrides`` on top.

    Raises:
        BadInput: no run, or its manifest holds what cannot be used.
    """
    from ...configs.loading import restore_config

    run = find_run(where)
    manifest = read_manifest(run)
    config = restore_config(settings_of_run(manifest), overrides, source=str(run / MANIFEST), layers=layers)
    prompt = (
        manifest.prompt if config.image.picture and not manifest.prompt else check_prompt(manifest.prompt)
    )
    return Asked(prompt, manifest.seed, config, run)


_LCM_GUIDANCE = (
    8.5  # what ``embedded_guidance`` was where nobody set it, before it was null for the family's own
)


def settings_of_run(manifest: Manifest) -> dict[str, Any]:
    """The settings that a run was given, in today's terms.

    Versions that did not know ``lift.keep`` wrote 8.5 where no guidance inside a network was asked for; only LCM, whose
    own value that still is, ever heard it.
    """
    told = dict(manifest.config or {})
    lift = told.get("lift")
    if told.get("embedded_guidance") == _LCM_GUIDANCE and not (isinstance(lift, dict) and "keep" in lift):
        del told["embedded_guidance"]
    return told


def find_run(where: Path) -> Path:
    """The run's folder: the path itself, or for a path inside it, such as that of its GLB, the folder around.

    Raises:
        BadInput: there is no run.
    """
    where = given_path(where, "RUN")
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


@dataclass
class StageLine:
    """A stage's line in the manifest; what is None was not written there, and ``extra`` is what others wrote.

    ``status`` is running, finished, outdated, interrupted or failed; the rest is as in ``stage.json``.
    """

    status: str = "finished"
    folder: str = ""
    key: str | None = None
    outputs: dict[str, str] | None = None
    facts: dict[str, Any] | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    resumed: bool | None = None
    edited: bool | None = None
    models: dict[str, dict[str, Any]] | None = None
    error: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class ForcedNote(TypedDict):
    """Which stages ``--from`` has run anew already."""

    done: list[str]
    stage: str


@dataclass
class Manifest:
    """What is written down about a run; ``extra`` keeps entries that this version does not know.

    Attributes:
        config: the settings as they were asked for; ``settled`` with nothing left open.
        versions: of Python and of packages; ``machine``: what computed, see ``run.machine``.
        threads: how many compute.
        forced: the note of a ``--from`` that was stopped.
        stages: a line for each stage that ever began.
    """

    prompt: str
    seed: int
    format: int = FORMAT
    config: dict[str, Any] | None = None
    settled: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    machine: dict[str, Any] | None = None
    threads: int | None = None
    forced: ForcedNote | None = None
    stages: dict[str, StageLine] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        told = _told(self) | {"stages": {name: _told(line) for name, line in self.stages.items()}}
        if self.forced is not None:
            told["forced"] = {"from": self.forced["stage"], "done": self.forced["done"]}
        return told

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Manifest:
        """The inverse of ``as_json``, of content that ``_problem`` finds nothing wrong with."""
        stages = {
            name: StageLine(**_sorted_out(StageLine, line))
            for name, line in content.get("stages", {}).items()
        }
        known: dict[str, Any] = _sorted_out(cls, content) | {"stages": stages}
        if forced := content.get("forced"):
            known["forced"] = ForcedNote(stage=forced["from"], done=forced["done"])
        return cls(**known)

    def models(self) -> dict[str, dict[str, Any]]:
        """{role: what is told of it} of every model that a stage used; the stage that used it first knows best."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.stages.values():
            for role, told in (line.models or {}).items():
                found[role] = {**told, **found.get(role, {})}
        return found


def _told(part: Manifest | StageLine) -> dict[str, Any]:
    own = {name: value for name, value in vars(part).items() if name != "extra" and value is not None}
    return own | part.extra


def _sorted_out(kind: type, content: dict[str, Any]) -> dict[str, Any]:
    """The entries that a class knows, and under ``extra`` the others."""
    names = {item.name for item in fields(kind)} - {"extra"}
    known = {name: value for name, value in content.items() if name in names}
    return known | {"extra": {name: value for name, value in content.items() if name not in names}}


def read_manifest(run: Path) -> Manifest:
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
    return Manifest.from_json(content)


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
    stages = content.get("stages", {})
    if not _is_table(stages):
        return "its stages are no objects"
    for line in stages.values():
        if problem := _problem_of_line(line):
            return problem
    for name in ("config", "settled"):
        part = content.get(name, {})
        if not (
            isinstance(part, dict) and all(isinstance(part.get(one, ""), str) for one in ("dtype", "device"))
        ):
            return "its settings are no object"
    if not _is_int(content.get("threads", 1)):
        return "its threads are no whole number"
    if not all(isinstance(content.get(name, {}), dict) for name in ("versions", "machine")):
        return "its versions or machine are no objects"
    forced = content.get("forced", {"from": "", "done": []})
    if not (
        isinstance(forced, dict)
        and isinstance(forced.get("from"), str)
        and isinstance(forced.get("done"), list)
    ):
        return "its note of --from is none"
    return None


def _problem_of_line(line: dict[str, Any]) -> str | None:
    if not isinstance(line.get("status", ""), str):
        return "the status of a stage is no text"
    if not (_is_table(line.get("models", {})) and isinstance(line.get("facts", {}), dict)):
        return "the models or facts of a stage are no objects"
    if not all(isinstance(line.get(name, 0), int | float) for name in ("seconds", "peak_memory_mb")):
        return "the time or memory of a stage is no number"
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(line, dict) for line in value.values())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run makes."""
    return dict(_versions())


@cache
def _versions() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):  # an absent package has no version to tell
            found[name] = metadata.version(name)
    return found
