"""What ``slipcast eval`` measures: folders of pictures, or of assets, against a folder of the domain's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..configs.errors import BadInput, SlipcastError
from ..configs.paths import PICTURE_ENDINGS, given_path
from ..systems.evaluation.alignment import load_clip, recognised
from ..systems.evaluation.appearance import (
    canny_discrepancy,
    colours,
    repeats_its_front,
    view_consistency,
)
from ..systems.evaluation.distances import NEIGHBOURS, coverage, interval, kernel_distance
from ..systems.evaluation.extractors import extractor_named, features_of
from ..systems.evaluation.frechet import DIRECTIONS, Reference, frechet_of_features
from ..systems.evaluation.imagenet import load_network
from ..systems.images.files import read_subject
from ..systems.mesh.report import report
from ..systems.models.precision import resolve_device
from .assets.placing import into_view
from .exporters.glb import read_glb
from .exporters.preview import render_views, ring_cameras
from .run.manifest import MANIFEST, read_manifest
from .run.progress import Progress

VIEWS, VIEW_SIZE, VIEW_ELEVATION_DEG = 8, 256, 15.0
GROUND = (235 / 255, 235 / 255, 235 / 255)
_FEWEST = 2


def evaluate_images(
    made: Path,
    against: Path,
    *,
    extractors: Sequence[str],
    prompt: str | None = None,
    clip: str | None = None,
    edges_of: Path | None = None,
    draws: int = 100,
    device: str = "auto",
    console: Progress,
) -> dict[str, Any]:
    """Figures of the pictures in a folder against those of a domain, JSON-able.

    Args:
        prompt: what all of them show; a text file beside a picture (``x.txt`` for ``x.png``) goes first.
        clip: folder or hub id of a CLIP network, for the alignment with the words.
        edges_of: folder with pictures of the same names whose edges they were to follow.
        draws: of the bootstrap; 0 leaves the intervals out.
        device: of the extractors and CLIP; auto, cpu, cuda, cuda:N or mps.
    Raises:
        BadInput: a device that is not here, a folder without at least two pictures, an unknown extractor, or weights
            that are not here.
    """
    device = resolve_device(device)
    files, pictures, skipped = read_pictures(made)
    _, real, real_skipped = read_pictures(against)
    found: dict[str, Any] = {
        "made": {"folder": str(made), "pictures": len(pictures), "skipped": skipped},
        "against": {"folder": str(against), "pictures": len(real), "skipped": real_skipped},
        "distances": {name: distances(name, real, pictures, draws, device, console) for name in extractors},
        "colours": _mean([colours(_array(one)) for one in pictures]),
        "colours_against": _mean([colours(_array(one)) for one in real]),
    }
    if texts := _texts(files, prompt):
        found["alignment"] = _alignment(pictures, texts, clip, device)
    if edges_of is not None:
        found["canny_discrepancy"] = _edges(files, pictures, edges_of)
    return found


def evaluate_assets(
    made: Path,
    against: Path,
    *,
    extractors: Sequence[str],
    prompt: str | None = None,
    clip: str | None = None,
    draws: int = 100,
    device: str = "auto",
    console: Progress,
) -> dict[str, Any]:
    """Figures of the GLB files in a folder, or of the runs in it: each seen from eight sides, and its mesh looked over.

    Neighbouring views of one asset are not so many pictures: distances are larger than those of as many objects.
    """
    device = resolve_device(device)
    files, meshes, skipped = read_assets(made)
    advance = console.task("looking at assets", len(meshes))
    cameras = ring_cameras(VIEWS, float(np.radians(VIEW_ELEVATION_DEG)))
    views: list[Image.Image] = []
    for mesh in meshes:
        seen = render_views(into_view(mesh), cameras, VIEW_SIZE, GROUND)
        views += [_image(rgb) for rgb, _ in seen]
        advance()
    _, real, real_skipped = read_pictures(against)
    first = extractor_named(extractors[0])
    features = features_of(views, first, first.load(device)).reshape(len(meshes), VIEWS, -1)
    reports = [report(mesh) for mesh in meshes]
    found: dict[str, Any] = {
        "made": {"folder": str(made), "assets": len(meshes), "pictures": len(views), "skipped": skipped},
        "against": {"folder": str(against), "pictures": len(real), "skipped": real_skipped},
        "distances": {name: distances(name, real, views, draws, device, console) for name in extractors},
        "colours": _mean([colours(_array(one)) for one in views]),
        "colours_against": _mean([colours(_array(one)) for one in real]),
        "views": {
            "consistency": float(np.mean([view_consistency(one) for one in features])),
            "repeats_its_front": float(np.mean([repeats_its_front(one) for one in features])),
        },
        "meshes": {
            "watertight": float(np.mean([one.watertight for one in reports])),
            "most_faces": max(one.faces for one in reports),
            "most_pieces": max(one.components for one in reports),
        },
    }
    if texts := _texts(files, prompt):
        found["alignment"] = _alignment(views, [text for text in texts for _ in range(VIEWS)], clip, device)
    return found


def distances(
    name: str, real: list[Image.Image], made: list[Image.Image], draws: int, device: str, console: Progress
) -> dict[str, Any]:
    """Everything that one extractor's features say of two sets of pictures."""
    extractor = extractor_named(name)
    network = extractor.load(device)
    advance = console.task(f"{name} looks at pictures", len(real) + len(made))
    true, drawn = (features_of(one, extractor, network, advance=advance) for one in (real, made))
    width = true.shape[1]
    told: dict[str, Any] = {
        "extractor": extractor.sentence,
        "published": extractor.published,
        "frechet": frechet_of_features(true, drawn),
        "kid": kernel_distance(true, drawn),
    }
    if min(len(true), len(drawn)) <= width:
        told["note"] = f"the Frechet distance over {width} features wants more than {width} pictures of each"
    if len(true) > 2 * DIRECTIONS and len(drawn) > DIRECTIONS:
        reference = Reference.of(true)
        told[f"fd{DIRECTIONS}"] = reference.distance(drawn)
        if draws:
            rows = interval(lambda chosen: reference.distance(drawn[chosen]), len(drawn), draws=draws)
            told[f"fd{DIRECTIONS}_95"] = rows
    if draws:
        told["kid_95"] = interval(
            lambda chosen: kernel_distance(true, drawn[chosen]), len(drawn), draws=draws
        )
    if min(len(true), len(drawn)) > NEIGHBOURS:
        told |= asdict(coverage(true, drawn))
    return told


def read_pictures(folder: Path) -> tuple[list[Path], list[Image.Image], dict[str, str]]:
    """(files, pictures over grey, {file: why not}) of a folder and those in it, by name.

    Raises: BadInput for no folder, or fewer than two readable pictures.
    """
    folder = given_path(folder, "the folder of pictures")
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder of pictures; give one with PNG or JPEG files")
    files: list[Path] = []
    pictures: list[Image.Image] = []
    skipped: dict[str, str] = {}
    for path in sorted(one for one in folder.rglob("*") if one.suffix.lower() in PICTURE_ENDINGS):
        try:
            pictures.append(_read(path))
            files.append(path)
        except BadInput as error:
            skipped[str(path)] = str(error)
    if len(pictures) < _FEWEST:
        raise BadInput(
            f"{folder} holds {len(pictures)} readable pictures, and {_FEWEST} are the least to be compared"
        )
    return files, pictures, skipped


def read_assets(folder: Path) -> tuple[list[Path], list[Any], dict[str, str]]:
    """(files, meshes, {file: why not}) of the GLB files in a folder and those in it; levels of detail are left out.

    Raises: BadInput for no folder, or no readable GLB.
    """
    folder = given_path(folder, "the folder of assets")
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder of assets; give one with GLB files or runs")
    files: list[Path] = []
    meshes: list[Any] = []
    skipped: dict[str, str] = {}
    for path in sorted(folder.rglob("*.glb")):
        if "_lod" in path.stem and path.with_name(f"{path.stem.rsplit('_lod', 1)[0]}.glb").exists():
            continue
        try:
            mesh, _ = read_glb(path)
        except SlipcastError as error:
            skipped[str(path)] = str(error)
            continue
        files.append(path)
        meshes.append(mesh)
    if not meshes:
        raise BadInput(f"{folder} holds no readable GLB; `slipcast make` writes them")
    return files, meshes, skipped


def _read(path: Path) -> Image.Image:
    """A picture over grey. BadInput when it cannot be read."""
    return _image(read_subject(path).over(GROUND))


def _image(rgb: np.ndarray) -> Image.Image:
    """Of [H, W, 3] in [0, 1]."""
    return Image.fromarray((rgb * 255 + 0.5).clip(0, 255).astype(np.uint8))


def _array(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32) / 255


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _texts(files: list[Path], prompt: str | None) -> list[str]:
    """What each file shows: as the file beside it, the caller or its run says; nothing if any has no words."""
    texts = []
    for path in files:
        beside, manifest = path.with_suffix(".txt"), path.parent.parent / MANIFEST
        if beside.is_file():
            texts.append(beside.read_text(encoding="utf-8", errors="replace").strip())
        elif prompt:
            texts.append(prompt)
        elif manifest.is_file():
            texts.append(read_manifest(manifest.parent).prompt)
        else:
            return []
    return texts


def _alignment(
    pictures: list[Image.Image], texts: list[str], clip: str | None, device: str
) -> dict[str, Any]:
    told: dict[str, Any] = {"recognised_lite0": recognised(load_network("lite0"), pictures, texts)}
    if clip is not None:
        told["clip"], told["clip_network"] = float(load_clip(clip, device)(pictures, texts).mean()), clip
    return told


def _edges(files: list[Path], pictures: list[Image.Image], folder: Path) -> float:
    by_name = {path.stem: path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS}
    pairs = [
        (picture, by_name[path.stem])
        for path, picture in zip(files, pictures, strict=True)
        if path.stem in by_name
    ]
    if not pairs:
        raise BadInput(f"no picture in {folder} has the name of one of those that are judged")
    return float(
        np.mean(
            [canny_discrepancy(_array(made), _array(_read(path).resize(made.size))) for made, path in pairs]
        )
    )
