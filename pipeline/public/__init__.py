"""slipcast: a visual domain from pictures alone, and textured 3D assets of it.

This file is the package ``slipcast`` itself; its rooms (``slipcast.guidance``, ``slipcast.systems`` ...) are the
top-level folders of the repository. The names below are imported when they are first asked for, so that ``import
slipcast`` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .configs.openmp import spin_briefly

if TYPE_CHECKING:
    from .configs.errors import BadInput, SlipcastError
    from .configs.loading import load_config
    from .guidance.algebra import Guidance
    from .guidance.evaluation import GuidedNoise
    from .guidance.sampling import sample
    from .pipeline.api.batch_results import Batched, BatchEvent, BatchJob
    from .pipeline.api.batches import Batch
    from .pipeline.api.domains import Domain
    from .pipeline.api.drawing import Drawn, image
    from .pipeline.api.making import Made, make
    from .pipeline.api.telling import Event
    from .pipeline.make import MakeResult
    from .systems.domain.model import load_domain
    from .systems.models.base import load_base

__all__ = [
    "BadInput",
    "Batch",
    "BatchEvent",
    "BatchJob",
    "Batched",
    "Domain",
    "Drawn",
    "Event",
    "Guidance",
    "GuidedNoise",
    "Made",
    "MakeResult",
    "SlipcastError",
    "__version__",
    "image",
    "load_base",
    "load_config",
    "load_domain",
    "make",
    "sample",
]

_HOMES = {
    "BadInput": "configs.errors",
    "Batch": "pipeline.api.batches",
    "BatchEvent": "pipeline.api.batch_results",
    "BatchJob": "pipeline.api.batch_results",
    "Batched": "pipeline.api.batch_results",
    "Domain": "pipeline.api.domains",
    "Drawn": "pipeline.api.drawing",
    "Event": "pipeline.api.telling",
    "Guidance": "guidance.algebra",
    "GuidedNoise": "guidance.evaluation",
    "Made": "pipeline.api.making",
    "MakeResult": "pipeline.make",
    "SlipcastError": "configs.errors",
    "image": "pipeline.api.drawing",
    "load_base": "systems.models.base",
    "load_config": "configs.loading",
    "load_domain": "systems.domain.model",
    "make": "pipeline.api.making",
    "sample": "guidance.sampling",
}

spin_briefly(os.environ)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("slipcast")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
