# SPDX-License-Identifier: GPL-3.0-or-later
"""slipcast in Blender's sidebar: lists runs, imports their assets, makes new ones through the command line."""

from __future__ import annotations

import bpy

from . import operators, panel, preferences

_CLASSES = (preferences.SlipcastPreferences, *operators.CLASSES, *panel.CLASSES)


def register() -> None:
    """Called by Blender when the extension is switched on."""
    for item in _CLASSES:
        bpy.utils.register_class(item)
    bpy.types.WindowManager.slipcast = bpy.props.PointerProperty(type=operators.SlipcastState)


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    operators.stop()
    del bpy.types.WindowManager.slipcast
    for item in reversed(_CLASSES):
        bpy.utils.unregister_class(item)
