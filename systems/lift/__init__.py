"""Image-to-3D networks: a picture becomes a radiance field."""
