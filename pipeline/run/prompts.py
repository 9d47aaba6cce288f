"""What counts as a prompt, and the folder name made of one."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from ...configs.errors import BadInput

LONGEST = 1000  # characters; every text encoder in use reads far less
_SLUG_LENGTH = 60
_PLAIN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_SLUG_LENGTH - 1}}}")
_DEVICE = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)  # devices of Windows, whatever the ending


def check_prompt(prompt: str, *, digits: bool = False) -> str:
    """The prompt with its white space folded to single blanks.

    Args:
        digits: a number alone will do, as models of classes take it.
    Raises:
        BadInput: empty, without a single letter, longer than ``LONGEST``, or holding control or undecodable characters.
    """
    text = " ".join(prompt.split())
    if not text:
        raise BadInput('the prompt is empty; say what to make, such as "a blue and white porcelain teapot"')
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
            raise BadInput(
                f"the prompt holds the character U+{ord(character):04X}, which is not text; take it out"
            )
    if len(text) > LONGEST:
        raise BadInput(f"the prompt has {len(text)} characters; at most {LONGEST} are read, so shorten it")
    if not any(character.isalpha() or (digits and character.isdecimal()) for character in text):
        raise BadInput(f"the prompt {text!r} holds no letters; say in words what to make")
    return text


def slug(prompt: str) -> str:
    """A short, safe folder name: ``A blue vase!`` -> ``a-blue-vase``.

    A fingerprint is added where the plain name would lose something (other scripts, long prompts), so that different
    prompts rarely share a folder; where they still do, ``runs`` refuses to mix them.
    """
    name = _readable(prompt)
    lost = any(c.isalpha() and not unicodedata.normalize("NFKD", c)[0].isascii() for c in prompt)
    if len(name) <= _SLUG_LENGTH and not lost:
        return name
    return f"{name[:_SLUG_LENGTH].strip('-')}-{_fingerprint(prompt)}".strip("-")


def file_name(name: str) -> str:
    """A stem that is safe for files on every system and stays in its folder.

    Letters, digits, _ and - stay as they are and blanks become -. Anything else (slashes, quotes, dots, emoji, a great
    length) is lost, and a fingerprint takes its place, so that different names rarely share a file.

    Raises:
        BadInput: an empty name.
    """
    plain = "-".join(name.split())
    if not plain:
        raise BadInput("the name is empty; give one, such as --name vase, or leave it out")
    if _PLAIN.fullmatch(plain) and not _DEVICE.fullmatch(plain):
        return plain
    readable = _readable(name)[:_SLUG_LENGTH].strip("-") or "asset"
    return f"{readable}-{_fingerprint(name)}"


def _readable(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")


def _fingerprint(text: str) -> str:
    # Names of files may hold bytes that are no text, which Python reads as lone surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
