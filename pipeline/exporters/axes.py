"""Between the object's frame (+Z up, front -Y) and that of the formats with +Y up and front +Z: glTF, OBJ, USD.

(x, y, z) becomes (x, z, -y), a quarter turn about x; it happens in the writers and readers of these formats alone.
Blender's importers undo it by their default settings (glTF: always; OBJ: "forward -Z, up Y"; USD: by ``upAxis``).
"""

from __future__ import annotations

import numpy as np

_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)


def to_y_up(vectors: np.ndarray) -> np.ndarray:
    """Points or directions [N, 3], from the object's frame; exact, since numbers only change place and sign."""
    return np.ascontiguousarray(vectors @ _TO_Y_UP.T, np.float32) + np.float32(0)  # + 0 turns -0 into 0


def from_y_up(vectors: np.ndarray) -> np.ndarray:
    """The way back of ``to_y_up``."""
    return np.ascontiguousarray(vectors @ _TO_Y_UP, np.float32) + np.float32(0)
