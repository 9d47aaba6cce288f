"""In which folder a run goes, so that one of other settings never replaces what another has made.

The first run of a prompt and seed is ``<slug>-<seed>``, as ``slipcast make`` has it; runs of other settings get
``<slug>-<seed>-<short key>``. Which of them is the first is decided by what lies there, and by who asked first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...configs.atomic import fingerprint, sha256_of_file
from ...configs.errors import BadInput
from ...configs.loading import restore_config
from ...configs.schema import MakeConfig
from ..run.folder import run_path
from ..run.manifest import MANIFEST, read_manifest, settings_of_run
from ..run.prompts import file_name


class Places:
    """Folders of runs below ``out``, given away one by one; in ``others`` lie manifests of runs of the same names."""

    def __init__(self, out: Path, *others: Path) -> None:
        self._out, self._others = out, others
        self._given: dict[Path, str] = {}

    def keep(self, folder: Path, key: str) -> None:
        """A folder was given to this key before."""
        self._given[folder] = key

    def folder(
        self, prompt: str, seed: int, config: MakeConfig, key: str, picture: Path | None = None
    ) -> Path:
        """The folder of the run of these, whose ``run_key`` is ``key``; the same for the same.

        Args:
            picture: the picture of ``config``, if it is made of one.
        """
        plain = plain_path(self._out, prompt, seed, picture)
        there = (plain, *(other / plain.name for other in self._others))
        free = plain in self._given or all(_is_free(place, config) for place in there)
        if self._given.get(plain, key) == key and free:
            self._given[plain] = key
            return plain
        return plain.with_name(f"{plain.name}-{key}")


def run_key(config_key: str, picture: Path | None = None) -> str:
    """Eight digits that tell the settings of runs of one prompt and seed apart.

    Args:
        config_key: fingerprint of the ``MakeConfig`` as a dictionary.
    """
    return fingerprint([config_key, picture and sha256_of_file(picture)])[:8]


def plain_path(out: Path, prompt: str, seed: int, picture: Path | None = None) -> Path:
    """Where the first run of a prompt, or of a picture, and a seed lies: runs of pictures are called as those are."""
    return run_path(out, prompt, seed) if picture is None else out / f"{file_name(picture.stem)}-{seed}"


def _is_free(folder: Path, config: MakeConfig) -> bool:
    """Nothing lies there, or the run of these very settings."""
    if not (folder / MANIFEST).is_file():
        return True
    try:
        before = restore_config(settings_of_run(read_manifest(folder)), source=str(folder / MANIFEST))
    except BadInput:  # it cannot be read, so whose it is cannot be said either
        return False
    # ``auto`` is written down as what it came to on the machine.
    same = {name: getattr(before, name) for name in ("device", "dtype") if getattr(config, name) == "auto"}
    return replace(config, **same) == before
