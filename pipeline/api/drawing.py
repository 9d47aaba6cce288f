"""``image``: pictures alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.picture import picture_config
from ..report.notebook import pictures_html
from .domains import Domain, domain_setting
from .telling import OnEvent, Told


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
    from ..drawing.pictures import draw_pictures
    from ..drawing.plan import models_for, plan_pictures

    given = {"prompt": prompt, "domain": None if domain is None else domain_setting(domain)} | settings
    given |= {"device": device, "dtype": dtype}
    config = picture_config(
        None if spec is None else Path(spec), {name: told for name, told in given.items() if told is not None}
    )
    console = Told(progress)
    store = models_for(config, low_memory=low_memory)
    drawing = draw_pictures(plan_pictures(config, console, store), Path(out), console)
    return Drawn(tuple(drawing.pictures), drawing.sheet, drawing.recipe, config.prompt)
