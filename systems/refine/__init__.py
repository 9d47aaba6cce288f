"""Refinement of a field by score distillation."""
