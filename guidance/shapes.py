"""Shapes of tensors, by the names that signatures give them; tests check them at each call (tests/fakes/shapes.py).

One axis name stands for one length in a call: what is added to ``Latents`` has their batch and their size.
"""

from __future__ import annotations

from jaxtyping import Float, Num
from torch import Tensor

Latents = Float[Tensor, "batch channel height width"]
"""Clean or noisy latents, noise, eps, v, x0 and flow alike, of any floating dtype."""
Answered = Float[Tensor, "batch answered height width"]
"""eps, of a network that learned its variance with that behind it: as many channels again."""
Samples = Float[Tensor, "batch *rest"]
"""Whatever is noised sample by sample."""
Timesteps = Num[Tensor, " batch"]
"""One timestep in [0, T) for each sample: integers, or fractions where a sampler uses them."""
Pictures = Float[Tensor, "picture 3 tall wide"]
"""Pictures in [0, 1], in pixels."""
Text = Float[Tensor, "batch token feature"]
"""Text features of each sample."""
Cameras = Float[Tensor, "batch number"]
"""What describes the view of each sample."""
Scalar = Float[Tensor, ""]
"""A loss."""
