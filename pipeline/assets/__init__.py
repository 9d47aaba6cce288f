"""What is exported: a mesh that stands on the ground, with its name, size, surface and origins."""
