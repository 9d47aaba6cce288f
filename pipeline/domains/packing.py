"""A domain as one file to share: a zip with the sha256 of everything inside, and the way back.

Nothing in a zip is believed: names must stay below the folder, kinds be those that a domain is made of (no pickles,
nothing that runs), sizes are bounded before anything is written, and every byte is compared with its sum.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ...configs.atomic import explain_os_errors, sha256_of_file, sync_folder
from ...configs.errors import BadInput, in_one_line
from ...systems.domain.places import CARDS, TRAINING, checked_name, domains_folder
from ...systems.models.shipped import HASHES

ENDING = ".domain.zip"
SUMS = "sha256.json"
_KINDS = frozenset({".json", ".safetensors", ".txt", ".md", ".png", ".jpg", ".model"})
_MOST_FILES, _MOST_BYTES, _MOST_SMALL = 500, 64 * 10**9, 64 * 10**6
_BLOCK = 2**20
_DATE = (1980, 1, 1, 0, 0, 0)  # equal domains make equal files


def pack(folder: Path, out: Path | None = None) -> Path:
    """Write a domain's folder as one file; it is whole or absent, and never takes the place of another.

    Raises: BadInput for a folder without a card, or a file that is there.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path, folder)]
    if not any((folder / card).is_file() for card in CARDS):
        raise BadInput(f"{folder} is no domain: it has none of {', '.join(CARDS)}")
    taken = [path for path in files if path.suffix in _KINDS and path.name != SUMS]
    out = out or Path(folder.name + ENDING)
    if out.exists():
        raise BadInput(f"{out} is there already; remove it, or name another with --out")
    sums = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in taken}
    half = out.with_name(f".{out.name}.half")
    with explain_os_errors(out, "packing"):
        try:
            with zipfile.ZipFile(half, "w") as made:
                _put(made, SUMS, io.BytesIO((json.dumps(sums, indent=2, sort_keys=True) + "\n").encode()))
                for path in taken:
                    with open(path, "rb") as file:
                        _put(made, path.relative_to(folder).as_posix(), file)
            half.rename(out)
        finally:
            half.unlink(missing_ok=True)
    return out


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _put(made: zipfile.ZipFile, name: str, file: io.BufferedIOBase) -> None:
    """Weights are as random as noise and only stored; texts are deflated."""
    entry = zipfile.ZipInfo(name, _DATE)
    stored = name.endswith((".safetensors", ".png", ".jpg"))
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with made.open(entry, "w", force_zip64=True) as into:
        shutil.copyfileobj(file, into, _BLOCK)


def unpack(packed: Path, *, name: str | None = None, out: Path | None = None) -> Path:
    """The folder of a packed domain, written whole or not at all.

    Args: name: of its folder below ``out``; the file's own if None.
    Raises: BadInput for a file that is no packed domain, is damaged, or holds what no domain holds; for a name that is
        taken.
    """
    if not packed.is_file():
        raise BadInput(f"there is no file {packed}; give one that `slipcast domain pack` wrote")
    name = checked_name(name or packed.name.removesuffix(ENDING).removesuffix(".zip"))
    folder = (out or domains_folder()) / name
    if folder.exists():
        raise BadInput(f"{folder} is there already, and is never overwritten; take another --name")
    half = folder.with_name(f".{folder.name}.half")
    try:
        with explain_os_errors(folder, "unpacking"), zipfile.ZipFile(packed) as opened:
            entries = _checked(opened, packed)
            sums = _sums(opened, packed)
            if set(sums) != {one.filename for one in entries}:
                odd = sorted(set(sums) ^ {one.filename for one in entries})
                raise BadInput(
                    f"{packed} does not hold what its {SUMS} lists, such as {odd[0]!r}; get it again"
                )
            shutil.rmtree(half, ignore_errors=True)
            for entry in entries:
                _write(opened, entry, half / entry.filename, sums[entry.filename], packed)
        if not any((half / card).is_file() for card in CARDS):
            raise BadInput(f"{packed} holds no domain: it has none of {', '.join(CARDS)}")
        half.rename(folder)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        OverflowError,
    ) as error:
        raise BadInput(
            f"{packed} is no packed domain, or damaged ({in_one_line(error)}); get it again"
        ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    sync_folder(folder.parent)
    return folder


def _checked(opened: zipfile.ZipFile, packed: Path) -> list[zipfile.ZipInfo]:
    """The entries but the sums, all of them looked at before anything is written."""
    entries = [one for one in opened.infolist() if one.filename != SUMS]
    names = [one.filename for one in entries]
    if len(entries) > _MOST_FILES or len(set(names)) != len(names):
        raise BadInput(f"{packed} is no packed domain: it holds {len(entries)} files, or one of them twice")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        bad = (
            path.is_absolute()
            or not path.parts
            or any(
                part in ("..", ".") or part.startswith(".") or ":" in part or "\\" in part
                for part in path.parts
            )
            or path.as_posix() != entry.filename
            or not entry.filename.isprintable()
        )
        if bad or kind not in (0, stat.S_IFREG):
            raise BadInput(
                f"{packed} is not safe to unpack: {entry.filename!r} would not be a file in its folder"
            )
        if path.suffix not in _KINDS or path.name in (HASHES, SUMS) or TRAINING in path.name:
            raise BadInput(f"{packed} is no packed domain: {entry.filename!r} is nothing that a domain holds")
        if entry.file_size > _MOST_SMALL and path.suffix != ".safetensors":
            raise BadInput(
                f"{packed} is not safe to unpack: {entry.filename!r} would be {entry.file_size} bytes"
            )
        # Weights are stored as they are: who compresses them hides how large they are.
        if path.suffix == ".safetensors" and entry.compress_type != zipfile.ZIP_STORED:
            raise BadInput(f"{packed} is not safe to unpack: the weights {entry.filename!r} are compressed")
    whole = sum(one.file_size for one in entries)
    free = shutil.disk_usage(packed.parent).free
    if whole > min(_MOST_BYTES, max(free, 0)):
        raise BadInput(
            f"{packed} would unpack to {whole / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free here"
        )
    return entries


def _sums(opened: zipfile.ZipFile, packed: Path) -> dict[str, str]:
    found = [one for one in opened.infolist() if one.filename == SUMS]
    if len(found) != 1 or found[0].file_size > 10**6:
        raise BadInput(f"{packed} is no packed domain: it has no {SUMS}; `slipcast domain pack` writes one")
    told = json.loads(b"".join(_blocks(opened, found[0])))
    if not isinstance(told, dict) or not all(isinstance(one, str) for one in told.values()):
        raise BadInput(f"{packed} is damaged: its {SUMS} lists no sums; get it again")
    return told


def _blocks(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """An entry's bytes; never more than it says, whatever it unpacks to."""
    seen = 0
    with opened.open(entry) as file:
        while block := file.read(_BLOCK):
            seen += len(block)
            if seen > entry.file_size:
                raise BadInput(f"{entry.filename!r} is larger than it says; do not unpack this file")
            yield block


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, wanted: str, packed: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(path, "xb") as file:
        for block in _blocks(opened, entry):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != wanted:
        raise BadInput(f"{packed} is damaged: {entry.filename!r} is not what its {SUMS} says; get it again")
