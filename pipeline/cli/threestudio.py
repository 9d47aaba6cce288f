"""``slipcast threestudio install``: slipcast's guidance in a clone of threestudio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .console import exit_codes
from .options import Debug, Json

threestudio = typer.Typer(no_args_is_help=True, help="slipcast's guidance in threestudio.")


@threestudio.callback()
def _root() -> None:
    """A group, although it has one command."""


@threestudio.command("install")
def install(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A clone of threestudio.", show_default=False)
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Also over a file that is not slipcast's, or was changed.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one file into its folder custom, and say what to write into a YAML. The last line printed is the file."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..threestudio.installing import YAML
        from ..threestudio.installing import install as write

        path = write(folder, force=force)
        snippet = YAML.format(port=7790)
        if as_json:
            print(json.dumps({"file": str(path), "yaml": snippet}))
            return
        print(snippet)
        print(path)
