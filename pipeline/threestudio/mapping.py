"""A configuration of threestudio as a staged run of ours: what is taken, converted and how, or has no counterpart.

Both distil a guided denoiser into a field. threestudio begins with a blob, here refinement begins with a picture that
was lifted; its world has the front at +x, ours at -Y, with azimuths counted alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.over_steps import Number, check_schedule
from ...configs.paths import given_path
from .experiment import Leaf

_LEFT_OUT = {"refine.grad_clamp": 0.0, "refine.t_min": 0.02, "refine.t_max": 0.98, "refine.t_max_end": 0.98}
"""What threestudio does where a file does not say."""
TAKEN, CONVERTED, NONE, REFUSED = "taken", "converted", "no counterpart", "refused"


@dataclass(frozen=True)
class Line:
    """What became of one key."""

    key: str
    value: Any
    verdict: str
    told: str = ""


@dataclass
class Mapped:
    """A file of threestudio, read.

    Attributes:
        settings: ours, by dotted names.
        inputs: {"image" or "lift": file}, which stages read in the place of what they would make.
        lines: one a key, in the file's order.
    """

    path: Path
    leaves: Mapping[str, Leaf]
    prompt: str = ""
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def value(self, key: str, default: Any = None) -> Any:
        """Of another key, or the default where it is not there or cannot be worked out."""
        leaf = self.leaves.get(key)
        return default if leaf is None or leaf.problem else leaf.value

    def put(self, name: str, value: Any) -> str:
        """Set one of ours; the words for it."""
        self.settings[name] = value
        return f"{name}={value}"

    def staged(self) -> dict[str, Any]:
        """The content of a file of ours that says the same.

        Raises:
            BadInput: something was refused, or there is nothing to make.
        """
        refused = next((line for line in self.lines if line.verdict == REFUSED), None)
        if refused is not None:
            raise BadInput(
                f"{refused.key}={shown(refused.value)} in {self.path} cannot be run here: {refused.told}"
            )
        if not self.prompt and not self.inputs:
            raise BadInput(
                f"{self.path} has no prompt; give system.prompt_processor.prompt='a vase', as threestudio takes it"
            )
        told: dict[str, Any] = {"seed": self.seed, **_LEFT_OUT, **self.settings}
        if self.prompt:
            told["prompt"] = self.prompt
        return told | ({"inputs": dict(self.inputs)} if self.inputs else {})

    def as_text(self) -> str:
        """The list, a line a key."""
        width = max((len(line.key) for line in self.lines), default=0)
        return "\n".join(
            f"{line.verdict:<14}  {line.key:<{width}}  {shown(line.value)}{line.told and '  ->  ' + line.told}"
            for line in self.lines
        )


Verdict = tuple[str, str]
"""(what became of it, the words for it)"""
Rule = Callable[[Mapped, str, Any], Verdict]
"""(what was read so far, the key, its value) -> the verdict; sets what it is led to."""


def number(read: Mapped, key: str, value: Any) -> float:
    """BadInput for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise BadInput(f"{key} in {read.path} expects a number, not {shown(value)}")
    return value


def text(read: Mapped, key: str, value: Any) -> str:
    """BadInput for anything else."""
    if not isinstance(value, str):
        raise BadInput(f"{key} in {read.path} expects text, not {shown(value)}")
    return value


def ends(read: Mapped, key: str, value: Any) -> tuple[float, float]:
    """The first and the last value of a number or of one of threestudio's schedules, [s0, v0, v1, s1, v2, s2, ...]."""
    if not isinstance(value, list):
        return number(read, key, value), number(read, key, value)
    steps = [0, *value] if len(value) == 3 else value
    if len(steps) < 4 or len(steps) % 2:
        raise BadInput(f"{key} in {read.path} expects a number or [step, from, to, step], not {shown(value)}")
    return number(read, key, steps[1]), number(read, key, steps[-2])


def over_steps(read: Mapped, key: str, value: Any, factor: float = 1.0) -> Number:
    """A number, or a schedule as it is, times a factor, to four digits.

    Of a schedule that counts epochs, of which a refinement has none, the last value.
    """
    last = ends(read, key, value)[1]

    def scaled(one: float) -> float:
        return one if factor == 1 else float(f"{factor * one:.4g}")

    if not isinstance(value, list):
        return scaled(last)
    first, *rest = (number(read, key, one) for one in ([0, *value] if len(value) == 3 else value))
    if any(isinstance(step, float) for step in rest[2::2]):  # theirs count epochs then
        return scaled(last)
    told = [
        first,
        *(scaled(one) if place in (0, *range(1, len(rest), 2)) else one for place, one in enumerate(rest)),
    ]
    check_schedule(key, told)
    return told


def file_of(read: Mapped, key: str, value: Any) -> str:
    """A file that is named from threestudio's folder: looked for here, and beside the YAML and above it."""
    said = text(read, key, value)
    places = [Path(), *read.path.absolute().parents[:3]]
    for place in places:
        if (found := given_path(place / said, key)).is_file():
            return str(found.absolute())
    raise BadInput(
        f"{key}={said} in {read.path} is not there; it was looked for in {', '.join(map(str, places))}; give {key}=FILE"
    )
