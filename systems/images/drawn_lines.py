"""Lines found in a picture without a network, white on black, as ControlNets for drawings and soft edges know them.

Pictures are [H, W, 3], sRGB in [0, 1]; lines are [H, W] float32 in [0, 1]. Lengths are pixels of the map.
"""

from __future__ import annotations

import math

import numpy as np

_STEP = 0.5  # a step of this height, half of black to white, is a white edge


def lineart(picture: np.ndarray) -> np.ndarray:
    """How much darker than its surroundings (a Gaussian of 6 pixels) every channel of a pixel is.

    Half white is the median of what is darker by more than 8 of 255: lines are grey to white however faint the drawing.
    As ``lineart_standard`` of sd-webui-controlnet, which ControlNet 1.1's lineart is used with.
    """
    darker = np.min(_blurred(picture, 6.0) - picture, axis=2).clip(0, 1)
    drawn = darker[darker > 8 / 255]
    usual = max(16 / 255, float(np.median(drawn))) if drawn.size else 16 / 255
    return (darker / usual * (127 / 255)).clip(0, 1)


def scribble(picture: np.ndarray) -> np.ndarray:
    """1 where a difference of Gaussians (5 and 0.5 pixels) is darker by more than 16 of 255, 0 elsewhere.

    As ``scribble_xdog`` of sd-webui-controlnet.
    """
    darker = np.min(_blurred(picture, 5.0) - _blurred(picture, 0.5), axis=2)
    return (darker > 16 / 255).astype(np.float32)


def soft_edges(picture: np.ndarray, width: float = 2.0) -> np.ndarray:
    """The slope of the picture under a Gaussian of ``width`` pixels, of the channel where it is steepest.

    A step of height h has the slope h / (width sqrt(2 pi)) on its edge, and is drawn h / 0.5 bright there. A stand-in
    for networks (HED, PIDI), which know objects from texture; this one does not.
    """
    smooth = _blurred(picture, width)
    rows, columns = np.gradient(smooth, axis=(0, 1))
    slope = np.hypot(rows, columns).max(axis=2)
    return (slope * width * math.sqrt(2 * math.pi) / _STEP).clip(0, 1).astype(np.float32)


def _blurred(picture: np.ndarray, width: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), width)
