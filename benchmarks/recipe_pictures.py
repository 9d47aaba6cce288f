"""Draw the pictures of docs/guidance.md with the very commands that it prints above them.

python -m benchmarks.recipe_pictures [NAME ...] [--page docs/guidance.md]
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

# An indented command, and the next picture below it.
_PAIR = re.compile(
    r"^    slipcast image (?P<arguments>.+)\n\n!\[[^\]]*\]\((?P<picture>[^)]+)\)", re.MULTILINE
)


def commands(page: Path) -> dict[Path, list[str]]:
    """{picture: arguments of ``slipcast image``} of a page, in its order."""
    return {
        page.parent / match["picture"]: shlex.split(match["arguments"])
        for match in _PAIR.finditer(page.read_text())
    }


def draw(arguments: list[str], picture: Path) -> None:
    """Run one command and keep its contact sheet, or its only picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "slipcast.pipeline.cli.app", "image", *arguments]
        done = subprocess.run(
            [*command, "--out", folder, "--json"], stdout=subprocess.PIPE, text=True, check=True
        )
        told = json.loads(done.stdout)
        with Image.open(told["sheet"] or told["pictures"][0]) as sheet:
            sheet.convert("RGB").save(picture, quality=88)


def main() -> None:
    """Draw all pictures of the page, or those whose file names are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="file names, such as recipe-cfg.jpg; all if left out")
    parser.add_argument("--page", type=Path, default=Path("docs/guidance.md"))
    given = parser.parse_args()
    for picture, arguments in commands(given.page).items():
        if not given.names or picture.name in given.names:
            print(picture, shlex.join(arguments))
            draw(arguments, picture)


if __name__ == "__main__":
    main()
