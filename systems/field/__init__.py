"""Radiance fields: cameras, grids, rays, volume rendering, and where the surface lies."""
