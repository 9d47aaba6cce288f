"""The prompts of all benchmarks: 20 nouns, fixed once, held-out ones included; two seeds each make 40 assets."""

from __future__ import annotations

HELD_OUT = ("teapot", "chair", "cat", "lamp", "car", "elephant", "goblet")
"""Never porcelain in the domain's training pictures (``starter.generator.objects.HELD_OUT``; a test compares them)."""

NOUNS = (
    *HELD_OUT,
    "vase", "bowl", "plate", "mug", "pitcher", "bottle", "jar", "box", "bell", "rabbit", "duck", "house", "stool",
)  # fmt: skip
SEEDS = (0, 1)


def prompt(noun: str) -> str:
    """What a user would type."""
    return f"a blue and white porcelain {noun}"


def bare_prompt(noun: str) -> str:
    """The noun alone: what the domain must supply is not in the text."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
