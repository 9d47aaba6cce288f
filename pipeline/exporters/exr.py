"""OpenEXR pictures, scan lines of half floats with ZIP compression (openexr.com/en/latest/OpenEXRFileLayout.html).

For numbers that are no colours: programs that go by the file type take 8-bit pictures for sRGB, and floats as they are.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

_MAGIC, _VERSION, _HALF, _ZIP, _LINES_PER_BLOCK = 20000630, 2, 1, 3, 16


def exr(pixels: np.ndarray) -> bytes:
    """An EXR file of uint8 [H, W] (channel Y) or [H, W, 3] (R, G, B), scaled to [0, 1]."""
    height, width = pixels.shape[:2]
    planes = {"Y": pixels} if pixels.ndim == 2 else {name: pixels[..., k] for k, name in enumerate("RGB")}
    names = sorted(planes)  # the order of the channels in a line
    lines = np.stack([planes[name] for name in names], 1).astype(np.float32) / 255
    lines = lines.astype("<f2").reshape(height, -1)
    blocks = [_block(y, lines[y : y + _LINES_PER_BLOCK]) for y in range(0, height, _LINES_PER_BLOCK)]
    header = _header(names, width, height)
    starts = len(header) + 8 * len(blocks) + np.cumsum([0, *(len(block) for block in blocks[:-1])])
    return b"".join([header, starts.astype("<u8").tobytes(), *blocks])


def _header(names: list[str], width: int, height: int) -> bytes:
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", _HALF, 0, 1, 1) for name in names)
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    attributes = [
        ("channels", "chlist", channels + b"\0"),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    told = [
        f"{name}\0{kind}\0".encode() + struct.pack("<i", len(data)) + data for name, kind, data in attributes
    ]
    return struct.pack("<2i", _MAGIC, _VERSION) + b"".join(told) + b"\0"


def _block(y: int, lines: np.ndarray) -> bytes:
    raw = np.frombuffer(lines.tobytes(), np.uint8)
    # Low bytes first, then high bytes, then differences: what makes floats compress.
    split = np.concatenate([raw[::2], raw[1::2]]).astype(np.int16)
    change = np.diff(split) + 128
    packed = zlib.compress(np.concatenate([split[:1], change]).astype(np.uint8).tobytes())  # modulo 256
    data = packed if len(packed) < len(raw) else raw.tobytes()
    return struct.pack("<2i", y, len(data)) + data
