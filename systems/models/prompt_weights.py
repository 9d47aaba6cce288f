r"""Weights of words in a prompt, in the grammar of AUTOMATIC1111's web UI: pure text in, texts and weights out.

    (word)   1.1 times        [word]   1 / 1.1 times        (word:1.3)   1.3 times        brackets nest and multiply
    \( \) \[ \] \\   the characters themselves              BREAK        what follows begins a new chunk

A bracket that is never closed works to the end; one that was never opened is a character. The rule is that of
``parse_prompt_attention`` in modules/prompt_parser.py of github.com/AUTOMATIC1111/stable-diffusion-webui; what a weight
does to the features, and how long prompts are cut, is in ``families.clip``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ROUND, _SQUARE = 1.1, 1 / 1.1
_TOKEN = re.compile(
    r"(?P<escaped>\\[()\[\]\\])|(?P<weight>:\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+))\s*\))|(?P<sign>[()\[\]])"
    r"|(?P<text>[^\\()\[\]:]+|.)",
    re.DOTALL,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


class Piece(NamedTuple):
    """Some words and their weight, 1 for plain ones."""

    text: str
    weight: float


def sections(prompt: str) -> list[list[Piece]]:
    """The pieces of a prompt, between one BREAK and the next; neighbours of one weight are one piece.

    A prompt without brackets, backslashes and BREAK is one piece of weight 1, the text as it stands.
    """
    found: list[list[Piece]] = [[]]
    for text, weight in _weighted(prompt):
        first, *others = _BREAK.split(text)
        _add(found[-1], first, weight)
        for other in others:
            found.append([])
            _add(found[-1], other, weight)
    return found


def plain_text(prompt: str) -> str:
    """The words alone, for models that have no weights."""
    return " ".join("".join(piece.text for piece in pieces) for pieces in sections(prompt)).strip()


def has_weights(prompt: str) -> bool:
    """Whether any word has another weight than 1, or a chunk is begun."""
    read = sections(prompt)
    return len(read) > 1 or any(piece.weight != 1 for piece in read[0])


def _add(pieces: list[Piece], text: str, weight: float) -> None:
    if pieces and pieces[-1].weight == weight:
        pieces[-1] = Piece(pieces[-1].text + text, weight)
    elif text:
        pieces.append(Piece(text, weight))


def _weighted(prompt: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(first: int, factor: float) -> None:
        found[first:] = [(text, weight * factor) for text, weight in found[first:]]

    for token in _TOKEN.finditer(prompt):
        text = token[0]
        if token["escaped"]:
            found.append((text[1], 1.0))
        elif token["weight"] and opened["("]:
            multiply(opened["("].pop(), float(token["number"]))
        elif text in opened:
            opened[text].append(len(found))
        elif text == ")" and opened["("]:
            multiply(opened["("].pop(), _ROUND)
        elif text == "]" and opened["["]:
            multiply(opened["["].pop(), _SQUARE)
        else:
            found.append((text, 1.0))
    for sign, factor in (("(", _ROUND), ("[", _SQUARE)):
        for first in opened[sign]:
            multiply(first, factor)
    return found
