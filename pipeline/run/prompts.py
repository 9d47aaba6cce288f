"""What counts as a prompt, and the folder name made of one."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace
from typing import Any, TypeVar

from ...configs.errors import BadInput
from ...configs.names import settings_of
from ...configs.picture import PictureConfig
from ...configs.schema import MakeConfig, RecipeConfig

LONGEST = 4000  # characters; some 1,000 tokens, a dozen chunks of a CLIP encoder
_NAME_BYTES = (
    60  # of UTF-8, before a fingerprint; file systems take 255 with everything that comes after a stem
)
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[\d¹²³]", re.IGNORECASE)  # of Windows, whatever the ending
_FINGERPRINTED = re.compile(r".*-[0-9a-f]{8}")


def check_prompt(prompt: str, *, digits: bool = False, what: str = "the prompt") -> str:
    """The prompt with its white space folded to single blanks.

    Args:
        digits: a number alone will do, as models of classes take it.
        what: how the prompt is called; it begins the sentence.
    Raises:
        BadInput: empty, without a single letter, longer than ``LONGEST``, or holding control or undecodable characters.
    """
    text = " ".join(prompt.split())
    if not text:
        raise BadInput(f'{what} is empty; say what to make, such as "a blue and white porcelain teapot"')
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
            raise BadInput(
                f"{what} holds the character U+{ord(character):04X}, which is not text; take it out"
            )
    if len(text) > LONGEST:
        raise BadInput(f"{what} has {len(text)} characters; at most {LONGEST} are read, so shorten it")
    if not any(character.isalpha() or (digits and character.isdecimal()) for character in text):
        raise BadInput(f"{what} {text!r} holds no letters; say in words what to make")
    return text


T = TypeVar("T", RecipeConfig, PictureConfig)


def prompts_of(group: RecipeConfig | PictureConfig) -> list[str]:
    """Every prompt of a group of settings, beside the prompt itself: those to stay away from, wanted, of conditions."""
    return [
        *group.negative,
        *group.wanted,
        *group.unwanted,
        *(one.prompt for one in group.conditions.values()),
    ]


def with_checked_prompts(group: T, where: str = "") -> T:
    """The same with all of ``prompts_of`` as ``check_prompt`` gives them back; empty ones are unconditional prompts.

    Args:
        where: how the group is called, such as ``refine.``; it begins the sentence.
    Raises:
        BadInput: one that ``check_prompt`` refuses.
    """

    def checked(prompt: str, setting: str) -> str:
        # A number is a class of DiT; other bases say later that it is no text.
        if not prompt or prompt.isdecimal():
            return prompt
        return check_prompt(prompt, what=f"{where}{setting}")

    changed: dict[str, Any] = {
        "negative": [checked(prompt, "negative") for prompt in group.negative],
        "wanted": {checked(prompt, "wanted"): weight for prompt, weight in group.wanted.items()},
        "unwanted": {checked(prompt, "unwanted"): weight for prompt, weight in group.unwanted.items()},
        "conditions": {
            name: replace(one, prompt=checked(one.prompt, f"conditions.{name}"))
            for name, one in group.conditions.items()
        },
    }
    return replace(group, **changed)


def slug(prompt: str) -> str:
    """A short, safe name for folders and files, another one for each prompt: ``a blue vase`` -> ``a-blue-vase``.

    Letters and digits of any script stay, in lower case; what lies between them becomes -. Where this loses something
    (``A blue vase!``, ``a blue-vase``, long prompts), a fingerprint of the prompt is added.
    """
    name = _readable(prompt)
    plain = name.replace("-", " ") == prompt and len(name.encode()) <= _NAME_BYTES
    if plain and not _DEVICE.fullmatch(name) and not _FINGERPRINTED.fullmatch(name):
        return name
    return _with_fingerprint(name, prompt)


def older_slug(prompt: str) -> str:
    """The name that versions up to 0.1 gave: Latin letters only, and one name for several prompts."""
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    lost = any(c.isalpha() and not unicodedata.normalize("NFKD", c)[0].isascii() for c in prompt)
    if len(name) <= 60 and not lost:
        return name
    return f"{name[:60].strip('-')}-{_fingerprint(prompt)}".strip("-")


def file_name(name: str) -> str:
    """A stem that is safe for files on every system and stays in its folder; the ending of a format is taken off.

    Letters and digits of any script, _ and - stay as they are and blanks become -. Anything else (slashes, quotes,
    dots, emoji, a great length) is lost, and a fingerprint takes its place, so that different names rarely share a
    file.

    Raises:
        BadInput: an empty name.
    """
    stem, _, ending = name.strip().rpartition(".")
    if stem and ending.lower() in settings_of(MakeConfig)["export.formats"].metadata["choices"]:
        name = stem
    plain = unicodedata.normalize("NFC", "-".join(name.split()))
    if not plain:
        raise BadInput("the name is empty; give one, such as --name vase, or leave it out")
    safe = _is_word(plain[0]) and all(_is_word(c) or c in "_-" for c in plain)
    if safe and len(plain.encode()) <= _NAME_BYTES and not _DEVICE.fullmatch(plain):
        return plain
    return _with_fingerprint(_readable(name), name)


def _readable(text: str) -> str:
    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return "-".join("".join(c if _is_word(c) else " " for c in lower).split())


def _is_word(character: str) -> bool:
    """Letters, the marks on them, and digits."""
    return unicodedata.category(character)[0] in "LMN"


def _with_fingerprint(name: str, of: str) -> str:
    short = name.encode()[:_NAME_BYTES].decode(errors="ignore").strip("-") or "asset"
    return f"{short}-{_fingerprint(of)}"


def _fingerprint(text: str) -> str:
    # Names of files may hold bytes that are no text, which Python reads as lone surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
