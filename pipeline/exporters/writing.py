"""Writing an asset in several formats, so that one that fails takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...configs.errors import SlipcastError
from ...configs.names import unknown_name
from ..assets.asset import Asset
from .table import WRITERS


@dataclass
class Written:
    """What became of each format: its file, or the sentence that says why there is none."""

    files: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def write_formats(
    asset: Asset,
    folder: Path,
    formats: Sequence[str],
    *,
    stem: str | None = None,
    advance: Callable[..., None] = lambda n=1: None,
) -> Written:
    """Write ``<stem>.<format>`` for each format, replacing what is there; the stem is the asset's name if left out.

    Raises:
        BadInput: a format that is none.
        SlipcastError: not one could be written.
    """
    for name in formats:
        if name not in WRITERS:
            raise unknown_name("format", name, WRITERS)
    written, last = Written(), None
    for name in dict.fromkeys(formats):
        path = folder / f"{stem or asset.name}.{name}"
        try:
            WRITERS[name].load()(asset, path)
        except Exception as error:
            written.failed[name], last = _sentence(name, error), error
        else:
            written.files[name] = path
        advance()
    if written.failed and not written.files:
        sentences = "; ".join(f"{name}: {sentence}" for name, sentence in written.failed.items())
        raise SlipcastError(f"no format could be written ({sentences})") from last
    return written


def notices(written: Written, retry: str) -> list[str]:
    """One sentence for each format that failed; ``retry`` is the command that tries it again."""
    return [
        f"{name} was not written: {sentence}. `{retry} --format {name}` tries again"
        for name, sentence in written.failed.items()
    ]


def _sentence(name: str, error: Exception) -> str:
    if isinstance(error, SlipcastError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"this installation lacks the module {error.name}"
    if isinstance(error, MemoryError):
        return "the memory did not suffice"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    return f"the writer of {name} failed ({type(error).__name__}: {reason})"
