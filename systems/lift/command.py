"""Any other image-to-3D program: it is run on the picture's file, and the mesh that it writes is read.

Programs whose dependencies quarrel with ours keep their own environment this way (``lift.python``). No shell reads the
command. What the program prints stays in the stage's folder as command.log, its mesh beside it.
"""

from __future__ import annotations

import shlex
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from ...configs.errors import BadInput, SlipcastError, in_one_line
from ...configs.programs import signal_name, watch
from ..field.voxels import FrozenGrid
from .facing import facing_yaw
from .mesh_file import ENDINGS, read_surface
from .registration import registered
from .solid import field_of_surface
from .surface import framed, turned
from .table import LiftTask

_RUNNERS = Path(__file__).with_name("runners")
_ABSTRACT3D = (
    "{python} -m abstract3d i23d {picture} --output-dir {out} --format glb --device {device} --backend"
)

PRESETS: dict[str, str] = {
    # pip install "abstract3d[triposr]" in an environment of its own; MIT.
    "abstract3d-triposr": f"{_ABSTRACT3D} triposr",
    "abstract3d-step1x": f"{_ABSTRACT3D} step1x",
    # Clones of microsoft/TRELLIS.2 and Tencent-Hunyuan/Hunyuan3D-2.1, in lift.source.
    "trellis2": "{python} {runners}/trellis2.py {picture} {mesh}",
    "hunyuan3d-2.1": "{python} {runners}/hunyuan3d.py {picture} {mesh}",
}
"""Command lines of known programs, by the names that ``lift.command`` takes."""


@dataclass(frozen=True)
class Call:
    """A command line with its files filled in."""

    words: list[str]
    out: Path
    mesh: Path

    def written(self) -> Path | None:
        """The mesh that the program left: where it was told to, or else the newest in its folder."""
        if self.mesh.is_file():
            return self.mesh
        found = [path for path in self.out.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)


def lift_picture(task: LiftTask) -> FrozenGrid:
    """The field of the mesh that the program makes of the pictures, framed and turned to the first of them.

    Raises:
        BadInput: no command, one without places for the files, or a program that is not there.
        SlipcastError: it failed, took too long, or left no mesh that can be read.
    """
    call = _call(task)
    last: deque[str] = deque(maxlen=1)
    with (task.folder / "command.log").open("w", encoding="utf-8") as log:

        def heard(line: str) -> None:
            print(line, file=log, flush=True)
            last.extend([line] if line.strip() else [])

        try:
            code = watch(call.words, heard, timeout_s=task.settings.time_limit_s, folder=task.source)
        except OSError as error:
            raise BadInput(
                f"lift.command cannot run {call.words[0]!r} ({in_one_line(error)}); give a program that is there, "
                "or its environment's Python in lift.python"
            ) from error
    told = f"the last line of {log.name}: {(last[0] if last else 'nothing')[:300]!r}"
    if code is None:
        raise SlipcastError(
            f"lift.command took longer than lift.time_limit_s={task.settings.time_limit_s:g} and was ended; {told}"
        )
    if code:
        how = f"was ended by {signal_name(-code)}" if code < 0 else f"failed (exit code {code})"
        raise SlipcastError(f"lift.command {how}; {told}")
    mesh = call.written()
    if mesh is None:
        raise SlipcastError(f"lift.command left no {', '.join(ENDINGS)} in {call.out}; {told}")
    surface = framed(read_surface(mesh))
    yaw = facing_yaw(field_of_surface(surface, min(task.settings.resolution, 64)), task.pictures[0])
    return registered(framed(turned(surface, yaw)), task)


def _call(task: LiftTask) -> Call:
    """Writes the pictures, and fills their places in."""
    told = task.settings.command
    template = PRESETS.get(told, told)
    if not template.strip():
        raise BadInput(
            f"lift_model=command needs lift.command: {', '.join(PRESETS)}, or a command line with {{picture}} and "
            "{mesh} or {out}"
        )
    folder = task.folder.resolve()
    out, pictures = folder / "made", folder / "pictures"
    out.mkdir(exist_ok=True)
    pictures.mkdir(exist_ok=True)
    for number, picture in enumerate(task.pictures, start=1):
        picture.save(pictures / f"{number}.png")
    places = {
        "picture": str(pictures / "1.png"),
        "pictures": str(pictures),
        "out": str(out),
        "mesh": str(out / "mesh.glb"),
        "source": str(task.source.resolve()),
        "runners": str(_RUNNERS),
        "python": task.settings.python,
        "device": task.device,
    }
    try:
        words = [word.format_map(places) for word in shlex.split(template)]
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise BadInput(
            f"lift.command={told!r} cannot be read ({in_one_line(error)}); its places are "
            f"{', '.join(f'{{{name}}}' for name in places)}"
        ) from error
    if "{picture" not in template or not ("{mesh}" in template or "{out}" in template):
        raise BadInput(f"lift.command={told!r} expects {{picture}} or {{pictures}}, and {{mesh}} or {{out}}")
    return Call(words, out, out / "mesh.glb")


def source_identity(source: Path) -> str:
    """The commit of a clone, as far as its files tell; programs without one are not known apart."""
    git = source / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        return (git / head.removeprefix("ref: ")).read_text(encoding="utf-8").strip()
    except OSError:
        return "unversioned"
