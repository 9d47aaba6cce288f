"""Prompt syntax of other programs, which slipcast reads as plain words: what it is, so that it can be said.

Weights of words and BREAK are read (``systems.models.prompt_weights``) wherever the base has weights.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from .prompts import check_prompt

if TYPE_CHECKING:
    from ...systems.models.base import Base

_UNREAD: tuple[tuple[str, str], ...] = (
    (r"<(?:lora|lyco|hypernet):[^<>]*>", "a LoRA is given with --lora"),
    (r"<[^<>\s:]+>|\bembedding:[\w.-]+", "an embedding (textual inversion) is given with --embedding"),
    (r"(?<=\S )AND(?= \S)", "several prompts are given with --and or conditions"),
    (r"(?<!\\)\[[^\[\]]*(?::\s*\d*\.?\d+|\|[^\[\]]*)\]", "words do not change from step to step"),
    (r"\{[^{}]+\}|(?<!\w)__[\w/*-]+?__(?!\w)", "nothing is chosen at random; write what is meant"),
    (r"(?<!\S)--[a-z]+(?:\s+\d[\d.:]*)?(?!\S)", "settings are given as options of the command"),
    (r"(?<=\w)\s?::\s?-?\d*\.?\d*(?!\S)", "weights are written (word:1.3)"),
    (r"\([^()]+\)(?:[-+]+|\d*\.\d+)|\b\w+(?:\+{1,}|-{2,})(?!\w)", "weights are written (word:1.3)"),
)
"""Patterns of A1111, ComfyUI, Compel and Midjourney, and what to do instead; the first match explains a place."""


def notes_on(prompt: str, base: Base, framing: str = "") -> list[str]:
    """What a base does not read of a prompt, a sentence each: other programs' syntax, its end, words it does not know.

    Args:
        framing: the words for view and background that it is given.
    Raises:
        BadInput: a number alone, for a base that reads text.
    """
    from ...systems.guided.branches import framed
    from ...systems.models.prompt_weights import has_weights

    if prompt.isdecimal() and base.family.reads == "text":
        check_prompt(prompt)  # says that it is no text
    known = getattr(getattr(base.pipeline, "tokenizer", None), "added_tokens_encoder", ())
    notes = unread_syntax(prompt, known)
    if has_weights(prompt) and not base.reads_weights:
        alike = "all words alike" if base.spells_words else "whole words, each alike"
        read = "classes" if base.family.reads == "classes" else alike
        notes.append(f"the base {base.name!r} reads {read}: weights and BREAK in {prompt!r} are left out")
    if lost := base.cut_off(framed(prompt, framing) if prompt else ""):
        notes.append(f"the text encoder of {base.name!r} does not read the end of the prompt: {lost!r}")
    for word, near in base.unknown_words(prompt).items():
        hint = f"; known and near: {', '.join(near)}" if near else ""
        notes.append(f"the base model {base.name!r} does not know the word {word!r}{hint}")
    return notes


def unread_syntax(prompt: str, known: Collection[str] = ()) -> list[str]:
    """A sentence for each piece of a prompt that other programs read as a command and slipcast as plain words.

    Empty for a prompt in plain language, brackets that give weights included.

    Args:
        known: tokens of embeddings, which are read.
    """
    found: dict[str, str] = {}
    rest = prompt
    for token in known:
        rest = rest.replace(token, " ")
    for pattern, instead in _UNREAD:
        if pattern.startswith(r"(?<=\S )AND") and prompt.isupper():
            continue  # whoever shouts means the word
        for match in re.finditer(pattern, rest):
            found.setdefault(match[0], instead)
        rest = re.sub(pattern, " ", rest)
    return [f"{piece!r} in the prompt is read as plain words; {instead}" for piece, instead in found.items()]
