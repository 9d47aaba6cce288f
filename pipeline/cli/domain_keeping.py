"""``slipcast domain list|info|balance|pack|unpack``: look at domains, balance and share them."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import exit_codes
from .domain import Device, Name, domain  # whose commands come first
from .options import Debug, Json, option


@domain.command("list")
def list_command(as_json: Json = False, debug: Debug = False) -> None:
    """The domains on this machine: those that ship, and those in the folder of domains."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from ..domains.listing import list_domains

        found = list_domains()
        if as_json:
            print(json.dumps({"domains": found}))
            return
        for one in found:
            gain = f"{100 * one['gain']:+.1f} %" if one.get("gain") is not None else "-"
            print(
                f"{one['name']:<20} {one['kind']:<10} {one.get('base', '-'):<12} {gain:>8}  "
                f"{one.get('licence', '-'):<14} {one['folder']}"
            )


@domain.command()
def info(name: Name, as_json: Json = False, debug: Debug = False) -> None:
    """What a domain says of itself: base, licence, how it was learned and how well, weights of guidance."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from ..domains.listing import card_of_any, find_learned
        from .evaluate import table

        place = find_learned(name)
        told = {"folder": str(place), **card_of_any(place)}
        if as_json:
            print(json.dumps(told))
            return
        print("\n".join(table({k: _plain(v) for k, v in told.items()})))


@domain.command()
def balance(
    name: Name,
    prompt: Annotated[list[str] | None, option("Measured over these; may be repeated.")] = None,
    total: Annotated[float, option("The weight that plain guidance would have (7).", min=0.01)] = 7.0,
    base: Annotated[str | None, option("Its base; the one that its card names where left out.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the weights of domain and text on the models, and keep them in the domain's card as its defaults."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.balancing import balance_domain
        from ..run.progress import for_terminal

        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            console.stage_started("balance")
            folder, weights = balance_domain(
                name, console, prompts=prompt or (), total=total, base=base, device=device
            )
        print(json.dumps({"domain": str(folder), "weights": weights}) if as_json else weights)


@domain.command()
def pack(
    name: Name,
    out: Annotated[Path | None, option("The file to write (NAME.domain.zip).")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a domain as one .zip to share, with a sum of every file."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.listing import find_learned
        from ..domains.packing import pack as write

        made = write(find_learned(name), out)
        print(json.dumps({"file": str(made)}) if as_json else made)


@domain.command()
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `pack` wrote.", show_default=False)],
    name: Annotated[str | None, option("Its name here; the file's own where left out.")] = None,
    out: Annotated[Path | None, option("Folder of domains (domains, or $SLIPCAST_DOMAINS).")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lay a packed domain into the folder of domains, after looking at all that is inside."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.packing import unpack as lay

        folder = lay(file, name=name, out=out)
        print(json.dumps({"domain": str(folder)}) if as_json else folder)


def _plain(value: Any) -> Any:
    """Lists as text, so that a table takes them."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return float(value) if isinstance(value, float) else value
