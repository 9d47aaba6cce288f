"""``from slipcast import make, image, Batch, Domain``: what the commands do, for programs and notebooks.

Each call does what the command of its name does, with the same settings, files and errors (``BadInput`` and
``SlipcastError``). What it returns has paths, and shows itself in a notebook.
"""
