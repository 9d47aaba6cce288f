"""Runs inside Blender: installs the extension from its zip, presses its buttons, and tells what happened.

Job: ``zip``, ``runs`` (a folder of runs), ``command`` (stands for slipcast), ``blend_run`` and ``glb_run`` (names),
``sent`` (a folder into which files were sent, the oldest of them broken).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]

MODULE = "bl_ext.user_default.slipcast"


def main(job: dict[str, Any]) -> dict[str, Any]:
    """All of it, in the order in which a person would do it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=job["zip"], repo="user_default", enable_on_install=True)
    settings = bpy.context.preferences.addons[MODULE].preferences
    settings.runs_folder, settings.executable = job["runs"], job["command"]
    state = bpy.context.window_manager.slipcast
    bpy.ops.slipcast.refresh()
    told: dict[str, Any] = {"listed": {run.name: [run.prompt, run.seed, run.file] for run in state.runs}}
    for kind in ("blend_run", "glb_run"):
        told[kind] = import_run(state, job[kind])
    told["watched"] = watch(settings, state, Path(job["sent"]))
    told["made"] = make(state, "a quick vase")
    told["failed"] = make(state, "a broken vase")
    told["cancelled"] = make(state, "a slow vase", cancel_at=0.3)
    state.prompt, told["stopped_at_unregister"] = "a slow vase", False
    bpy.ops.slipcast.make()
    process = sys.modules[MODULE + ".operators"]._task._process
    look = sys.modules[MODULE + ".watch"].look
    bpy.ops.preferences.addon_disable(module=MODULE)
    told["stopped_at_unregister"] = process.poll() is not None
    told["still_looks"] = bpy.app.timers.is_registered(look)
    told["left_behind"] = [name for name in ("make", "refresh") if hasattr(bpy.types, f"SLIPCAST_OT_{name}")]
    told["state_left"] = hasattr(bpy.context.window_manager, "slipcast")
    return told


def import_run(state: Any, name: str) -> dict[str, Any]:
    """Choose a run, set the cursor, import; where the object came to stand and how large it is."""
    state.index = [run.name for run in state.runs].index(name)
    cursor = bpy.context.scene.cursor.location = (1.0, 2.0, 3.0)
    before = set(bpy.data.objects)
    outcome = bpy.ops.slipcast.import_run()
    (made,) = (item for item in bpy.data.objects if item not in before)
    bpy.context.view_layer.update()
    corners = [made.matrix_world @ vertex.co for vertex in made.data.vertices]
    return {
        "outcome": list(outcome),
        "faces": len(made.data.polygons),
        "low": [min(corner[i] for corner in corners) - cursor[i] for i in range(3)],
        "high": [max(corner[i] for corner in corners) - cursor[i] for i in range(3)],
        "selected": made.select_get() and bpy.context.view_layer.objects.active == made,
        "in_scene": made.name in bpy.context.scene.objects,
        "is_asset": made.asset_data is not None,
        "textures": sorted(image.name for image in bpy.data.images if image.packed_file is not None),
        "material": made.data.materials[0].name,
    }


def watch(settings: Any, state: Any, sent: Path) -> dict[str, Any]:
    """What the timer imports, look by look: off, while editing, no folder, each file, and the broken one mended."""
    look = sys.modules[MODULE + ".watch"].look
    told: dict[str, Any] = {"timer": bpy.app.timers.is_registered(look), "looks": []}

    def looked() -> None:
        before = set(bpy.data.objects)
        look()
        names = sorted(item.name for item in bpy.data.objects if item not in before)
        told["looks"].append([len(names), state.watched])

    settings.watched_folder = str(sent)
    looked()
    settings.watch = True
    bpy.ops.object.mode_set(mode="EDIT")
    looked()
    bpy.ops.object.mode_set(mode="OBJECT")
    settings.watched_folder = str(sent / "nowhere")
    looked()
    settings.watched_folder = str(sent)
    for _ in range(4):
        looked()
    broken, whole = sent / "broken.glb", next(path for path in sent.glob("*.glb") if path.stem != "broken")
    broken.write_bytes(whole.read_bytes())
    for _ in range(2):
        looked()
    settings.watch = False
    return told


def make(state: Any, prompt: str, cancel_at: float | None = None) -> dict[str, Any]:
    """Press Make and do what Blender's event loop would: call the timer until it is done."""
    operators = sys.modules[MODULE + ".operators"]
    state.prompt, state.seed = prompt, 7
    start = time.monotonic()
    bpy.ops.slipcast.make()
    process = operators._task._process
    told: dict[str, Any] = {"blocked_s": time.monotonic() - start, "fractions": [], "lines": []}
    told["timer"] = bpy.app.timers.is_registered(operators.tick)
    while time.monotonic() - start < 60 and operators.tick() is not None:
        told["fractions"].append(state.fraction)
        told["lines"].append(state.status)
        if cancel_at is not None and state.fraction >= cancel_at and bpy.ops.slipcast.cancel.poll():
            bpy.ops.slipcast.cancel()
        time.sleep(0.05)
    told |= {"status": state.status, "fraction": state.fraction, "seconds": time.monotonic() - start}
    told["exit_code"] = process.poll()
    told["chosen"] = state.runs[state.index].name
    return told


if __name__ == "__main__":
    _request, _reply = (Path(argument) for argument in sys.argv[-2:])
    _reply.write_text(json.dumps(main(json.loads(_request.read_text()))), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # bpy may crash when Python takes it down
