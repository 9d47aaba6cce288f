"""The plug-in as one file in a clone of threestudio, which loads whatever lies in its folder ``custom``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ...configs.atomic import explain_os_errors, write_text
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_path

NAME = "slipcast_guidance.py"
_OLDEST = (0, 2, 0)  # the first that loads custom/
_HERE = Path(__file__).parent
_WIRE_IMPORT = re.compile(r"^from \.\.serving\.wire import .*$", re.MULTILINE)
_MARK = "# Written by `slipcast threestudio install`; sha256 of what follows: "

YAML = """\
system:
  guidance_type: "slipcast-multi-guidance"
  guidance:                          # in the place of the old guidance's fields
    address: "127.0.0.1:{port}"        # slipcast guidance serve --port {port}
    guidance_scale: 100.             # of the term text, as threestudio counts; slipcast's 101
    # weights: {{domain: 8., text: 12.}} # by the recipe's terms, as slipcast counts; the server's own if left out
    min_step_percent: 0.02
    max_step_percent: [0, 0.98, 0.5, 10000]
  prompt_processor_type: "slipcast-prompt-processor" # loads no text encoder: the server has one
  prompt_processor:
    prompt: ???
"""


def installed_text() -> str:
    """The plug-in and the wire that it speaks, as one file that imports nothing of ours."""
    plugin = (_HERE / "plugin.py").read_text(encoding="utf-8")
    wire = (_HERE.parent / "serving" / "wire.py").read_text(encoding="utf-8")
    parts = _WIRE_IMPORT.split(plugin)
    if len(parts) != 2:
        raise SlipcastError("the plug-in's source should import the wire once; reinstall slipcast")
    text = (
        f"{parts[0].rstrip()}\n\n# --- the wire ---\n\n{wire.strip()}\n\n# --- the guidance ---\n{parts[1]}"
    )
    return f"{_MARK}{_hash(text)}\n{text}"


def install(folder: Path, *, force: bool = False) -> Path:
    """Write the plug-in into a clone's ``custom``, over an older one of ours.

    Args:
        force: also over a file that is not ours, or that somebody has changed.
    Returns:
        The file.
    Raises:
        BadInput: no clone of threestudio that loads such files, or a file that is not to be replaced.
        SlipcastError: it cannot be written.
    """
    folder = given_path(folder, "DIR")
    _check_clone(folder)
    path = folder / "custom" / NAME
    if not force and (why := _not_ours(path)):
        raise BadInput(f"{path} {why}; move it away, or replace it with --force")
    with explain_os_errors(path, "writing the plug-in", then=""):
        path.parent.mkdir(exist_ok=True)
        write_text(path, installed_text())
    return path


def _check_clone(folder: Path) -> None:
    try:
        told = (folder / "threestudio" / "__init__.py").read_text(encoding="utf-8")
        loads = "custom" in (folder / "launch.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{folder} is no clone of threestudio: there should be launch.py and threestudio/__init__.py in it"
        ) from error
    version = re.search(r'^__version__ = "(\d+)\.(\d+)\.(\d+)', told, re.MULTILINE)
    if not loads or version is None or tuple(map(int, version.groups())) < _OLDEST:
        said = ".".join(version.groups()) if version else "of no version"
        raise BadInput(f"{folder} is threestudio {said}, which loads no custom/; get 0.2.0 or later")


def _not_ours(path: Path) -> str | None:
    """Why a file that is there is not ours to replace."""
    if not path.exists() and not path.is_symlink():
        return None
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return "is not slipcast's"
    if not first.startswith(_MARK):
        return "is not slipcast's"
    return None if first == _MARK + _hash(rest) else "was changed by hand since it was installed"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
