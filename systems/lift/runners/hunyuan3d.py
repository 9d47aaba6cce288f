"""Run inside a clone of Tencent-Hunyuan/Hunyuan3D-2.1, by its own Python: hunyuan3d.py PICTURE MESH.glb.

Imports nothing of ours. The shape is textured where the clone's painting is built, and bare otherwise.
"""

# ruff: noqa: E402
import shutil
import sys

sys.path[:0] = ["./hy3dshape", "./hy3dpaint"]

from hy3dshape.pipelines import Hunyuan3DDiTFlowMatchingPipeline  # pyright: ignore[reportMissingImports]
from PIL import Image

VIEWS, PIXELS = 6, 512

picture, target = sys.argv[1:]
cut_out = Image.open(picture).convert("RGBA")
shape = Hunyuan3DDiTFlowMatchingPipeline.from_pretrained("tencent/Hunyuan3D-2.1")(image=cut_out)[0]
shape.export(target)
try:
    from textureGenPipeline import (  # pyright: ignore[reportMissingImports]
        Hunyuan3DPaintConfig,
        Hunyuan3DPaintPipeline,
    )
except ImportError as missing:
    print(f"the shape stays bare: {missing}")
    sys.exit(0)

config = Hunyuan3DPaintConfig(VIEWS, PIXELS)
config.realesrgan_ckpt_path = "hy3dpaint/ckpt/RealESRGAN_x4plus.pth"
config.multiview_cfg_path = "hy3dpaint/cfgs/hunyuan-paint-pbr.yaml"
config.custom_pipeline = "hy3dpaint/hunyuanpaintpbr"
textured = target.removesuffix(".glb") + "-textured.obj"
Hunyuan3DPaintPipeline(config)(mesh_path=target, image_path=cut_out, output_mesh_path=textured, save_glb=True)
shutil.move(textured.removesuffix(".obj") + ".glb", target)
