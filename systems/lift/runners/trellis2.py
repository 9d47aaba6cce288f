"""Runs in a clone of microsoft/TRELLIS.2, by its Python: trellis2.py PICTURE MESH.glb; all else is its own."""

import sys

sys.path.insert(0, ".")

import o_voxel  # pyright: ignore[reportMissingImports]
from PIL import Image
from trellis2.pipelines import Trellis2ImageTo3DPipeline  # pyright: ignore[reportMissingImports]

FACES, TEXELS = 200_000, 2048
NVDIFFRAST_FACES = 16_777_216  # more than these its rasteriser does not take

picture, target = sys.argv[1:]
pipeline = Trellis2ImageTo3DPipeline.from_pretrained("microsoft/TRELLIS.2-4B")
pipeline.cuda()
mesh = pipeline.run(Image.open(picture))[0]
mesh.simplify(NVDIFFRAST_FACES)
o_voxel.postprocess.to_glb(
    vertices=mesh.vertices,
    faces=mesh.faces,
    attr_volume=mesh.attrs,
    coords=mesh.coords,
    attr_layout=mesh.layout,
    voxel_size=mesh.voxel_size,
    aabb=[[-0.5] * 3, [0.5] * 3],
    decimation_target=FACES,
    texture_size=TEXELS,
    remesh=True,
    remesh_band=1,
    remesh_project=0,
).export(target)
