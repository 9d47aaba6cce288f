"""Jobs: what to make, with which settings, in which folder; all of a file checked before any of it runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ...configs.atomic import fingerprint
from ...configs.errors import BadInput
from ...configs.loading import Layer, built, parse_override, preset_layers
from ...configs.names import shown
from ...configs.paths import given_path
from ...configs.schema import MakeConfig
from ..run.prompts import check_prompt, slug
from ..run.stage import selected
from ..stages.table import all_stages
from .job_files import Entry, read_entries
from .placing import run_key

NAMES = ("prompt", "id", "picture", "seed", "config", "until", "tries", "keep", "overrides")
"""What an entry may say beside settings; every other name is a setting, dotted or a group."""
_LARGEST_SEED = 2**63 - 1
_MOST_TOLD = 20  # problems of a file in one message


@dataclass(frozen=True)
class Job:
    """One thing to make.

    Attributes:
        id: its name in the job file, in events and in sentences.
        prompt: what to make; may be empty for a picture.
        picture: of what to make, instead of one that is drawn.
        until: last stage; None for all of them.
        tries: seeds whose pictures are drawn, from ``seed`` on; 1 for a plain job.
        keep: how many of the tries, the best ones, are made whole.
        where: file and line.
        key: fingerprint of all that decides what is made.
        settings_key: eight digits that tell apart the settings of runs of one prompt and seed.
        parent: key of the job whose candidate this is.
    """

    id: str
    prompt: str
    seed: int
    config: MakeConfig
    where: str
    key: str = ""
    settings_key: str = ""
    picture: Path | None = None
    until: str | None = None
    tries: int = 1
    keep: int = 1
    parent: str | None = field(default=None, compare=False)

    def candidate(self, number: int, *, whole: bool) -> Job:
        """Try ``number`` of this job: its picture alone, or the whole asset."""
        child = replace(
            self,
            id=f"{self.id}/{self.seed + number}{'' if whole else '/picture'}",
            seed=self.seed + number,
            until=self.until if whole else "image",
            tries=1,
            keep=1,
            parent=self.key,
        )
        return replace(child, key=fingerprint([self.key, number, whole]))


def read_jobs(
    path: Path, *, config: str = "starter", overrides: Sequence[str] = (), keep_going: bool = False
) -> tuple[list[Job], list[str]]:
    """(jobs of a file or folder in its order, sentences on what is left out because of ``keep_going``).

    Args:
        config: preset of the entries that name none.
        overrides: ``key=value`` on top of what all entries say.
        keep_going: leave out what cannot be used, instead of refusing the file.
    Raises:
        BadInput: the file, or without ``keep_going`` any line of it, cannot be used; every such line is told.
    """
    path = given_path(path, "JOBS")
    if not path.exists():
        raise BadInput(f"there is no job file or folder {path}")
    entries, problems = read_entries(path)
    settings = _Settings(path if path.is_dir() else path.parent, config, overrides)
    jobs: list[Job] = []
    ids: dict[str, str] = {}
    keys: dict[str, str] = {}
    for entry in entries:
        try:
            job = _job(entry, settings)
            if job.id in ids:
                raise BadInput(f"the id {shown(job.id)} is that of {ids[job.id]} too; give each job its own")
            if job.key in keys:
                raise BadInput(f"this is the job of {keys[job.key]} once more; give one of them another seed")
        except BadInput as error:
            problems.append(f"{entry.where}: {error}")
            continue
        ids[job.id] = keys[job.key] = entry.where
        jobs.append(job)
    if problems and not (keep_going and jobs):
        told = "\n".join(problems[:_MOST_TOLD])
        more = f"\nand {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
        if len(problems) == 1 and not more:
            raise BadInput(f"{problems[0]} (--keep-going runs the rest)" if jobs else problems[0])
        rest = "; --keep-going runs the rest" if jobs else ""
        raise BadInput(f"{len(problems)} lines of {path} cannot be used{rest}:\n{told}{more}")
    return jobs, problems


def one_job(values: Mapping[str, Any], where: str, folder: Path) -> Job:
    """The job of one entry, checked as those of a file are.

    Args:
        values: what a line of a JSONL file says.
        where: what the entry is called in sentences.
        folder: that of its file, which paths in it are relative to.
    Raises:
        BadInput: it cannot be used.
    """
    return _job(Entry(where, dict(values)), _Settings(folder, "starter", ()))


def with_picture(config: MakeConfig, picture: Path) -> MakeConfig:
    """The settings of a run that is made of a picture instead of one that is drawn."""
    return replace(config, image=replace(config.image, picture=[str(picture)]))


class _Settings:
    """Settings of entries, each different set of them read and checked once."""

    def __init__(self, folder: Path, default: str, overrides: Sequence[str]) -> None:
        self.folder, self._default = folder, default
        self._on_top: list[Layer] = [("the command line", parse_override(one)) for one in overrides]
        self._presets: dict[str, list[Layer]] = {}
        self._configs: dict[str, tuple[MakeConfig, str]] = {}
        self.stages = all_stages()  # once: other packages are asked for theirs
        self._presets[""] = preset_layers(default)
        self._of({}, "the command line", None)  # what is wrong for all entries is told once, and not by line

    def of(self, said: dict[str, Any], where: str, preset: str | None) -> tuple[MakeConfig, str]:
        """(checked settings, their fingerprint)."""
        cached = json.dumps([preset, said], sort_keys=True, default=str)
        if cached not in self._configs:
            self._configs[cached] = self._of(said, where, preset)
        return self._configs[cached]

    def _of(self, said: dict[str, Any], where: str, preset: str | None) -> tuple[MakeConfig, str]:
        name = preset or ""
        if name not in self._presets:
            self._presets[name] = preset_layers(name, beside=self.folder)
        config = built([*self._presets[name], (where, said), *self._on_top])
        return config, fingerprint(asdict(config))


def _job(entry: Entry, settings: _Settings) -> Job:
    values = dict(entry.values)
    given = {name: values.pop(name) for name in NAMES if values.get(name) is not None}
    said = _overrides(given.get("overrides", {})) | {k: v for k, v in values.items() if v is not None}
    _check_names(said)
    config, config_key = settings.of(said, entry.where, _text(given, "config"))
    picture = _picture(_text(given, "picture"), settings.folder)
    prompt = _text(given, "prompt")
    if prompt is None and picture is None:
        raise BadInput("there is no prompt; say what to make, or give a picture")
    prompt = "" if prompt is None else check_prompt(prompt)
    seed = _number(given, "seed", 0, 0, _LARGEST_SEED)
    until = _text(given, "until")
    selected(settings.stages, None, until)
    tries = _number(given, "tries", 1, 1, 1000)
    keep = _number(given, "keep", 1, 1, tries)
    if tries > 1 and (picture is not None or until == "image"):
        raise BadInput(
            "tries draws several pictures and makes assets of the best; leave picture and until: image out"
        )
    settings_key = run_key(config_key, picture)
    key = fingerprint([prompt, seed, settings_key, config_key, until, tries, keep])
    name = _text(given, "id")
    if name is not None and not (name.isprintable() and 0 < len(name.strip()) <= 200):
        raise BadInput(f"the id {shown(name)} is empty, too long or holds what cannot be printed")
    return Job(
        id=(name or f"{slug(prompt or 'picture')}-{seed}-{key[:6]}").strip(),
        prompt=prompt,
        seed=seed,
        config=config if picture is None else with_picture(config, picture),
        where=entry.where,
        key=key,
        settings_key=settings_key,
        picture=picture,
        until=until,
        tries=tries,
        keep=keep,
    )


def _check_names(said: dict[str, Any]) -> None:
    """A word that is nearer to one of ours than to any setting."""
    groups = {item.name for item in fields(MakeConfig)}
    for name in said:
        if name.partition(".")[0] not in groups:
            near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.7)
            if near:
                raise BadInput(f"there is no key {shown(name)}; did you mean {near[0]}?")


def _overrides(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadInput(f"overrides expects settings such as {{refine.steps: 100}}, not {shown(given)}")
    return {str(key): value for key, value in given.items()}


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if name == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{name} expects text, not {shown(value)}")
    return value


def _number(given: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadInput(f"{name} expects a whole number from {least} to {most}, not {shown(value)}")
    return value


def _picture(given: str | None, folder: Path) -> Path | None:
    if given is None:
        return None
    path = given_path(folder / given, "picture")
    if not path.is_file():
        raise BadInput(f"there is no picture {path}")
    return path
