"""``slipcast eval``: how near pictures or assets are to a domain's pictures, told by networks that others trained."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import exit_codes
from .options import Debug, Json

evaluate = typer.Typer(no_args_is_help=True, help="Measure pictures or assets against a folder of pictures.")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="What is measured.", show_default=False)]
Against = Annotated[
    Path, typer.Option("--against", metavar="FOLDER", help="The domain's own pictures.", show_default=False)
]
Extractors = Annotated[
    list[str] | None,
    typer.Option(
        "--extractor",
        help="efficientnet-lite0, efficientnet-lite1, dinov2 or a folder with a DINOv2 network; may be repeated.",
        show_default="efficientnet-lite0",
    ),
]
Prompt = Annotated[
    str | None, typer.Option(help="What they show; a .txt file beside one goes first.", show_default=False)
]
Clip = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="A CLIP network at hand, for the alignment with the words.", show_default=False
    ),
]
Device = Annotated[str, typer.Option(help="Where the networks compute: auto, cpu, cuda, cuda:N or mps.")]
Draws = Annotated[int, typer.Option(min=0, max=10_000, help="Draws of the bootstrap; 0 for no intervals.")]


@evaluate.command()
def images(
    folder: Folder,
    against: Against,
    extractor: Extractors = None,
    prompt: Prompt = None,
    clip: Clip = None,
    edges_of: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Pictures of the same names whose edges they follow.", show_default=False
        ),
    ] = None,
    draws: Draws = 100,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Pictures: distances, coverage, colours, alignment with their words, edges."""
    _told(
        "evaluate_images",
        folder,
        against,
        extractor,
        as_json,
        debug,
        prompt=prompt,
        clip=clip,
        edges_of=edges_of,
        draws=draws,
        device=device,
    )


@evaluate.command()
def assets(
    folder: Folder,
    against: Against,
    extractor: Extractors = None,
    prompt: Prompt = None,
    clip: Clip = None,
    draws: Draws = 100,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """GLB files or runs: eight views of each against pictures, how its views agree, and its mesh."""
    _told(
        "evaluate_assets",
        folder,
        against,
        extractor,
        as_json,
        debug,
        prompt=prompt,
        clip=clip,
        draws=draws,
        device=device,
    )


def _told(
    which: str,
    folder: Path,
    against: Path,
    extractors: list[str] | None,
    as_json: bool,
    debug: bool,
    **options: Any,
) -> None:
    with exit_codes(debug=debug, as_json=as_json):
        from .. import evaluating
        from ..run.progress import for_terminal

        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            found = getattr(evaluating, which)(
                folder, against, extractors=extractors or ["efficientnet-lite0"], console=console, **options
            )
        print(json.dumps(found) if as_json else "\n".join(table(found)))


def table(found: dict[str, Any], indent: str = "") -> list[str]:
    """A line for each figure, nested ones indented; what is empty is left out."""
    lines: list[str] = []
    for name, value in found.items():
        if isinstance(value, dict):
            if value:
                lines += [f"{indent}{name}", *table(value, indent + "  ")]
        elif isinstance(value, float):
            lines.append(f"{indent}{name:<22}{value:.4g}")
        elif isinstance(value, tuple | list):
            lines.append(f"{indent}{name:<22}{value[0]:.4g} to {value[1]:.4g}")
        elif value is not None:
            lines.append(f"{indent}{name:<22}{value}")
    return lines
