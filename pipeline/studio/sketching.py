"""The process that draws for the tuning page: ``python -m slipcast.pipeline.studio.sketching FOLDER``.

It keeps the models that it loaded, so that the second picture takes seconds. A line of JSON on its input asks for a
picture ({"key", "values"}, the values of a job), a line on its output tells that it is there, or why it is not:
``FOLDER/<key>.png``, and ``<key>.json`` with the weights and what each term pushed. It ends with its server, and when
nobody has asked for a while.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...configs.atomic import write_bytes, write_json
from ...configs.errors import SlipcastError
from ...configs.loading import built, preset_layers
from ...configs.picture import OF_MODELS
from ...configs.schema import MakeConfig
from ...systems.guided.settled import settled
from ...systems.models.precision import resolve_device
from ..drawing.files import png
from ..drawing.pictures import draw
from ..drawing.plan import plan_pictures
from ..run.models import ModelStore, open_models
from ..run.progress import Quiet
from ..stages.image import picture_of

_IDLE_S = 900.0
_KEPT = 2  # bases with their domains in memory


class Sketcher:
    """Draws pictures of jobs, one at a time; models of the last few are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores: dict[tuple[str, ...], ModelStore] = {}

    def draw(self, key: str, values: Mapping[str, Any]) -> None:
        """The first candidate of a job, and the norms |w_i T_i(eps_pos_i - eps_neg_i)| of its terms, step by step.

        Raises: SlipcastError for settings that cannot be used, or a model that is not here.
        """
        began = time.monotonic()
        console = Quiet()
        config = built([*preset_layers(values["config"]), ("the form", values.get("overrides", {}))])
        store = self._store(config)
        config = settled(config, store.uses(), console.notice)
        picture = replace(picture_of(config, values["prompt"], values["seed"]), count=1)
        plan = plan_pictures(picture, console, store)
        norms: dict[str, list[float]] = {}

        def watch(pushes: Mapping[str, torch.Tensor]) -> None:
            for name, push in pushes.items():
                norms.setdefault(name, []).append(round(float(push.double().norm()), 4))

        (batch,) = draw(plan, lambda: None, watch)
        shown = (
            (batch.pictures[0].permute(1, 2, 0).float().cpu().numpy() * 255 + 0.5)
            .clip(0, 255)
            .astype("uint8")
        )
        write_bytes(self._folder / f"{key}.png", png(shown))
        told = {
            "weights": plan.weights,
            "strength": config.domain_strength,
            "norms": norms,
            "notes": console.notices,
        }
        write_json(self._folder / f"{key}.json", told | {"seconds": round(time.monotonic() - began, 2)})

    def _store(self, config: MakeConfig) -> ModelStore:
        """The models of a picture: those that are loaded already, where it asks for the same."""
        key = tuple(repr(getattr(config, name)) for name in OF_MODELS if name != "domain_strength")
        store = self._stores.pop(key, None) or open_models(
            replace(config, device=resolve_device(config.device))
        )
        self._stores[key] = store  # the last one asked for is the last one to go
        while len(self._stores) > _KEPT:
            self._stores.pop(next(iter(self._stores)))
        return store


def main(folder: Path) -> None:
    """Answer line by line until the input ends, or nobody asked for a while."""
    asked: queue.Queue[str] = queue.Queue()
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        asked.put("")

    threading.Thread(target=listen, daemon=True).start()
    sketcher = Sketcher(folder)
    while True:
        try:
            line = asked.get(timeout=_IDLE_S)
        except queue.Empty:
            return
        if not line:
            return
        told = json.loads(line)
        try:
            sketcher.draw(told["key"], told["values"])
            answer: dict[str, Any] = {"key": told["key"]}
        except SlipcastError as error:
            answer = {"key": told["key"], "error": str(error)}
        except Exception as error:  # the next picture may be another matter
            answer = {"key": told["key"], "error": f"drawing failed ({type(error).__name__}: {error})"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
