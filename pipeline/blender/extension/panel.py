# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel in the 3D view's sidebar."""

from __future__ import annotations

from typing import Any

import bpy

from .operators import is_making
from .preferences import preferences


class SLIPCAST_UL_runs(bpy.types.UIList):
    """A run a line: what was asked for, and the seed."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, name: Any
    ) -> None:
        """Draw one run; a circle marks those that have nothing to import yet."""
        row = layout.row()
        row.label(text=item.prompt or item.name, icon="MESH_DATA" if item.file else "RADIOBUT_OFF")
        row.label(text=item.seed)


class SLIPCAST_PT_panel(bpy.types.Panel):
    """N, tab slipcast."""

    bl_label = "slipcast"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "slipcast"

    def draw(self, context: bpy.types.Context) -> None:
        """The list with its import button; below it what makes a new asset, and what was sent."""
        state, layout = context.window_manager.slipcast, self.layout
        row = layout.row()
        row.template_list("SLIPCAST_UL_runs", "", state, "runs", state, "index", rows=4)
        row.operator("slipcast.refresh", text="", icon="FILE_REFRESH")
        layout.operator("slipcast.import_run", icon="IMPORT")
        layout.separator()
        entry = layout.column()
        entry.enabled = not is_making()
        entry.prop(state, "prompt", text="")
        entry.prop(state, "seed")
        if is_making():
            row = layout.row()
            row.progress(factor=state.fraction, text=f"{100 * state.fraction:.0f} %")
            row.operator("slipcast.cancel", text="", icon="CANCEL")
        else:
            layout.operator("slipcast.make", icon="PLAY")
        if state.status:
            layout.label(text=state.status)
        layout.separator()
        layout.prop(preferences(context), "watch")
        if preferences(context).watch and state.watched:
            layout.label(text=state.watched)


CLASSES = (SLIPCAST_UL_runs, SLIPCAST_PT_panel)
