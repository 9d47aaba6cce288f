"""From a run's mesh to an asset: its size, how its surface shines, and the facts that travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...configs.schema import ExportConfig
from ...systems.types import Mesh
from .asset import DEFAULT_ROUGHNESS, Asset
from .placing import placement

_TOLD = ("id", "revision", "licence")


def prepare(
    mesh: Mesh,
    settings: ExportConfig,
    *,
    name: str,
    prompt: str,
    seed: int,
    models: Mapping[str, Mapping[str, Any]],
    like: Mesh | None = None,
) -> Asset:
    """Everything that the writers need, decided once for all of them.

    Pictures do not tell how glossy a thing is, so one roughness is assumed for the whole surface: the setting, or else
    what the domain says of its things, or else ``DEFAULT_ROUGHNESS``. An ``orm`` map whose roughness varies between
    texels says more: it is kept unless the setting insists. Nothing is metal unless an ``orm`` map says so.

    Args:
        models: {role: {"id", "revision", "licence"}}; "roughness" of the domain is what its card says.
        like: the mesh whose size and place count, if not its own: a level of detail takes the full mesh's exactly.

    Returns:
        An asset whose facts hold prompt, seed, models, height, and as "assumed" what was not measured, and why so.
    """
    value, why = _roughness(settings, models)
    surface: dict[str, float] = {}
    assumed: dict[str, str] = {}
    if mesh.orm is None or not mesh.orm[..., 2].any():
        surface["metallic"], assumed["metallic"] = 0.0, "nothing is taken for metal"
    if mesh.orm is None or settings.roughness is not None or not _varies(mesh):
        surface["roughness"], assumed["roughness"] = value, why
        mesh = _with_roughness(mesh, value)
    placed = placement(like or mesh, settings.height_m).of(mesh)
    facts = {
        "generator": "slipcast",
        "prompt": prompt,
        "seed": seed,
        "models": {role: {key: told[key] for key in _TOLD if key in told} for role, told in models.items()},
        "height_m": round(float(placed.vertices[:, 2].max()), 6),
        **surface,
        "assumed": assumed,
    }
    return Asset(placed, name, facts, roughness=value, quads=settings.quads, textures=settings.textures)


def _roughness(settings: ExportConfig, models: Mapping[str, Mapping[str, Any]]) -> tuple[float, str]:
    """The roughness, and who says so."""
    if settings.roughness is not None:
        return float(settings.roughness), "the setting export.roughness"
    of_domain = models.get("domain", {}).get("roughness")
    if of_domain is not None:
        return float(of_domain), "what the domain says of all its things"
    return DEFAULT_ROUGHNESS, "neither glossy nor matt, since neither setting nor domain says"


def _varies(mesh: Mesh) -> bool:
    return mesh.orm is not None and mesh.orm[..., 1].min() != mesh.orm[..., 1].max()


def _with_roughness(mesh: Mesh, value: float) -> Mesh:
    if mesh.orm is None:
        return mesh
    orm = mesh.orm.copy()
    orm[..., 1] = round(value * 255)
    return mesh.with_(orm=orm)
