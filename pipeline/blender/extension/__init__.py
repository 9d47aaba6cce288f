# SPDX-License-Identifier: GPL-3.0-or-later
"""slipcast in Blender's sidebar: lists and imports runs, takes what is sent, makes new ones by the command."""

from __future__ import annotations

import bpy

from . import operators, panel, preferences, watch

_CLASSES = (preferences.SlipcastPreferences, *operators.CLASSES, *panel.CLASSES)


def register() -> None:
    """Called by Blender when the extension is switched on."""
    for item in _CLASSES:
        bpy.utils.register_class(item)
    bpy.types.WindowManager.slipcast = bpy.props.PointerProperty(type=operators.SlipcastState)
    watch.start()


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    watch.stop()
    operators.stop()
    del bpy.types.WindowManager.slipcast
    for item in reversed(_CLASSES):
        bpy.utils.unregister_class(item)
