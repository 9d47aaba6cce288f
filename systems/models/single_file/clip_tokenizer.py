"""CLIP's tokenizer, which checkpoint files lack and these families share; its merges ship (MIT, OpenAI)."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

WORDS, LENGTH = 49408, 77
_MERGES = Path(__file__).parent / "clip_merges.txt.gz"


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Words by number, in the order of openai/CLIP's simple_tokenizer.py: bytes, ends of words, merges, two marks."""
    lines = gzip.decompress(_MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    # Bytes that cannot be printed are written as letters above 255, in their order.
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    words = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(first + second for first, second in merges),
    ]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges


def clip_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """A ``CLIPTokenizer`` of 77 tokens.

    Args:
        pad: what short prompts are filled up with; OpenCLIP encoders were trained with "!", which is number 0.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = _vocabulary()
    return CLIPTokenizer(dict(vocabulary), list(merges), pad_token=pad, model_max_length=LENGTH)  # pyright: ignore
