"""``slipcast fetch``: download a model by alias or hub id; without a name, say which aliases there are."""

from __future__ import annotations

import contextlib
import json
import sys
import time

from ..run.progress import Advance, Lines, for_terminal


def fetch_command(
    name: str | None, as_json: bool, *, full_precision: bool = False, allow_pickle: bool = False
) -> None:
    """Print the model's folder as the last line of stdout, or the table of aliases; progress goes to stderr."""
    if not name:
        print(_aliases(as_json))
        return
    from ...systems.models.aliases import MOVED, fetch, hub_id_of
    from ...systems.models.known import ALIASES

    stage, began = f"fetch {name}", time.monotonic()
    with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
        console.stage_started(stage)
        if name in ALIASES:
            console.notice(f"{name} is {ALIASES[name].hub_id}, under the licence {ALIASES[name].licence}")
        options = {"full_precision": full_precision, "allow_pickle": allow_pickle}
        folder = fetch(name, Megabytes(console), notice=console.notice, **options)
        console.stage_ended(stage, f"{time.monotonic() - began:.1f} s")
    hub_id = MOVED.get(hub_id_of(name), hub_id_of(name))
    print(json.dumps({"name": name, "id": hub_id, "folder": str(folder)}) if as_json else folder)


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
