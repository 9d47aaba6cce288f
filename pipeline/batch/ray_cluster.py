"""A Ray cluster: connecting to it, and how many workers it has room for; needs the extra ``cluster``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...configs.errors import BadInput, in_one_line
from .ray_engine import RayActors, asked
from .shares import Leg, Share

LOCAL = "local"


@contextlib.contextmanager
def on_ray(
    address: str, work: Callable[..., Any], *, workers: int | None, legs: Sequence[Leg]
) -> Iterator[RayActors]:
    """Connect to a cluster, or start one of this machine alone (``local``), for as long as the block runs.

    Args:
        workers: of each leg; None for as many as the cluster has room for.
        legs: into which jobs are divided, and what a worker of each asks for.
    Raises:
        BadInput: Ray is not installed, nobody answers, or no node has room for one worker.
    """
    try:
        import ray
    except ImportError as error:
        raise BadInput('--ray needs Ray; `pip install "slipcast[cluster]"` installs it') from error
    _check_answers(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    where = {"include_dashboard": False} if address == LOCAL else {"address": address}
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # what Ray will do soon; it warns until then
    try:
        ray.init(**where, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadInput(f"no Ray cluster answers at {address} ({in_one_line(error, 120)})") from error
    try:
        places: list[int] = []  # the leg of each
        for number, leg in enumerate(legs):
            room = _room(ray.nodes(), leg.share)
            if room == 0:
                raise BadInput(f"no node of the cluster has room for a worker of {asked(leg.share)}")
            places += [number] * min(workers or room, room)
        yield RayActors(ray, work, legs, places)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """A cluster that is not there is told within seconds; Ray itself tries for minutes."""
    if "://" in address:
        raise BadInput(
            f"--ray expects {LOCAL}, auto or the head node's host:port, not {address!r}; "
            "run the command on a machine of the cluster"
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10.0).close()
        except (OSError, OverflowError) as error:
            raise BadInput(f"no Ray cluster answers at {address} ({in_one_line(error, 120)})") from error


def _room(nodes: Sequence[dict[str, Any]], share: Share) -> int:
    """How many workers the living nodes hold."""
    total = 0
    for node in nodes:
        has = node.get("Resources", {}) if node.get("Alive") else {}
        fits = [
            has.get(name, 0.0) // want
            for name, want in (("CPU", share.cpus), ("GPU", share.gpus))
            if want > 0
        ]
        if share.memory_mb:
            fits.append(has.get("memory", 0.0) // (share.memory_mb * 2**20))
        total += int(min(fits, default=0))
    return total
