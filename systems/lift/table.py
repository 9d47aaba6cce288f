"""The lifts, as data: which function turns a picture into a radiance field or a mesh (``lift_model``).

To add one, write a function and one line here, or offer a ``Lift`` from another package as an entry point of the group
``slipcast.lifts``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...configs.plugins import look_up
from ...configs.schema import LiftConfig
from ..types import Mesh, RadianceField, SubjectImage

LiftFunction = Callable[[Sequence[SubjectImage], LiftConfig, Path, str], RadianceField | Mesh]
"""(square cut-out pictures of one object, the front first, settings, the lift's source, device) -> the object in
[-1, 1]^3. There is one picture at least."""


def content_identity(source: Path) -> str:
    """A hash of a file, or of every file that loading a model's folder reads."""
    from ..models.identity import model_identity, sha256_once

    return model_identity(source) if source.is_dir() else sha256_once(source)


@dataclass(frozen=True)
class Lift:
    """One line of the table.

    Attributes:
        function: imports what it needs when it is called.
        identity: a hash of all that it reads of its source, by which finished stages know that it changed; raises
            ``BadInput`` in one sentence if the source is of no use.
        source: what ``lift.source`` has to be, in a few words; it is a path that is there when the function is called.
        several: whether it looks at more pictures than the first.
    """

    function: LiftFunction
    identity: Callable[[Path], str] = content_identity
    source: str = "its weights"
    several: bool = False


def _starter(
    pictures: Sequence[SubjectImage], settings: LiftConfig, source: Path, device: str
) -> RadianceField:
    from .starter import lift_picture, load_lift

    return lift_picture(load_lift(source, device=device), pictures[0], settings.resolution)


def _mesh(pictures: Sequence[SubjectImage], settings: LiftConfig, source: Path, device: str) -> RadianceField:
    from .mesh_file import read_surface
    from .solid import field_of_surface
    from .surface import framed

    return field_of_surface(framed(read_surface(source)), settings.resolution)


def _mesh_identity(source: Path) -> str:
    from .mesh_file import read_surface, surface_identity

    return surface_identity(read_surface(source))


LIFTS: dict[str, Lift] = {
    "starter": Lift(_starter),
    "mesh": Lift(_mesh, _mesh_identity, "a mesh of yours: GLB, glTF, OBJ, PLY or STL"),
}


def lift_named(name: str) -> Lift:
    """The lift of that name, ours or a plug-in's. BadInput if there is none."""
    return look_up("lifts", name, LIFTS)
