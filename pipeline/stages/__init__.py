"""The six stages, one file each, and their table."""
