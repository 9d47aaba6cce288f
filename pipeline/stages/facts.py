"""What each stage tells of what it made, for its record and the manifest; JSON values throughout."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class ImageFacts(TypedDict):
    """Of stage 10-image.

    ``prompt`` is the whole of it, words for view and background included; ``chosen`` and ``ranking`` are numbers of
    candidates, and so is the evidence, one number each; ``coverage`` the subject's share of the picture. Where a
    candidate was picked (``image.pick``), ``drawn`` says how many there are, and none is ranked.
    """

    prompt: str
    coverage: float
    chosen: NotRequired[int]
    ranking: NotRequired[list[int]]
    drawn: NotRequired[int]
    text_evidence: NotRequired[list[float]]
    domain_evidence: NotRequired[list[float]]


class LiftedCandidate(TypedDict):
    """A candidate that was lifted: its number, ``systems.lift.looks.Looks`` of what became of it."""

    candidate: int | None
    overlap: float
    colour_error: float
    faults: list[str]


class LiftFacts(TypedDict):
    """Of stage 20-lift: the share of its cells that are solid; of several candidates, all and which was chosen."""

    solid_fraction: float
    chosen: NotRequired[int]
    lifted: NotRequired[list[LiftedCandidate]]


class RefineFacts(TypedDict):
    """Of stage 30-refine: every loss at the last step, by name, and what people should know of how it went."""

    losses: dict[str, float]
    notes: NotRequired[list[str]]


class MeshFacts(TypedDict):
    """Of stage 40-mesh: ``systems.mesh.report`` of the mesh, how it came about and how its texture turned out.

    ``threshold`` is a density, ``seams`` steps of 8 bits, ``bake_psnr_db`` how alike mesh and field look.
    """

    faces: int
    vertices: int
    components: int
    euler_number: int
    watertight: bool
    outward: bool
    volume: float
    fine_faces: int
    target_faces: int
    threshold: float
    atlas: dict[str, Any]
    seams: dict[str, Any]
    seams_in_mip_3: dict[str, Any]
    bake_psnr_db: float | None


class PaintedFacts(TypedDict):
    """``systems.texture.painting`` of a painted mesh: shares of its surface, and the mean change in steps of 8 bits."""

    seen: float
    held_by_picture: float
    changed: float


class PaintFacts(TypedDict):
    """Of stage 45-paint; a mesh that was not ``painted`` is the mesh stage's own, and ``why`` says the reason."""

    painted: bool
    why: NotRequired[str]
    seen: NotRequired[float]
    held_by_picture: NotRequired[float]
    changed: NotRequired[float]


class ExportFacts(TypedDict):
    """Of stage 50-export: names of files by format, and sentences about those that could not be written.

    ``assumed`` says of each number that nobody gave why it is what it is.
    """

    files: dict[str, str]
    failed: dict[str, str]
    lods: list[dict[str, Any]]
    preview: str
    height_m: float
    assumed: dict[str, Any]
    glb: NotRequired[str]
