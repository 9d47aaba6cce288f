"""What the commands of ``slipcast batch`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class _Jobs(TyperGroup):
    """``slipcast batch JOBS`` is ``slipcast batch run JOBS``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


batch = typer.Typer(
    cls=_Jobs,
    no_args_is_help=True,
    help="Many prompts: `slipcast batch JOBS` makes them, `slipcast batch status JOBS` tells how they stand.",
)

Jobs = Annotated[
    Path,
    typer.Argument(
        metavar="JOBS",
        help="TXT (a prompt a line), CSV, JSONL or YAML of prompts and settings, or a folder of pictures.",
        show_default=False,
    ),
]
Out = Annotated[
    str,
    typer.Option(
        help="Folder that holds the runs, or an address to store them at, such as s3://bucket/prefix."
    ),
]
Local = Annotated[
    Path, typer.Option(help="With --out at an address: folder here for the ledger and copies of the runs.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These only.", show_default=False)]


def folder_here(out: str, local: Path) -> Path:
    """The folder of this machine that runs and ledger lie in."""
    from ..batch.remote import is_address

    return local if is_address(out) else Path(out)


def options_of(out: str, local: Path) -> tuple[str, ...]:
    """The options that lead another command to the same batch."""
    given = (("--out", out, "runs"), ("--local", str(local), "runs"))
    return tuple(text for name, value, default in given if value != default for text in (name, value))


def counted(counts: dict[str, int]) -> str:
    """How many jobs are in which state, in words."""
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "no jobs"
