"""What is painted on a mesh: atlas, baking, and whether it shows."""
