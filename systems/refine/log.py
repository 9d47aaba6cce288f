"""The log of a refinement: one line of JSON for every step, to be followed while it works, and a picture of them.

    log.jsonl      {"step", "losses": {name: weighted loss}, "opacity", "t", "terms": {name: length of its push},
                    "cosines": {"one | other"}, "gradients": {loss: norm}, "own_loss", "steps_per_s", "memory_mb"}
    progress.png   losses, that of the model of the renders, pushes of the terms and opacity, by step

A line has what its step measured: ``gradients`` those of ``curve``'s steps alone, and ``terms`` those of a guided
denoiser. A resumed refinement goes on after the last step that its checkpoint knows, so that no step is missing and
none is there twice. All but ``steps_per_s`` and ``memory_mb`` is the same whenever the same refinement runs again.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from ...configs.atomic import write_bytes
from .progress_picture import progress_picture

LOG_FILE = "log.jsonl"
PROGRESS_FILE = "progress.png"
TIMES = ("steps_per_s", "memory_mb")
"""What differs from one run of the same refinement to another."""


class Log:
    """The log in a folder, of which the steps before ``done`` are kept.

    A file that is none, or that ends too early, is begun anew.
    """

    def __init__(self, folder: Path, done: int, device: torch.device) -> None:
        self._folder, self._device = folder, device
        self._lines = _lines_before(folder / LOG_FILE, done)
        self.cut(done)
        self._clock = time.perf_counter()

    def add(self, index: int, losses: Mapping[str, float], measured: Mapping[str, Any]) -> None:
        """Write the line of a step.

        Args:
            losses: weighted, by name.
            measured: whatever else the step found out; numbers, or numbers by name.
        """
        now = time.perf_counter()
        line = {"step": index, "losses": _plain(losses), **_plain(measured)}
        times = (1 / max(now - self._clock, 1e-9), _memory_mb(self._device))
        line |= _plain(dict(zip(TIMES, times, strict=True)))
        self._clock = now
        self._lines.append(line)
        with open(self._folder / LOG_FILE, "a", encoding="utf-8") as file:
            file.write(_text(line))

    def cut(self, done: int) -> None:
        """Forget the steps from ``done`` on."""
        self._lines = [line for line in self._lines if line["step"] < done]
        write_bytes(self._folder / LOG_FILE, "".join(map(_text, self._lines)).encode())

    def save(self) -> None:
        """Bring what was written to the disk, and draw it."""
        with open(self._folder / LOG_FILE, "rb") as file:
            os.fsync(file.fileno())
        write_bytes(self._folder / PROGRESS_FILE, progress_picture(self._lines))


def _lines_before(path: Path, done: int) -> list[dict[str, Any]]:
    """The lines of the steps before ``done``; none where one of them is missing or is none."""
    lines: list[dict[str, Any]] = []
    try:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["step"] >= done:
                break
            lines.append(line)
        steps = [line["step"] for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    # A log that began late, beside a checkpoint of a version that wrote none, may do so.
    return lines if steps == list(range(done - len(steps), done)) else []


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers with six digits; one that is none is null, for JSON has no other word for it."""
    return {name: _plain(one) if isinstance(one, Mapping) else _number(one) for name, one in told.items()}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _memory_mb(device: torch.device) -> float:
    """The most that was in use on a GPU; what this process holds elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return psutil.Process().memory_info().rss / 2**20
