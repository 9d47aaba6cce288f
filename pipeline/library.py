"""A folder of finished runs becomes a Blender asset library: a .blend per run, and the catalogue file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..configs.atomic import explain_os_errors
from ..configs.errors import BadInput, SlipcastError
from ..configs.limits import check_limits
from ..configs.paths import given_folder, given_path
from ..configs.schema import ExportConfig, MakeConfig
from ..systems.types import Mesh
from .assets.asset import Asset
from .assets.preparing import prepare
from .blender.catalogues import domain_catalogue, write_catalogues
from .blender.process import Blender
from .blender.writer import build_blend
from .exporters.levels import with_faces
from .finished import FinishedRun, read_run
from .library_index import read_index
from .run.manifest import read_manifest
from .run.progress import Progress


@dataclass
class Library:
    """What became of each run: {name: path} of files written and kept, {name: reason} of the others."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)
    kept: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def build_library(
    runs: Path,
    folder: Path,
    find: Callable[[], Blender],
    console: Progress,
    *,
    force: bool = False,
    credits: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Library:
    """Write ``folder/<run>.blend`` for every run under ``runs`` whose mesh is finished.

    A run that cannot be turned into a file is noted and stops no other. Files that were made of the same runs are kept,
    so a stopped build goes on where it was; where another run, or a file of somebody else's, has the name, a number is
    added to it.

    Args:
        find: returns the Blender to use; called when the first file is to be written.
        credits: author, licence and copyright, put into every file.
        changes: settings ``export.*`` in the place of the runs' own; None leaves them.

    Raises:
        BadInput: ``runs`` holds no runs, ``folder`` is a file, or a change is out of its limits.
        SlipcastError: no usable Blender, or the folder cannot be written.
    """
    folder = given_folder(folder, "DIR")
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    check_limits(MakeConfig(export=ExportConfig(**given)))
    library = Library(folder)
    wanted: list[FinishedRun] = []
    for place in run_folders(runs):
        told = _examine(place)
        if isinstance(told, str):
            library.skipped[place.name] = told
        else:
            wanted.append(replace(told, export=replace(told.export, **given)))
    with explain_os_errors(folder, "making the library's folder"):
        folder.mkdir(parents=True, exist_ok=True)
    index = read_index(folder)
    blender: Blender | None = None
    advance = console.task("assets", len(wanted))
    for run in wanted:
        name = index.claim(run)
        path = folder / f"{name}.blend"
        if path.exists() and not force:
            library.kept[name] = path
            if not index.is_current(name, run):
                console.notice(f"{path} shows another mesh than its run has now; --force makes it anew")
        else:
            blender = blender or find()
            try:
                build_blend(asset_of_run(run, credits or {}, name=name), path, blender)
                index.made(name, run)
                library.made[name] = path
            except (SlipcastError, OSError) as error:
                library.failed[name] = str(error)
                console.notice(f"{name} failed: {error}")
        if name not in library.failed:
            # After every file, so that what is there is in its catalogue even if the rest is stopped.
            write_catalogues(folder, [catalogue_of(run)])
        advance()
    return library


def run_folders(runs: Path) -> list[Path]:
    """The runs in a folder, sorted; or the folder itself if it is a run.

    Raises:
        BadInput: there are none.
    """
    runs = given_path(runs, "RUNS")
    if not runs.is_dir():
        raise BadInput(f"RUNS expects a folder that holds runs; {runs} is none")
    if (runs / "manifest.json").is_file():
        return [runs]
    found = sorted(path.parent for path in runs.glob("*/manifest.json"))
    if not found:
        raise BadInput(f"{runs} holds no runs (folders with a manifest.json); make one with `slipcast make`")
    return found


def _examine(run: Path) -> FinishedRun | str:
    """A run whose mesh is finished and up to date, or why it cannot be used."""
    try:
        line = read_manifest(run).stages.get("mesh")
        status = "finished" if line is None else line.status
        return read_run(run) if status == "finished" else f"its mesh stage is {status}"
    except SlipcastError as error:
        return str(error)


def asset_of_run(run: FinishedRun, credits: Mapping[str, str], *, name: str) -> Asset:
    """A run's object as ``slipcast export`` makes it, with what the asset browser shows besides.

    ``name`` is the file's, so that two seeds of one prompt, or two runs of one name, are two assets in the browser.
    """
    mesh = with_faces(Mesh.load(run.mesh_file), run.export.faces, crease_deg=run.crease_deg)
    asset = prepare(mesh, run.export, name=name, prompt=run.prompt, seed=run.seed, models=run.models)
    catalogue = catalogue_of(run)
    models = {str(told.get("id")): str(told.get("licence", "unknown")) for told in run.models.values()}
    named = ", ".join(f"{model} ({licence})" for model, licence in models.items())
    title = run.prompt or run.path.name  # without a prompt it is named after its picture
    shown = {
        "description": f"{title}. Made with {named}." if named else title,
        "catalogue": catalogue,
        "tags": ["slipcast", catalogue.rpartition("/")[2]],
    }
    return replace(asset, facts=dict(asset.facts) | shown | {k: v for k, v in credits.items() if v})


def catalogue_of(run: FinishedRun) -> str:
    """The catalogue that a run's asset is in: its domain's."""
    return domain_catalogue(str(run.models.get("domain", {}).get("id", "")))
