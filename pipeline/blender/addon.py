"""The Blender extension as a zip file, which Blender installs by "Install from Disk"."""

from __future__ import annotations

import io
import tomllib
import zipfile
from pathlib import Path

from ...configs.atomic import explain_os_errors, write_bytes
from ...configs.paths import given_folder

SOURCE = Path(__file__).with_name("extension")
_HELD = (".py", ".toml", ".md")
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the same files make the same zip, byte for byte


def write_extension(folder: Path) -> Path:
    """Write ``<id>-<version>.zip`` into a folder and return its path.

    Raises:
        BadInput: the folder is a file.
        SlipcastError: it cannot be written.
    """
    folder = given_folder(folder, "--out")
    manifest = tomllib.loads((SOURCE / "blender_manifest.toml").read_text(encoding="utf-8"))
    path = folder / f"{manifest['id']}-{manifest['version']}.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(SOURCE.iterdir()):
            if file.suffix in _HELD or file.name == "LICENSE":
                archive.writestr(
                    zipfile.ZipInfo(file.name, _NO_DATE), file.read_bytes(), zipfile.ZIP_DEFLATED
                )
    with explain_os_errors(path, "writing the extension"):
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    return path
