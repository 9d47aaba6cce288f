"""``make``: a prompt becomes an asset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from ...configs.errors import BadInput
from ...configs.loading import load_config
from ...configs.schema import MakeConfig
from ..make import MakeResult
from ..make import make as run_make
from ..report.notebook import run_html
from ..report.reading import RunTold, read_told
from ..report.writing import REPORT
from ..run.manifest import asked_of
from .domains import Domain, domain_setting
from .telling import OnEvent, Told


@dataclass(frozen=True)
class Made(MakeResult):
    """A run and its files; None stands for what there is not. In a notebook: preview and 3-D view."""

    @cached_property
    def _told(self) -> RunTold:
        return read_told(self.run)

    @property
    def prompt(self) -> str:
        """What was asked for."""
        return self._told.prompt

    @property
    def seed(self) -> int:
        """Of every random draw."""
        return self._told.seed

    @property
    def picture(self) -> Path | None:
        """The picture that the object was made from, cut out: RGBA."""
        return self._told.file("image", "image.png")

    @property
    def preview(self) -> Path | None:
        """The picture beside eight views."""
        return self._told.file("export", "preview.png")

    @property
    def turntable(self) -> Path | None:
        """A GIF that turns."""
        return self._told.file("export", "turntable.gif")

    @property
    def report(self) -> Path | None:
        """The page of the run."""
        path = self.run / REPORT
        return path if path.is_file() else None

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that was exported."""
        return tuple(path for path, _ in self._told.files)

    @property
    def seconds(self) -> float:
        """Of all stages, when each was made."""
        return self._told.seconds

    def _repr_html_(self) -> str:
        return run_html(self.run)


def make(
    prompt: str | None = None,
    config: MakeConfig | str | Path = "starter",
    *,
    overrides: Sequence[str] = (),
    domain: Domain | str | None = None,
    out: str | Path = "runs",
    seed: int = 0,
    resume: str | Path | None = None,
    from_stage: str | None = None,
    until_stage: str | None = None,
    progress: OnEvent | None = None,
) -> Made:
    """A prompt becomes a textured 3-D asset, as by ``slipcast make``; stages that are finished already are kept.

    Args:
        config: a preset's name, a YAML file, or settings (``load_config``).
        overrides: settings on top, such as ``["refine.steps=100"]``.
        domain: instead of the config's.
        out: folder of the runs.
        resume: the folder of a run to go on with; without ``prompt`` it takes prompt, seed and settings from there.
        progress: called with each ``Event``; raise in it to stop, and the same call goes on from there.

    Raises:
        BadInput: an unusable prompt, setting or folder.
        SlipcastError: a stage failed; what was finished stays.
    """
    words = [*overrides, *([f"domain={domain_setting(domain)}"] if domain is not None else [])]
    run = None if resume is None else Path(resume)
    if prompt is None:
        if run is None:
            raise BadInput('make expects a prompt, such as "a blue vase", or resume=, the folder of a run')
        asked = asked_of(run, words)
        prompt, seed, settings, run = asked.prompt, asked.seed, asked.config, asked.run
    else:
        settings = _settings(config, words)
    result = run_make(
        prompt,
        settings,
        out=Path(out),
        seed=seed,
        resume=run,
        from_stage=from_stage,
        until_stage=until_stage,
        console=Told(progress),
    )
    return Made(**{item.name: getattr(result, item.name) for item in fields(result)})


def _settings(config: MakeConfig | str | Path, overrides: Sequence[str]) -> MakeConfig:
    if not isinstance(config, MakeConfig):
        return load_config(str(config), overrides)
    if not overrides:
        return config
    from dataclasses import asdict

    from ...configs.loading import restore_config

    return restore_config(asdict(config), overrides, source="the config given")
