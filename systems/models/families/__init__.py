"""Families of bases, one file each; ``table.FAMILIES`` is all of them."""
