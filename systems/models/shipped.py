"""Weights that ship with a list of their hashes are checked against it before they are used."""

from __future__ import annotations

from pathlib import Path

from ...configs.atomic import read_json_object, sha256_of_folder, write_json
from ...configs.errors import BadInput
from .identity import sha256_once

HASHES = "hashes.json"


def write_hashes(weights: Path) -> None:
    """Write ``hashes.json``, {relative path: sha256} of every file below a folder of models, into that folder."""
    write_json(weights / HASHES, sha256_of_folder(weights, leave_out=frozenset({HASHES})))


def check_hashes(model: Path) -> None:
    """Compare a model's files with the ``hashes.json`` in the folder around it; without one, nothing is known.

    A flipped bit in a weight changes what is made and nothing else would notice. Each file is hashed once per process.

    Raises:
        BadInput: a file is missing or is not what is listed.
    """
    folder = model if model.is_dir() else model.parent
    listed = folder.parent / HASHES
    if not listed.is_file():
        return
    for name, wanted in read_json_object(listed, "the list of hashes").items():
        file = folder.parent / name
        if folder in file.parents and not (file.is_file() and sha256_once(file) == wanted):
            raise BadInput(
                f"{file} is {'damaged' if file.is_file() else 'missing'}: it is not what {listed} says; "
                "install slipcast again, or build the weights again"
            )
