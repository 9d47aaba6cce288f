"""Writing an asset in several formats, so that one that fails takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput, SlipcastError
from ..assets.asset import Asset
from ..run.lock import FolderLock
from ..run.staging import all_or_nothing, without_staging
from .table import check_formats, format_named, main_files


@dataclass
class Written:
    """What became of each format: its file, or the sentence that says why there is none; and the size of all files."""

    files: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    bytes: int = 0

    def some(self) -> Written:
        """The same. SlipcastError if not one format could be written."""
        if not self.files:
            raise SlipcastError(f"no format could be written ({_joined(self.failed)})")
        return self

    def moved(self, folder: Path) -> Written:
        """The same, once the files have moved into another folder."""
        return Written(
            {kind: folder / path.name for kind, path in self.files.items()}, self.failed, self.bytes
        )


def write_formats(
    asset: Asset,
    folder: Path,
    formats: Sequence[str],
    *,
    stem: str | None = None,
    advance: Callable[..., None] = lambda n=1: None,
) -> Written:
    """Write ``<stem>.<format>`` for each format, replacing what is there; the stem is the asset's name if left out.

    A format that fails leaves nothing of its own, and what it would have replaced stays. That none succeeds is for the
    caller to refuse (``Written.some``): a level of detail can do without.

    Raises:
        BadInput: a format that is none.
    """
    check_formats(formats)
    written = Written()
    for name in dict.fromkeys(formats):
        path = folder / f"{stem or asset.name}.{name}"
        try:
            with all_or_nothing(folder, last=main_files()) as place:
                format_named(name).load()(asset, place / path.name)
                size = sum(file.stat().st_size for file in place.iterdir() if file.name != FolderLock.NAME)
        except Exception as error:
            written.failed[name] = _sentence(name, error)
        else:
            written.files[name] = path
            written.bytes += size
        advance()
    return written


def missing_for(formats: Sequence[str]) -> dict[str, str]:
    """{format: sentence} of those that cannot be written here, whatever the asset: a library or a program is missing.

    Raises:
        BadInput: none of the formats can be written.
    """
    missing: dict[str, str] = {}
    for name in dict.fromkeys(formats):
        try:
            format_named(name).prepare()
        except Exception as error:
            missing[name] = _sentence(name, error)
    if missing and len(missing) == len(set(formats)):
        raise BadInput(f"no format could be written ({_joined(missing)})")
    return missing


def _joined(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {sentence}" for name, sentence in failed.items())


def _sentence(name: str, error: Exception) -> str:
    if isinstance(error, OSError):
        error = _explained(name, error)
    if isinstance(error, SlipcastError):
        return without_staging(str(error))
    if isinstance(error, ModuleNotFoundError):
        return f"this installation lacks the module {error.name}"
    if isinstance(error, MemoryError):
        return "the memory did not suffice"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    return f"the writer of {name} failed ({type(error).__name__}: {reason})"


def _explained(name: str, error: OSError) -> SlipcastError:
    try:
        with explain_os_errors(Path(f"the {name}"), f"writing the {name.upper()}", then=""):
            raise error
    except SlipcastError as explained:
        return explained
