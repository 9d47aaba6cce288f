"""``slipcast fetch``: download a model, or all of a preset's; without a name, say which there are."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping

from ...configs.errors import BadInput
from ..run.progress import Advance, Lines, for_terminal


def fetch_command(
    name: str | None,
    as_json: bool,
    config: str | None = None,
    *,
    full_precision: bool = False,
    allow_pickle: bool = False,
) -> None:
    """Print the folder of each model on a line of stdout, or the table of aliases; progress goes to stderr.

    Args:
        config: a preset, or its file: what its run needs and is not here is fetched.
    Raises:
        BadInput: both a name and a preset, or what the parts raise.
    """
    if name and config:
        raise BadInput("fetch expects the name of a model, or --config for all of a preset's, not both")
    if not name and not config:
        print(_aliases(as_json))
        return
    options = {"full_precision": full_precision, "allow_pickle": allow_pickle}
    out, told = sys.stdout, list[dict[str, str]]()
    with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
        for one in [name] if name else _missing(config or "", console):
            told.append(_fetched(one, console, options))
            if not as_json:  # at once: what arrived is there, whatever becomes of the rest
                print(told[-1]["folder"], file=out, flush=True)
    if as_json:
        print(json.dumps(told[0] if name else told))


def _fetched(name: str, console: Lines, options: Mapping[str, bool]) -> dict[str, str]:
    from ...systems.models.aliases import MOVED, fetch, hub_id_of
    from ...systems.models.known import ALIASES

    stage, began = f"fetch {name}", time.monotonic()
    console.stage_started(stage)
    if name in ALIASES:
        console.notice(f"{name} is {ALIASES[name].hub_id}, under the licence {ALIASES[name].licence}")
    folder = fetch(name, Megabytes(console), notice=console.notice, **options)
    console.stage_ended(stage, f"{time.monotonic() - began:.1f} s")
    hub_id = MOVED.get(hub_id_of(name), hub_id_of(name))
    return {"name": name, "id": hub_id, "folder": str(folder)}


def _missing(config: str, console: Lines) -> list[str]:
    """What a preset's run needs of the hub and has not; what else it lacks is said."""
    from ...configs.loading import load_config
    from ..run.inventory import inventory
    from ..run.models import open_models
    from ..run.stage import ROLES

    needed = inventory(open_models(load_config(config)), ROLES)
    for one in needed:
        if one.problem and not one.fetch:
            console.notice(f"{one.role}: {one.problem}")
        elif not one.problem:
            console.notice(f"{one.role}: {one.name} is here")
    return list(dict.fromkeys(one.name for one in needed if one.fetch))


class Megabytes:
    """Bytes done, as steps of a megabyte on a console's bar, which is opened when the total is known."""

    def __init__(self, console: Lines) -> None:
        self._console = console
        self._advance: Advance | None = None
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        if self._advance is None:
            self._advance = self._console.task("megabytes", max(1, total // 10**6))
        if (steps := done // 10**6 - self._told) > 0:
            self._told += steps
            self._advance(steps)


def _aliases(as_json: bool) -> str:
    from ...systems.models.aliases import is_here
    from ...systems.models.known import ALIASES

    if as_json:
        told = {
            name: dict(zip(("hub_id", "sentence", "licence"), one, strict=False))
            for name, one in ALIASES.items()
        }
        return json.dumps({name: {**one, "here": is_here(name)} for name, one in told.items()})
    width = max(map(len, ALIASES))
    return "\n".join(
        f"{'here' if is_here(name) else '':4}  {name:{width}}  {one.sentence} {one.hub_id}, {one.licence}"
        for name, one in ALIASES.items()
    )
