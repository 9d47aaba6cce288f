"""Networks in ONNX files that take one picture and say one number a pixel: the reader of matting and of depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...configs.errors import BadInput, in_one_line

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, of its pictures in [0, 1]."""


def open_network(path: Path, what: str, setting: str) -> tuple[Any, tuple[int | None, int | None]]:
    """(onnxruntime's session, height and width of its input, None where the file leaves it open).

    Args:
        what: what it is to be, such as "matting network".
        setting: how the user names it, such as "image.matting".
    Raises:
        BadInput: onnxruntime is not installed, or the file is no network that takes one picture.
    """
    if not path.is_file():
        raise BadInput(f"there is no {what} {path}; {setting} expects an ONNX file")
    session = _session(path, setting)
    taken = session.get_inputs()
    shape = list(taken[0].shape) if taken else []
    channels = shape[1] if len(shape) == 4 else 0
    fits = channels == 3 or not isinstance(channels, int)  # a name, where any number will do
    if len(taken) != 1 or taken[0].type != "tensor(float)" or not fits:
        told = ", ".join(f"{one.name} {one.shape} {one.type}" for one in taken) or "nothing"
        raise BadInput(f"{path} is no {what}: it takes {told}, not one picture [1, 3, H, W] of floats")
    height, width = (side if isinstance(side, int) else None for side in shape[2:])
    return session, (height, width)


def asked(session: Any, fed: np.ndarray, path: Path, what: str, output: int = 0) -> np.ndarray:
    """One of a network's outputs for a picture [H, W, 3] as it takes it.

    Raises:
        BadInput: it cannot be run.
    """
    batch = np.ascontiguousarray(fed.transpose(2, 0, 1)[None], np.float32)
    try:
        return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[output])
    except Exception as error:  # onnxruntime has exceptions of its own, which it does not publish
        raise BadInput(f"the {what} {path} cannot be run ({in_one_line(error)})") from error


def scaled(levels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] or [H, W, 3] scaled bilinearly to (height, width), without aliasing."""
    height, width = shape
    if levels.shape[:2] == (height, width):
        return levels.astype(np.float32)
    planes = levels[..., None] if levels.ndim == 2 else levels
    made = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for plane in planes.transpose(2, 0, 1)
    ]
    return made[0] if levels.ndim == 2 else np.stack(made, -1)


def _session(path: Path, setting: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BadInput(
            f'{setting} needs onnxruntime; install it with `pip install "slipcast[matting]"`'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters comes as an exception
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which it does not publish
        raise BadInput(f"{path} cannot be read as an ONNX network ({in_one_line(error)})") from error
