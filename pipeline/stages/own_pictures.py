"""Stage 10-image with pictures of the user's own: cut out, framed as drawn ones are, and passed on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ...configs.atomic import write_json
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_path
from ...systems.images.files import read_image, read_subject
from ...systems.images.foreground import (
    cut_out,
    has_plain_background,
    in_common_framing,
    touched_sides,
    with_alpha,
)
from ...systems.images.matting import FAMILIES, Matting, load_matting
from ...systems.models.aliases import resolve
from ...systems.types import SubjectImage
from ..run.stage import StageContext
from .facts import ImageFacts

LARGEST = 1024
"""Pixels along the longer side that are kept of a photo; no stage after it looks closer."""


def take_pictures(ctx: StageContext) -> ImageFacts:
    """Write image.png (RGBA, square) of the first picture, and image-2.png, image-3.png ... of the others.

    Raises:
        BadInput: one cannot be read, or shows no subject that could be told from its background.
    """
    settings, subjects = ctx.config.image, list[SubjectImage]()
    advance = ctx.progress.task("cutting out", len(settings.picture))
    net = None
    if settings.matting is not None:
        named = settings.matting_kind == "auto" and settings.matting in FAMILIES  # an alias says what it is
        kind = settings.matting if named else settings.matting_kind
        net = load_matting(resolve(settings.matting), kind)
    for number, name in enumerate(settings.picture, 1):
        subject = subject_of(given_path(name, "image.picture"), net)
        if cut := touched_sides(subject):
            ctx.progress.notice(
                f"the subject of {name} runs out of the picture at its {' and '.join(cut)} side, where the object will "
                "be cut off; a picture that shows all of it makes a whole one"
            )
        subject = in_common_framing(subject)
        subject.save(ctx.folder / ("image.png" if number == 1 else f"image-{number}.png"))
        subjects.append(subject)
        advance()
    facts: ImageFacts = {"prompt": ctx.prompt, "coverage": round(float(subjects[0].alpha.mean()), 4)}
    write_json(ctx.folder / "image.json", facts)
    return facts


def subject_of(path: Path, net: Matting | None) -> SubjectImage:
    """The subject of a picture: what is not transparent, or by the matting network, or before its plain background.

    Raises:
        BadInput: it cannot be read, or shows nothing.
    """
    picture = read_image(path)
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    subject = read_subject(picture)
    if picture.mode == "RGBA":
        if not (subject.alpha > 0.5).any():
            raise BadInput(f"{path} is transparent all over; give a picture that shows the object")
        return with_alpha(subject.rgb, subject.alpha)
    if net is None and not has_plain_background(subject.rgb):
        raise BadInput(
            f"the background of {path} is not plain, so its subject cannot be told from it; make it transparent, or "
            "name a matting network with image.matting=FILE.onnx"
        )
    try:
        return cut_out(subject.rgb) if net is None else net.cut_out(subject.rgb)
    except BadInput:
        raise
    except SlipcastError as error:
        raise BadInput(
            f"{path} shows no subject before its background; give a picture that shows the object"
        ) from error
