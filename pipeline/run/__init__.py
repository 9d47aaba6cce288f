"""A run's folder, its stages' keys, clock and lock, and what is written down about it."""
