"""What ``blender_check`` looks at: the assets of finished runs, and the solids of the starter's generator as meshes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import KDTree

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.assets.preparing import prepare
from slipcast.pipeline.finished import read_run
from slipcast.pipeline.library import asset_of_run, run_folders
from slipcast.pipeline.run.prompts import slug
from slipcast.starter.generator.objects import make_object
from slipcast.starter.generator.volume import solid_occupancy, surface_samples
from slipcast.systems.field.voxels import FrozenGrid, cell_centres
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake

Subject = tuple[str, Callable[[], Asset]]
"""A name, and what makes or reads the asset when its turn comes."""

_SEED, _SAMPLES = 4, 40_000
_FACES, _TEXTURE = 20_000, 1024  # as in the mesh stage


def subjects(runs: Path, limit: int | None, meshes: int) -> tuple[list[Subject], dict[str, str]]:
    """The runs under a folder, ``limit`` at most, then ``meshes`` generator meshes; and {run: why it was left out}.

    Raises:
        BadInput: the folder holds no runs.
    """
    found: list[Subject] = []
    skipped: dict[str, str] = {}
    for folder in run_folders(runs)[:limit]:
        try:
            run = read_run(folder)
        except BadInput as error:
            skipped[folder.name] = str(error)
        else:
            found.append((f"run {folder.name}", lambda run=run: asset_of_run(run, {}, name=run.path.name)))
    return [*found, *_generated(meshes)], skipped


def _generated(count: int) -> Iterator[Subject]:
    for index in range(count):
        yield f"mesh {index}", lambda index=index: generated(index)


def generated(index: int) -> Asset:
    """One object of the generator, every other one of the domain, as a mesh with all three maps.

    Its occupancy and its surface's own colours become a field, and the field a mesh, as in the mesh stage. The normal
    map is flat; occlusion and roughness are smooth ramps, which a swapped or flipped channel would spoil.
    """
    rng = np.random.default_rng([_SEED, index])
    thing = make_object(rng, domain=index % 2 == 0)
    solid = solid_occupancy(thing.vertices, thing.faces)
    points, albedo = surface_samples(thing, rng, n=_SAMPLES, solid=solid)
    nearest = KDTree(points.astype(np.float32)).query(cell_centres(len(solid)).numpy())[1]
    colours = (albedo[nearest].astype(np.float32) / 255).reshape(*solid.shape, 3)
    field = FrozenGrid(torch.from_numpy(solid).float(), torch.from_numpy(colours))
    mesh = unwrap(extract_surface(field, target_faces=_FACES).reduced, size=_TEXTURE)
    ramp = np.linspace(60, 255, 64).round().astype(np.uint8)
    orm = np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], np.uint8(0)), -1)
    mesh = bake(mesh, field, size=_TEXTURE).with_(
        normal_map=np.full((64, 64, 3), (128, 128, 255), np.uint8), orm=np.ascontiguousarray(orm)
    )
    prompt = thing.caption()
    return prepare(mesh, ExportConfig(), name=f"{slug(prompt)}-{index}", prompt=prompt, seed=index, models={})
