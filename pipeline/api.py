"""``from slipcast import make, image, Domain``: what the commands do, for programs and notebooks.

Each call does what the command of its name does, with the same settings, files and errors (``BadInput`` and
``SlipcastError``). What it returns has paths, and shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ..configs.errors import BadInput
from ..configs.loading import load_config
from ..configs.picture import picture_config
from ..configs.schema import MakeConfig
from ..configs.stopping import check_stop
from .make import MakeResult
from .make import make as run_make
from .report.notebook import domain_html, pictures_html, run_html
from .report.reading import RunTold, read_told
from .report.writing import REPORT
from .run.manifest import asked_of
from .run.models import open_models
from .run.progress import Advance


@dataclass(frozen=True)
class Event:
    """Something that happened in a call.

    Attributes:
        kind: a stage began, made a step of a task, said something, or ended.
        stage: its name; empty before the first.
        text: the task's name, the notice, or how the stage ended.
        done: steps made of the task, of ``total``.
    """

    kind: Literal["started", "step", "notice", "ended"]
    stage: str
    text: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[Event], None]


class Told:
    """A ``Reporter`` that hands everything on to a function."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event or (lambda event: None)
        self._stage = ""

    def task(self, description: str, total: int) -> Advance:
        """Tell each step of the task."""
        check_stop()
        stage, done = self._stage, 0

        def advance(n: int = 1) -> None:
            nonlocal done
            check_stop()
            done += n
            self._on_event(Event("step", stage, description, done, total))

        return advance

    def notice(self, sentence: str) -> None:
        """Tell the sentence."""
        self._on_event(Event("notice", self._stage, sentence))

    def stage_started(self, name: str) -> None:
        """Tell the stage's name."""
        self._stage = name
        self._on_event(Event("started", name))

    def stage_ended(self, name: str, outcome: str) -> None:
        """Tell how it went."""
        self._on_event(Event("ended", name, outcome))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


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
    words = [*overrides, *([f"domain={_domain(domain)}"] if domain is not None else [])]
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


@dataclass(frozen=True)
class Drawn:
    """Pictures that were drawn, as PNG files, and how. In a notebook: the pictures."""

    files: tuple[Path, ...]
    sheet: Path | None
    recipe: dict[str, Any]
    prompt: str

    def images(self) -> list[Any]:
        """The pictures as Pillow images, RGB."""
        from PIL import Image

        return [Image.open(path).convert("RGB") for path in self.files]

    def _repr_html_(self) -> str:
        return pictures_html(self.files, self.prompt)


def image(
    prompt: str | None = None,
    *,
    out: str | Path = "pictures",
    spec: str | Path | None = None,
    domain: Domain | str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    low_memory: bool = False,
    progress: OnEvent | None = None,
    **settings: Any,
) -> Drawn:
    """Pictures of a prompt by any recipe, as by ``slipcast image``; files that exist are never replaced.

    Args:
        out: folder of the pictures.
        spec: a YAML file of settings; what is given here comes on top.
        settings: fields of ``configs.picture.PictureConfig``, such as ``recipe="cfg", seed=7, count=4, steps=20``.

    Raises:
        BadInput: an unknown setting, or one that cannot be used.
    """
    from .drawing.pictures import draw_pictures
    from .drawing.plan import models_for, plan_pictures

    given = {"prompt": prompt, "domain": None if domain is None else _domain(domain)} | settings
    given |= {"device": device, "dtype": dtype}
    config = picture_config(
        None if spec is None else Path(spec), {name: told for name, told in given.items() if told is not None}
    )
    console = Told(progress)
    store = models_for(config, low_memory=low_memory)
    drawing = draw_pictures(plan_pictures(config, console, store), Path(out), console)
    return Drawn(tuple(drawing.pictures), drawing.sheet, drawing.recipe, config.prompt)


@dataclass(frozen=True)
class Domain:
    """A visual domain that was learned from pictures: a folder to share. Opening one loads no network.

    ``Domain.open("starter")`` is the one that ships; ``make(..., domain=Domain.open("my/vases"))`` uses yours.
    """

    name: str
    folder: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, where: str | Path = "starter") -> Self:
        """The domain of that name or folder.

        Raises:
            BadInput: there is none, or its domain.json is damaged.
        """
        models = open_models(MakeConfig(domain=str(where)))
        card = models.card()
        return cls(card["name"], models.folder("domain"), card)

    @property
    def licence(self) -> str:
        """As its card says."""
        return str(self.card.get("licence", "unknown"))

    def _repr_html_(self) -> str:
        told = {"base": self.card.get("base", "unknown"), "licence": self.licence, "folder": self.folder}
        return domain_html(self.name, {name: str(value) for name, value in told.items()})


def _domain(domain: Domain | str) -> str:
    return str(domain.folder) if isinstance(domain, Domain) else domain


def _settings(config: MakeConfig | str | Path, overrides: Sequence[str]) -> MakeConfig:
    if not isinstance(config, MakeConfig):
        return load_config(str(config), overrides)
    if not overrides:
        return config
    from dataclasses import asdict

    from ..configs.loading import restore_config

    return restore_config(asdict(config), overrides, source="the config given")
