"""Forms and files that a browser sends: counted while they are read, looked at, and kept under names of our own."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from ...configs.atomic import explain_os_errors, write_bytes
from ...configs.errors import BadInput, in_one_line

FORM_BYTES = 1_000_000
"""Of a form without files."""
FORMS = "slipcast.forms"
"""Where a request's scope holds the forms that were read from it."""
PICTURE_BYTES = 32_000_000
PICTURE_PIXELS = 50_000_000
"""The most that one uploaded picture may have."""
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
"""The formats that are taken, and how their files end."""


class TooLarge(HTTPException):
    """A request whose body is larger than it may be."""

    def __init__(self, most: int) -> None:
        super().__init__(
            413, f"what was sent is larger than the {most / 1e6:g} MB that this form takes; send less"
        )


async def read_form(request: Request, *, most_bytes: int = FORM_BYTES, most_files: int = 1) -> FormData:
    """The fields of a form.

    Args:
        most_bytes: of the whole request; what is larger is refused before it is read, or as soon as it shows.
        most_files: in it.
    Raises:
        TooLarge: it is larger.
        HTTPException: it is no form, or has more files or fields than a form of ours.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise TooLarge(most_bytes)
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await request.receive()
        read += len(message.get("body", b""))
        if read > most_bytes:
            raise MultiPartException("too large")  # upon which the parser lets go of what it has
        return message

    try:
        form = await Request(request.scope, counted).form(
            max_files=most_files, max_fields=200, max_part_size=FORM_BYTES
        )
    except (HTTPException, MultiPartException) as error:
        raise (TooLarge(most_bytes) if read > most_bytes else error) from error
    request.scope.setdefault(FORMS, []).append(form)  # ``guard`` closes its files when the answer is sent
    return form


def text_of(form: FormData, name: str) -> str:
    """A field's text with the ends trimmed and lines ending as here; empty where it was not sent."""
    value = form.get(name, "")
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


async def file_of(form: FormData, name: str) -> tuple[str, bytes] | None:
    """(what its owner calls it, its bytes) of a field's file; None where none was chosen."""
    value = form.get(name)
    if not isinstance(value, UploadFile) or not (value.filename or value.size):
        return None
    return shown_name(value.filename), await value.read()


def shown_name(name: str | None) -> str:
    """A file's name for sentences: never a path."""
    last = (name or "the file").replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last[:80] if sign.isprintable()) or "the file"


def checked_picture(name: str, data: bytes) -> str:
    """The ending of an uploaded picture's format.

    Args:
        name: what its owner calls it.
    Raises:
        BadInput: too large in bytes or pixels, of another format, or damaged.
    """
    if len(data) > PICTURE_BYTES:
        raise BadInput(f"the file {name} is larger than {PICTURE_BYTES / 1e6:g} MB; save it smaller")
    try:
        with Image.open(io.BytesIO(data), formats=tuple(ENDINGS)) as picture:
            width, height = picture.size
            if width * height > PICTURE_PIXELS:  # known before anything is unpacked
                raise BadInput(
                    f"the file {name} has {width} x {height} pixels, more than {PICTURE_PIXELS / 1e6:g} million; "
                    "scale it down"
                )
            picture.load()
            return ENDINGS[str(picture.format)]
    except BadInput:
        raise
    except Exception as error:  # of whatever a damaged file does to the readers of its format
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its beginning is that of none" if unknown else in_one_line(error, 80)
        raise BadInput(
            f"the file {name} is no picture that can be read ({reason}); save it as PNG, JPEG or WebP"
        ) from error


def kept_upload(name: str, data: bytes, folder: Path) -> Path:
    """A checked picture as a file in a folder, called after its content: twice the same is there once.

    Raises:
        BadInput: as ``checked_picture``.
        SlipcastError: it cannot be written.
    """
    ending = checked_picture(name, data)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}{ending}"
    with explain_os_errors(folder, "keeping an uploaded picture"):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            write_bytes(path, data)
    return path
