"""What counts as a prompt, and the folder name made of one."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from ..configs.errors import BadInput

LONGEST = 1000  # characters; every text encoder in use reads far less
_SLUG_LENGTH = 60


def check_prompt(prompt: str) -> str:
    """The prompt with its white space folded to single blanks.

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
    if not any(character.isalpha() for character in text):
        raise BadInput(f"the prompt {text!r} holds no letters; say in words what to make")
    return text


def slug(prompt: str) -> str:
    """A short, safe folder name: ``A blue vase!`` -> ``a-blue-vase``.

    A fingerprint is added where the plain name would lose something (other scripts, long prompts), so that different
    prompts rarely share a folder; where they still do, ``runs`` refuses to mix them.
    """
    ascii_text = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")
    lost = any(c.isalpha() and not unicodedata.normalize("NFKD", c)[0].isascii() for c in prompt)
    if len(name) <= _SLUG_LENGTH and not lost:
        return name
    fingerprint = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return f"{name[:_SLUG_LENGTH].strip('-')}-{fingerprint}".strip("-")
