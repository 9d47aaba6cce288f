"""Triangle meshes: extraction, cleaning, decimation, checks, rays and pixels."""
