"""What a stage is given, and the key of what it makes with it: both follow from its line in the table of stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...configs.atomic import fingerprint, sha256_of_file
from ...configs.controls import control_text
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_path
from ...configs.schema import MakeConfig
from .commands import command
from .record import StageRecord
from .stage import Stage

Keys = tuple[str, ...]
"""The key of a stage, and after it those that earlier versions gave to the very same."""


class Inputs(dict[str, Path]):
    """{"stage/file": where it lies} of what a stage needs; to ask for anything else is a fault of the stage."""

    def __init__(self, stage: str, files: Mapping[str, Path]) -> None:
        super().__init__(files)
        self._stage = stage

    def __missing__(self, name: str) -> Path:
        raise SlipcastError(
            f"the stage {self._stage} opens {name}, which it does not say that it needs; "
            "its line in the table of stages is wrong"
        )


def given(stage: Stage, records: Mapping[str, StageRecord]) -> dict[str, str]:
    """{"stage/file": SHA-256} of what a stage needs, as far as it was made."""
    made = {f"{name}/{file}": sha for name, record in records.items() for file, sha in record.outputs.items()}
    return {
        name: sha
        for name, sha in made.items()
        if any(name == need or fnmatchcase(name, need) for need in stage.needs)
    }


def inputs(stage: Stage, records: Mapping[str, StageRecord], folders: Mapping[str, Path]) -> Inputs:
    """Where the files lie that a stage needs.

    Args:
        records, folders: of the earlier stages, by name.
    Raises:
        SlipcastError: one was not made, or is gone.
    """
    found = {}
    for name in [*given(stage, records), *(need for need in stage.needs if "*" not in need)]:
        other, _, file = name.partition("/")
        found[name] = folders[other] / file
        if not found[name].is_file():
            run = folders[other].parent
            raise SlipcastError(
                f"stage {stage.name} needs {file} of stage {other}, which is not in {folders[other]}; "
                f"`{command('make', '--resume', run, '--from', other)}` makes it again"
            )
    return Inputs(stage.name, found)


def named_files(stage: Stage, config: MakeConfig) -> dict[str, list[str]]:
    """{setting: SHA-256 of each picture that it names, with what is said beside its path} of a stage's own settings.

    Raises:
        BadInput: such a file is not there.
    """
    own: Any = getattr(config, stage.name, None)
    found: dict[str, list[str]] = {}
    for item in () if own is None else fields(own):
        named: list[str] | str | None = getattr(own, item.name) if item.metadata.get("files", False) else None
        if named:
            texts = [named] if isinstance(named, str) else named
            hashed = _told if item.name == "control" else _hash_of
            found[f"{stage.name}.{item.name}"] = [hashed(one) for one in texts]
    for name, one in getattr(own, "conditions", {}).items():
        if one.control:
            found[f"{stage.name}.conditions.{name}"] = [_told(text) for text in one.control]
    return found


def _told(text: str) -> str:
    """``canny:edges.png:net`` with the hash of the picture in the place of its path."""
    control = control_text(text)
    # A network that finds the map is one of the stage's models, which count by themselves.
    find = "network" if control.finder else control.find
    return str(replace(control, picture=_hash_of(control.picture), find=find))


def _hash_of(path: str) -> str:
    place = given_path(path, "a picture")
    if not place.is_file():
        raise BadInput(f"there is no picture {path}; give the path of a PNG or JPEG file")
    return sha256_of_file(place)


def stage_keys(
    stage: Stage,
    prompt: str,
    seed: int,
    config: MakeConfig,
    records: Mapping[str, StageRecord],
    identities: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, Any] | None = None,
) -> Keys:
    """Fingerprints of everything that decides what a stage makes.

    Args:
        identities: of its models, by role.
        files: SHA-256 of the files that its settings name, by setting; nothing where none are named.
    """
    told = {
        "stage": stage.name,
        "version": stage.version,
        "prompt": prompt,
        "seed": seed,
        "settings": stage.settings(config),
        "models": identities,
    }
    if files:
        told["files"] = files
    if revisions := stage.revisions(config):
        told["revisions"] = revisions
    # Versions up to 0.1 counted all that the stages before had made, and not only what is read of it.
    always = {need.partition("/")[0] for need in stage.needs if "*" not in need}
    all_made = {name: records[name].outputs for name in stage.follows if name in always}
    return tuple(fingerprint(told | {"inputs": one}) for one in (given(stage, records), all_made))
