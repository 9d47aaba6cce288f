"""Prompt syntax of other programs, which slipcast reads as plain words: what it is, so that it can be said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .prompts import check_prompt

if TYPE_CHECKING:
    from ...systems.models.base import Base

_UNREAD: tuple[tuple[str, str], ...] = (
    (r"<(?:lora|lyco|hypernet):[^<>]*>", "a LoRA is given with --model"),
    (r"<[^<>\s:]+>|\bembedding:[\w.-]+", "embeddings (textual inversion) are not read"),
    (r"\bBREAK\b", "the prompt is one text; several are given with --and or conditions"),
    (r"(?<=\S )AND(?= \S)", "several prompts are given with --and or conditions"),
    (r"(?<!\\)[(\[][^()\[\]]*:\s*[-+]?\d*\.?\d+\s*[)\]]", "weights of words are not read"),
    (r"(?<!\\)\({2,}[^()]+\){2,}|(?<!\\)\[[^\[\]]*[^\[\]\\]\]|\{[^{}]+\}", "weights of words are not read"),
    (r"\([^()]+\)(?:[-+]+|\d*\.\d+)|\b\w+(?:\+{1,}|-{2,})(?!\w)", "weights of words are not read"),
)
"""Patterns of A1111, ComfyUI, Compel and their kin, and what to do instead; the first that matches explains a place."""


def notes_on(prompt: str, base: Base, framing: str = "") -> list[str]:
    """What a base does not read of a prompt, a sentence each: other programs' syntax, its end, words it does not know.

    Args:
        framing: the words for view and background that it is given.
    Raises:
        BadInput: a number alone, for a base that reads text.
    """
    from ...systems.guided.branches import framed

    if prompt.isdecimal() and hasattr(base.pipeline, "tokenizer"):
        check_prompt(prompt)  # says that it is no text
    notes = unread_syntax(prompt)
    if lost := base.cut_off(framed(prompt, framing) if prompt else ""):
        notes.append(f"the text encoder of {base.name!r} does not read the end of the prompt: {lost!r}")
    for word, near in base.unknown_words(prompt).items():
        hint = f"; known and near: {', '.join(near)}" if near else ""
        notes.append(f"the base model {base.name!r} does not know the word {word!r}{hint}")
    return notes


def unread_syntax(prompt: str) -> list[str]:
    """A sentence for each piece of a prompt that other programs read as a command and slipcast as plain words.

    Empty for a prompt in plain language, single parentheses and escaped ones included.
    """
    found: dict[str, str] = {}
    rest = prompt
    for pattern, instead in _UNREAD:
        if pattern.startswith((r"\bBREAK", r"(?<=\S )AND")) and prompt.isupper():
            continue  # whoever shouts means the word
        for match in re.finditer(pattern, rest):
            found.setdefault(match[0], instead)
        rest = re.sub(pattern, " ", rest)
    return [f"{piece!r} in the prompt is read as plain words; {instead}" for piece, instead in found.items()]
