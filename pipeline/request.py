"""What ``make`` and ``make --dry-run`` are asked for, checked before anything is made or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..configs.errors import BadInput
from ..configs.names import shown
from ..configs.paths import given_folder
from ..configs.schema import MakeConfig
from .exporters.table import check_formats
from .run.folder import run_path
from .run.keys import named_files
from .run.prompts import check_prompt, file_name, with_checked_prompts
from .run.stage import Stage, selected
from .stages.table import all_stages


@dataclass(frozen=True)
class Request:
    """A prompt with the settings, the run's folder, all stages, and which of them are meant.

    Attributes:
        prompt: empty where pictures stand for it.
        first, last: indices of the stages that may run; those before ``first`` are taken as they lie.
    """

    prompt: str
    config: MakeConfig
    run: Path
    stages: tuple[Stage, ...]
    first: int
    last: int

    @property
    def until_last(self) -> tuple[Stage, ...]:
        """The stages that the run holds afterwards."""
        return self.stages[: self.last + 1]

    @property
    def chosen(self) -> tuple[Stage, ...]:
        """The stages that may run."""
        return self.until_last[self.first :]

    @property
    def roles(self) -> list[str]:
        """Of the models that they use."""
        return sorted({role for stage in self.chosen for role in stage.roles})

    def named_files(self) -> dict[str, dict[str, list[str]]]:
        """{stage: {setting: SHA-256 of each}} of the files that their settings name."""
        return {stage.name: named_files(stage, self.config) for stage in self.chosen}


def checked_request(
    prompt: str,
    config: MakeConfig,
    *,
    out: Path,
    seed: int,
    resume: Path | None,
    from_stage: str | None,
    until_stage: str | None,
    stages: Sequence[Stage] | None,
) -> Request:
    """See ``make.make``, whose arguments these are. A run without a prompt is named after its first picture's file.

    Raises:
        BadInput: an unusable prompt, none at all, an unknown stage, format or device.
    """
    stages = all_stages() if stages is None else stages
    first, last = selected(stages, from_stage, until_stage)
    check_formats(config.export.formats, config.export.textures)
    out = given_folder(out, "--out")
    resume = None if resume is None else given_folder(resume, "--resume")
    _check_device(config.device)
    pictures = config.image.picture
    if prompt or not pictures:
        prompt = check_prompt(prompt)
    config = replace(
        config,
        image=with_checked_prompts(config.image, "image."),
        refine=with_checked_prompts(config.refine, "refine."),
    )
    run = out / f"{file_name(Path(pictures[0]).stem)}-{seed}" if pictures else run_path(out, prompt, seed)
    return Request(prompt, config, _writable_in_json(resume or run), tuple(stages), first, last)


def _writable_in_json(run: Path) -> Path:
    """Names of files may be any bytes; manifests, and the libraries that read what stages hand on, take UTF-8 alone."""
    try:
        str(run).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"the path of the run, {shown(str(run))}, is no UTF-8; use another --out") from error
    return run


def _check_device(wanted: str) -> None:
    """What every machine has is not worth the import of torch here."""
    if wanted not in ("auto", "cpu"):
        from ..systems.models.precision import resolve_device

        resolve_device(wanted)
