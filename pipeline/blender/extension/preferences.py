# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user sets once: where the command is, where the runs are, and what is watched."""

import shutil
from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

# No `from __future__ import annotations` here: Blender reads the annotations as they are.


class SlipcastPreferences(bpy.types.AddonPreferences):
    """Shown under Preferences, Add-ons, slipcast."""

    bl_idname = __package__

    executable: StringProperty(
        name="slipcast command",
        description="Path of the slipcast command; empty takes the one on PATH",
        subtype="FILE_PATH",
    )
    runs_folder: StringProperty(
        name="Runs", description="Folder that holds the runs", subtype="DIR_PATH", default="~/slipcast/runs"
    )
    library_folder: StringProperty(
        name="Library",
        description="Folder made by 'slipcast blender library', if there is one",
        subtype="DIR_PATH",
    )
    watch: BoolProperty(
        name="Import what is sent",
        description="Import each file that is put into the watched folder, once, at the 3D cursor",
        default=False,
    )
    watched_folder: StringProperty(
        name="Watched",
        description="Folder that 'slipcast blender send' and the studio put assets into",
        subtype="DIR_PATH",
        default="~/slipcast/to-blender",
    )
    preset: StringProperty(name="Preset", description="Preset or YAML file for new assets", default="starter")

    def draw(self, context: bpy.types.Context) -> None:
        """The settings, one below the other."""
        for name in ("executable", "runs_folder", "library_folder", "preset", "watch", "watched_folder"):
            self.layout.prop(self, name)


def preferences(context: bpy.types.Context) -> SlipcastPreferences:
    """The settings of this extension."""
    return context.preferences.addons[__package__].preferences


def folder(path: str) -> Path | None:
    """A folder setting as a path, ``//`` and ``~`` resolved; None if it is empty."""
    return Path(bpy.path.abspath(path)).expanduser() if path.strip() else None


def command(context: bpy.types.Context) -> str | None:
    """The slipcast command to start; None if there is none."""
    named = preferences(context).executable.strip()
    return shutil.which(str(Path(bpy.path.abspath(named)).expanduser()) if named else "slipcast")
