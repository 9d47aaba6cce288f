# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel's buttons do.

A running command is looked at by a timer of the application, twice a second, and never waited for. A modal operator
would do as well, but Blender saves no automatic copies while one runs, and making an asset takes minutes.
"""

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, FloatProperty, IntProperty, StringProperty

from .importing import import_at_cursor
from .preferences import command, folder, preferences
from .runs import list_runs
from .task import Task
from .watch import redraw

# No `from __future__ import annotations` here: Blender reads the annotations as they are.

_EVERY_S = 0.5
_task: Task | None = None


class SlipcastRun(bpy.types.PropertyGroup):
    """A line of the list; ``file`` is empty if there is nothing to import yet."""

    prompt: StringProperty()
    seed: StringProperty()  # Blender's integers have 32 bits, seeds have 63
    file: StringProperty()


class SlipcastState(bpy.types.PropertyGroup):
    """What the panel shows; kept by the window manager, so it is not saved with a scene."""

    runs: CollectionProperty(type=SlipcastRun)
    index: IntProperty()
    prompt: StringProperty(name="Prompt", description="What to make, in words")
    seed: IntProperty(name="Seed", description="Another seed makes another object", min=0)
    fraction: FloatProperty()
    status: StringProperty()
    watched: StringProperty()


class SLIPCAST_OT_refresh(bpy.types.Operator):
    """Read the runs in the folder again"""

    bl_idname = "slipcast.refresh"
    bl_label = "Refresh"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Fill the list."""
        runs = folder(preferences(context).runs_folder)
        if runs is None or not runs.is_dir():
            self.report({"WARNING"}, "The folder of runs is not there; set it in the preferences")
        fill(context)
        return {"FINISHED"}


class SLIPCAST_OT_import(bpy.types.Operator):
    """Bring the chosen asset into the scene at the 3D cursor"""

    bl_idname = "slipcast.import_run"
    bl_label = "Import at Cursor"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender reads a plain set

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A run with a file is chosen."""
        state = context.window_manager.slipcast
        return 0 <= state.index < len(state.runs) and bool(state.runs[state.index].file)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import it."""
        state = context.window_manager.slipcast
        try:
            made = import_at_cursor(context, Path(state.runs[state.index].file))
        except (RuntimeError, OSError) as error:
            self.report({"ERROR"}, f"Cannot import: {error}")
            return {"CANCELLED"}
        self.report({"INFO"}, f"Imported {made[0].name}")
        return {"FINISHED"}


class SLIPCAST_OT_make(bpy.types.Operator):
    """Make a new asset from the prompt, in the background"""

    bl_idname = "slipcast.make"
    bl_label = "Make"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a prompt, and nothing is being made."""
        return _task is None and bool(context.window_manager.slipcast.prompt.strip())

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the command."""
        global _task
        state, settings = context.window_manager.slipcast, preferences(context)
        program, runs = command(context), folder(settings.runs_folder)
        if program is None:
            self.report({"ERROR"}, "The slipcast command was not found; set its path in the preferences")
            return {"CANCELLED"}
        if runs is None:
            self.report({"ERROR"}, "Set the folder of runs in the preferences")
            return {"CANCELLED"}
        options = ["--out", str(runs), "--seed", str(state.seed), "--config", settings.preset, "--json"]
        try:
            runs.mkdir(parents=True, exist_ok=True)
            # After "--" a prompt that begins with a dash is a prompt still.
            _task = Task([program, "make", *options, "--", state.prompt.strip()], runs)
        except OSError as error:
            self.report({"ERROR"}, f"{program} cannot be started: {error.strerror or error}")
            return {"CANCELLED"}
        state.fraction, state.status = 0.0, "starting"
        bpy.app.timers.register(tick, first_interval=_EVERY_S)
        return {"FINISHED"}


class SLIPCAST_OT_cancel(bpy.types.Operator):
    """Stop making; the same prompt and seed go on from there later"""

    bl_idname = "slipcast.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Something is being made and was not cancelled yet."""
        return _task is not None and not _task.cancelled

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the command to stop; the timer sees it end."""
        if _task is not None:
            _task.cancel()
            context.window_manager.slipcast.status = "stopping"
        return {"FINISHED"}


def tick() -> float | None:
    """Look at the running command: seconds until the next look, None once it has ended."""
    global _task
    if _task is None:
        return None
    state = bpy.context.window_manager.slipcast
    running = _task.poll()
    state.fraction, state.status = _task.fraction, "stopping" if _task.cancelled else _task.line
    if not running:
        result = _task.result
        state.status = _task.failure or "done"
        state.fraction = 0.0 if result is None else 1.0
        _task = None
        fill(bpy.context, chosen="" if result is None else Path(str(result.get("run", ""))).name)
    redraw()
    return _EVERY_S if running else None


def fill(context: bpy.types.Context, chosen: str = "") -> None:
    """Read the runs into the list, and choose one by its name."""
    settings, state = preferences(context), context.window_manager.slipcast
    if not chosen and 0 <= state.index < len(state.runs):
        chosen = state.runs[state.index].name
    runs = folder(settings.runs_folder)
    state.runs.clear()
    state.index = 0
    for run in list_runs(runs, folder(settings.library_folder)) if runs is not None else []:
        line = state.runs.add()
        line.name, line.prompt, line.seed = run.name, run.prompt, str(run.seed)
        line.file = "" if run.file is None else str(run.file)
        if run.name == chosen:
            state.index = len(state.runs) - 1


def is_making() -> bool:
    """Whether a command runs."""
    return _task is not None


def stop() -> None:
    """End a running command at once, when the extension is switched off."""
    global _task
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    if _task is not None:
        _task.end()
        _task = None


CLASSES = (
    SlipcastRun,
    SlipcastState,
    SLIPCAST_OT_refresh,
    SLIPCAST_OT_import,
    SLIPCAST_OT_make,
    SLIPCAST_OT_cancel,
)
