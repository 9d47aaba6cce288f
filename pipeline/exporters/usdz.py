"""USDZ files (usd-core): one mesh with UsdPreviewSurface and all maps inside; metres, +Y up, front +Z.

+Y up since viewers on telephones demand it; programs with another axis turn the object by ``upAxis``.
The shading follows openusd.org/release/spec_usdpreviewsurface.html.
"""

# pyright: reportAttributeAccessIssue=false
# pxr's modules are compiled and come without type stubs.
from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Kind, Sdf, Tf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

from ...configs.errors import SlipcastError
from ..assets.asset import Asset
from ..assets.pictures import picture
from ..run.staging import scratch_folder, write_file
from .axes import to_y_up
from .preview import CLAY_LINEAR


def write_usdz(asset: Asset, path: Path) -> None:
    """Write <stem>.usdz, whole or not at all. The facts are JSON text in ``customLayerData["slipcast"]``.

    Raises:
        SlipcastError: USD refuses, or the file cannot be written.
    """
    path = Path(path)
    with scratch_folder("writing the USDZ's parts") as scratch:
        packed = scratch / "packed.usdz"
        try:
            layer = _write_layer(asset, scratch)
            done = UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(packed))
            package = _without_times(packed.read_bytes())
        except (Tf.ErrorException, zipfile.BadZipFile) as error:
            # USD does not say when a disk is full: it fails to read what it could not write.
            reason = str(error).strip().splitlines()[-1].strip()
            raise SlipcastError(
                f"USD could not write its parts in {scratch.parent}; see that there is room ({reason})"
            ) from error
        if not done:
            raise SlipcastError(f"USD could not pack {path.name}")
    write_file(path, "USDZ", package)


def _without_times(package: bytes) -> bytes:
    """The package with every entry dated 1980-01-01, the first day ZIP knows: the same asset gives the same bytes."""
    data, date = bytearray(package), struct.pack("<2H", 0, 0x21)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        entries, at = archive.infolist(), archive.start_dir
    for entry in entries:
        data[entry.header_offset + 10 : entry.header_offset + 14] = date
        data[at + 12 : at + 16] = date
        # A line of the directory: 46 bytes, then name, extra field and comment of the lengths that it tells.
        at += 46 + sum(struct.unpack_from("<3H", data, at + 28))
    return bytes(data)


def _write_layer(asset: Asset, folder: Path) -> Path:
    layer = folder / f"{Tf.MakeValidIdentifier(asset.name)}.usdc"
    stage = Usd.Stage.CreateNew(str(layer))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(asset.name)}")
    prim = root.GetPrim()
    stage.SetDefaultPrim(prim)
    model = Usd.ModelAPI(prim)
    model.SetKind(Kind.Tokens.component)
    model.SetAssetName(asset.name)
    facts = json.dumps(dict(asset.facts), ensure_ascii=False, allow_nan=False)
    stage.GetRootLayer().customLayerData = {"generator": "slipcast", "slipcast": facts}
    # The mesh has the root's name, since programs show it as the object's.
    mesh = _define_mesh(stage, f"{root.GetPath()}/{prim.GetName()}", asset)
    material = _define_material(stage, f"{root.GetPath()}/{prim.GetName()}_material", asset, folder)
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()
    return layer


def _define_mesh(stage: Any, at: str, asset: Asset) -> Any:
    source, mesh = asset.mesh, UsdGeom.Mesh.Define(stage, at)
    points = to_y_up(source.vertices)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(0), points.max(0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(source.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(source.faces.astype(np.int32).reshape(-1)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(to_y_up(source.normals)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if source.uv is not None:
        kind, each = Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
        st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", kind, each)
        st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(source.uv, np.float32)))
    return mesh


def _define_material(stage: Any, at: str, asset: Asset, folder: Path) -> Any:
    mesh, types = asset.mesh, Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, at)
    surface = UsdShade.Shader.Define(stage, f"{at}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    color = surface.CreateInput("diffuseColor", types.Color3f)
    roughness = surface.CreateInput("roughness", types.Float)
    metallic = surface.CreateInput("metallic", types.Float)
    color.Set(Gf.Vec3f(*CLAY_LINEAR))
    roughness.Set(asset.roughness)
    metallic.Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    if mesh.uv is None or all(pixels is None for pixels in (mesh.texture, mesh.normal_map, mesh.orm)):
        return material
    reader = UsdShade.Shader.Define(stage, f"{at}/st")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", types.String).Set("st")
    st = reader.CreateOutput("result", types.Float2)

    def texture(role: str, kind: str, pixels: np.ndarray, space: str) -> Any:
        file = picture(pixels, role, asset.textures)
        name = f"{Tf.MakeValidIdentifier(asset.name)}_{kind}.{file.ending}"
        (folder / name).write_bytes(file.data)
        shader = UsdShade.Shader.Define(stage, f"{at}/{kind}")
        shader.CreateIdAttr("UsdUVTexture")
        shader.CreateInput("file", types.Asset).Set(Sdf.AssetPath(f"./{name}"))
        shader.CreateInput("st", types.Float2).ConnectToSource(st)
        shader.CreateInput("sourceColorSpace", types.Token).Set(space)
        for wrap in ("wrapS", "wrapT"):
            shader.CreateInput(wrap, types.Token).Set("clamp")
        return shader

    if mesh.texture is not None:
        base = texture("texture", "basecolor", mesh.texture, "sRGB")
        color.ConnectToSource(base.CreateOutput("rgb", types.Float3))
    if mesh.orm is not None:
        packed = texture("orm", "orm", mesh.orm, "raw")
        occlusion = surface.CreateInput("occlusion", types.Float)
        for entry, channel in ((occlusion, "r"), (roughness, "g"), (metallic, "b")):
            entry.ConnectToSource(packed.CreateOutput(channel, types.Float))
    if mesh.normal_map is not None:
        normal = texture("normal_map", "normal", mesh.normal_map, "raw")
        # From the stored [0, 1] to directions in [-1, 1].
        normal.CreateInput("scale", types.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
        normal.CreateInput("bias", types.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        surface.CreateInput("normal", types.Normal3f).ConnectToSource(
            normal.CreateOutput("rgb", types.Float3)
        )
    return material
