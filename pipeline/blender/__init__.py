"""Blender, in a process of its own: .blend files, asset libraries and the add-on. slipcast itself never imports bpy."""
