"""What a run left: the mesh and how sound it is, the exported files, and the commands to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..run.commands import command
from . import words
from .document import section
from .markup import Child, Markup, element, link
from .pictures import map_picture
from .reading import RunTold

MAPS = (
    ("texture.png", "Base colour"),
    ("normal_map.png", "Normals"),
    ("orm.png", "Occlusion, roughness, metal"),
)
"""(file of the mesh stage, what it is)."""
_FILES = {
    "glb": "for browsers, engines and Blender",
    "gltf": "with its buffer and maps beside it",
    "obj": "with its MTL file and maps",
    "ply": "with colours",
    "stl": "for printing",
    "usdz": "for Apple's viewers and USD",
    "fbx": "for game engines and other 3D programs",
    "blend": "for Blender",
    "png": "picture",
    "gif": "turntable",
}


def mesh(told: RunTold) -> Markup | None:
    """Facts of the mesh stage as tiles, each saying whether it is as it should be; the maps beside them."""
    stage = told.stage("mesh")
    if stage is None or not stage.facts:
        return None
    maps = []
    for name, title in MAPS:
        found = map_picture(told.file("mesh", name))
        if found:
            image = element(
                "img", src=found.source, alt=f"Map: {title}", width=found.width, height=found.height
            )
            maps.append(element("figure", image, element("figcaption", title)))
    return section(
        "Mesh",
        element("dl", mesh_tiles(stage.facts), class_="tiles"),
        element("div", maps, class_="strip maps") if maps else None,
        identity="mesh",
    )


def mesh_tiles(facts: Mapping[str, Any]) -> list[Markup]:
    """What the mesh stage noted, each as a ``dt`` and a ``dd`` that says whether it is as it should be."""
    atlas, seams = (facts[name] if isinstance(facts.get(name), dict) else {} for name in ("atlas", "seams"))
    tiles = [
        _tile("Faces", facts.get("faces"), _wanted(facts)),
        _tile(
            "Closed",
            facts.get("watertight"),
            "every edge has two faces",
            good=facts.get("watertight") is True,
        ),
        _tile("Faces outwards", facts.get("outward"), "", good=facts.get("outward") is True),
        _tile("Pieces", facts.get("components"), ""),
        _tile("Handles", _handles(facts), "holes that go through"),
        _tile(
            "Atlas used",
            _percent(atlas.get("used")),
            f"{words.value(atlas['charts'])} charts" if "charts" in atlas else "",
        ),
        _tile(
            "Overlap", _percent(atlas.get("overlap")), "of the atlas", good=atlas.get("overlap") in (0, 0.0)
        ),
        _tile("Seams", seams.get("median"), "of 255, median difference"),
        _tile("Like the field", _decibel(facts.get("bake_psnr_db")), "mesh against field, PSNR"),
    ]
    return [tile for tile in tiles if tile is not None]


def files(told: RunTold) -> Markup:
    """Exported files, as links to where they lie beside the page."""
    if not told.files:
        empty = element("p", "Nothing has been exported yet.", class_="empty")
        return section("Files", empty, identity="files")
    rows = []
    for path, count in told.files:
        name = path.relative_to(told.path).as_posix()
        kind = _FILES.get(path.suffix.lstrip("."), "")
        rows.append(
            element(
                "tr",
                element("th", element("a", name, href=link(name)), scope="row"),
                element("td", kind, class_="soft"),
                element("td", words.size(count), class_="right"),
            )
        )
    heads = [element("th", "File", scope="col"), element("th", "For", scope="col")]
    heads.append(element("th", "Size", scope="col", class_="right"))
    table = element("table", element("thead", element("tr", heads)), element("tbody", rows), class_="files")
    note = ["in ", element("code", str(told.path.resolve()))]
    return section("Files", element("div", table, class_="scroll"), identity="files", note=note)


def commands(told: RunTold) -> Markup:
    """What to type next, as a shell takes it; a button copies each."""
    run = told.path.resolve()
    lines: list[tuple[str, str]] = []
    if told.state != "finished":
        lines.append(("Go on with this run", command("make", "--resume", run)))
    else:
        lines.append(
            (
                "Change a setting; stages before it are kept",
                command("make", "--resume", run, "refine.steps=600"),
            )
        )
    if (stage := told.stage("mesh")) and stage.status == "finished":
        lines.append(("Other formats", command("export", run, "--format", "obj,usdz,stl")))
        lines.append(("Levels of detail", command("export", run, "--lods")))
    lines.append(
        ("Another try", command("make", told.prompt, "--seed", str(told.seed + 1), "--out", run.parent))
    )
    rows = [
        element(
            "li",
            element("span", what, class_="soft"),
            element(
                "div",
                element("code", line, tabindex="0"),
                element(
                    "button", "Copy", type="button", class_="copy", hidden=True, aria_label=f"Copy: {what}"
                ),
                class_="command",
            ),
        )
        for what, line in lines
    ]
    return section("Go on", element("ul", rows, class_="commands"), identity="commands")


def _tile(name: str, told: Any, about: str, *, good: bool | None = None) -> Markup | None:
    if told is None:
        return None
    mark: Child = (
        None
        if good is None
        else element("span", "✓" if good else "!", class_="good" if good else "bad", aria_hidden="true")
    )
    return element(
        "div",
        element("dt", name),
        element("dd", mark, words.value(told), element("small", about) if about else None),
    )


def _wanted(facts: Mapping[str, Any]) -> str:
    target = facts.get("target_faces")
    return f"{target:,} wanted" if isinstance(target, int) else ""


def _handles(facts: Mapping[str, Any]) -> int | None:
    """Genus of a closed mesh: Euler's number is 2 (pieces - handles)."""
    euler, pieces = facts.get("euler_number"), facts.get("components")
    if not (isinstance(euler, int) and isinstance(pieces, int) and facts.get("watertight") is True):
        return None
    return (2 * pieces - euler) // 2


def _percent(share: Any) -> str | None:
    return f"{share:.0%}" if isinstance(share, int | float) else None


def _decibel(told: Any) -> str | None:
    return f"{told:.1f} dB" if isinstance(told, int | float) else None
