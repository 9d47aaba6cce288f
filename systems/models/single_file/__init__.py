"""Checkpoints in one .safetensors file, in the key layout of the original repositories (ldm, sgm)."""
