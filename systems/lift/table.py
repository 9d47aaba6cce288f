"""The lifts, as data: which function turns a picture into a radiance field or a mesh (``lift_model``).

To add one, write a function and one line here, or offer a ``Lift`` from another package as an entry point of the group
``slipcast.lifts``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...configs.plugins import look_up
from ...configs.schema import ImageConfig, LiftConfig
from ..types import Mesh, RadianceField, SubjectImage

if TYPE_CHECKING:
    import torch


def _unsaid(sentence: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class LiftTask:
    """What a lift is asked for.

    Attributes:
        pictures: square cut-outs of one object, the front first; there is one at least.
        source: what ``lift.source`` names, or the folder of a model that is known by the lift's name.
        device: where networks compute.
        folder: the stage's, for files of the lift's own; they stay beside the field.
        generator: of the CPU; every random draw comes from it. None where a lift draws nothing.
        notice: says a sentence to the user.
        elevation_rad: of the camera that the first picture counts as taken by.
    """

    pictures: Sequence[SubjectImage]
    settings: LiftConfig
    source: Path
    device: str = "cpu"
    folder: Path = Path()
    generator: torch.Generator | None = None
    notice: Callable[[str], None] = field(default=_unsaid)
    elevation_rad: float = math.radians(ImageConfig().elevation_deg)


LiftFunction = Callable[[LiftTask], RadianceField | Mesh]
"""-> the object in [-1, 1]^3, its front towards -Y, where and as large as the first picture shows it."""


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
        alias: the model (``models.known.ALIASES``) that is meant where ``lift.source`` is empty.
        needs_source: whether there must be one; without it the function is given the current folder.
        licence: of what it makes, where no model's card says it.
    """

    function: LiftFunction
    identity: Callable[[Path], str] = content_identity
    source: str = "its weights"
    several: bool = False
    alias: str | None = None
    needs_source: bool = True
    licence: str = "unknown"


def _starter(task: LiftTask) -> RadianceField:
    from .starter import lift_picture, load_lift

    return lift_picture(
        load_lift(task.source, device=task.device), task.pictures[0], task.settings.resolution
    )


def _mesh(task: LiftTask) -> RadianceField:
    from .mesh_file import read_surface
    from .registration import registered
    from .surface import framed

    return registered(framed(read_surface(task.source)), task)


def _mesh_identity(source: Path) -> str:
    from .mesh_file import read_surface, surface_identity

    return surface_identity(read_surface(source))


def _shap_e(task: LiftTask) -> RadianceField:
    from .shap_e import lift_picture

    return lift_picture(task)


def _triposr(task: LiftTask) -> RadianceField:
    from .triposr import lift_picture

    return lift_picture(task)


def _triposr_identity(source: Path) -> str:
    from .triposr import source_identity

    return source_identity(source)


def _command(task: LiftTask) -> RadianceField:
    from .command import lift_picture

    return lift_picture(task)


def _command_identity(source: Path) -> str:
    from .command import source_identity

    return source_identity(source)


def _blob(task: LiftTask) -> RadianceField:
    from .gridding import blob

    return blob(task.settings.resolution)


LIFTS: dict[str, Lift] = {
    "starter": Lift(_starter),
    "mesh": Lift(_mesh, _mesh_identity, "a mesh of yours: GLB, glTF, OBJ, PLY or STL"),
    "blob": Lift(_blob, lambda source: "1", needs_source=False, licence="Apache-2.0"),
    "shap-e": Lift(_shap_e, source="a folder of ShapEImg2ImgPipeline", alias="shap-e"),
    "triposr": Lift(
        _triposr, _triposr_identity, "a folder with TripoSR's config.yaml and model.ckpt", alias="triposr"
    ),
    "command": Lift(
        _command,
        _command_identity,
        "the folder that lift.command runs in, the program's clone",
        several=True,
        needs_source=False,
    ),
}


def lift_named(name: str) -> Lift:
    """The lift of that name, ours or a plug-in's. BadInput if there is none."""
    return look_up("lifts", name, LIFTS)
