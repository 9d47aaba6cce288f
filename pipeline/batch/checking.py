"""Before a batch begins: whether the models are here that its jobs name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...configs.errors import BadInput
from .jobs import Job


def check_models(jobs: Sequence[Job]) -> None:
    """A model that is not here is told before anything is made, and not once for every job."""
    from ...systems.models.known import SHIPPED, domain_for

    seen: set[tuple[str, str]] = set()
    for job in jobs:
        wanted = {role: getattr(job.config, role) for role in ("base", "model", "lift_model")}
        wanted["domain"] = domain_for(job.config.base, job.config.domain)
        for role, name in wanted.items():
            if name is None or (role, name) in seen or name in SHIPPED.get(role, ()):
                continue
            seen.add((role, name))
            try:
                _folder(job, role)
            except BadInput as error:
                raise BadInput(f"{job.where}: {error}") from error


def _folder(job: Job, role: str) -> Path:
    from ..run.models import ModelStore  # which imports torch for what does not ship with the package

    return ModelStore(job.config).folder(role)
