"""An asset handed over to Blender: a whole file in a folder that the extension watches, which imports it once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..configs.atomic import explain_os_errors
from ..configs.errors import BadInput
from ..configs.paths import given_folder
from .blender.catalogues import write_catalogues
from .blender.process import Blender
from .blender.writer import build_blend
from .exporters.table import format_named
from .finished import read_run
from .library import asset_of_run, catalogue_of
from .library_index import read_index

FOLDER = Path("~/slipcast/to-blender")  # the extension's preferences name it too
FORMATS = ("glb", "blend")


def send_to_blender(
    where: Path,
    folder: Path = FOLDER,
    *,
    kind: str = "glb",
    find: Callable[[], Blender],
) -> Path:
    """Write a run's asset into a folder that Blender watches, and return its path.

    The file is written aside and renamed, so that whoever looks sees all of it or nothing. The folder has the index of
    a library (``slipcast blender library``): a run that is sent again replaces its own file and nobody else's. A
    .blend has its catalogue there as well, so that the folder can be an asset library of Blender's.

    Args:
        kind: "glb", which needs no Blender here, or "blend", whose material is as it is meant.
        find: returns the Blender that writes a .blend.

    Raises:
        BadInput: no finished run, another kind of file, or ``folder`` is a file.
        SlipcastError: no usable Blender, or the folder cannot be written.
    """
    if kind not in FORMATS:
        raise BadInput(
            f"Blender is sent {' or '.join(FORMATS)}, not {kind!r}; `slipcast export` writes others"
        )
    run, folder = read_run(where), given_folder(folder, "--to")
    blender = find() if kind == "blend" else None
    with explain_os_errors(folder, "making the folder that Blender watches"):
        folder.mkdir(parents=True, exist_ok=True)
    index = read_index(folder)
    stem = index.claim(run)
    path, asset = folder / f"{stem}.{kind}", asset_of_run(run, {}, name=stem)
    if blender is None:
        format_named(kind).load()(asset, path)
    else:
        write_catalogues(folder, [catalogue_of(run)])
        build_blend(asset, path, blender)
    index.made(stem, run)
    return path
