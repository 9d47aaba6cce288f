"""The five stages, one file each, and their table."""
