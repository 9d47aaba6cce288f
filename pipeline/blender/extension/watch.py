# SPDX-License-Identifier: GPL-3.0-or-later
"""The watched folder inside Blender: a timer that imports what is put there, at the 3D cursor, one file at a look."""

from __future__ import annotations

from pathlib import Path

import bpy

from .importing import import_at_cursor
from .preferences import folder, preferences
from .sent import forget_gone, take_next

_EVERY_S = 1.0


def start() -> None:
    """Begin to look, if the preferences say so; kept when another file is opened."""
    forget_gone(_memory())
    bpy.app.timers.register(look, first_interval=_EVERY_S, persistent=True)


def stop() -> None:
    """Look no more, when the extension is switched off."""
    if bpy.app.timers.is_registered(look):
        bpy.app.timers.unregister(look)


def look() -> float:
    """Import at most one file: seconds until the next look."""
    context = bpy.context
    settings = preferences(context)
    place = folder(settings.watched_folder) if settings.watch else None
    # Imports change the selection and the mode, so they wait while somebody edits or sculpts, or an image is rendered.
    if place is not None and context.mode == "OBJECT" and not bpy.app.is_job_running("RENDER"):
        told = _import_next(context, place)
        if told is not None and told != context.window_manager.slipcast.watched:
            context.window_manager.slipcast.watched = told
            redraw()
    return _EVERY_S


def _import_next(context: bpy.types.Context, place: Path) -> str | None:
    """What the panel shows then; None if it stays as it is."""
    if not place.is_dir():
        return "waits: the watched folder is not there yet"
    try:
        file = take_next(place, _memory())
    except OSError as error:
        return f"The watched folder cannot be read: {error.strerror or error}"
    if file is None:
        return None
    try:
        made = import_at_cursor(context, file)
    except Exception as error:  # importers raise anything, and a timer that raises is never called again
        said = " ".join(str(error).split())[:160]
        return f"{file.name} cannot be imported ({said}); it is tried again when it changes"
    if bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=f"Import {file.name}")
    return f"imported {made[0].name} from {file.name}"


def _memory() -> Path:
    return Path(bpy.utils.extension_path_user(__package__, path="taken", create=True))


def redraw() -> None:
    """Show the panel anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
