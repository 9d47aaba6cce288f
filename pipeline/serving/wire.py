"""Frames between the guidance server and its clients: JSON and plain numbers, nothing that could be run.

    4 bytes   SCG1
    4 bytes   length of the header, big-endian
    8 bytes   length of the tensors, big-endian
    header    a JSON object; its "tensors" lists {"name", "dtype", "shape"}
    tensors   one after the other, each filled up to a multiple of 8 bytes; numbers as in this machine's memory

`slipcast threestudio install` writes this module into the file that it installs, so that both ends have one text of it:
it needs torch and Python 3.8 alone.
"""

import ctypes
import json
import struct
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

PROTOCOL = 1
LONGEST_HEADER = 1 << 20
LONGEST_TENSORS = 1 << 28
DEFAULT_PORT = 7790

_MAGIC = b"SCG1"
_PREFIX = struct.Struct(">4sIQ")
_DTYPES = {"float32": torch.float32, "int64": torch.int64}
_MOST_TENSORS, _MOST_AXES = 8, 6
_AT_ONCE = 1 << 20


class WireError(Exception):
    """A frame that cannot be read; what follows on the same connection cannot be either."""


class Gone(WireError):
    """The other end closed the connection."""


def token_path(port: int) -> Path:
    """Where the token of the server on a port lies, unless it is told otherwise."""
    return Path.home() / ".cache" / "slipcast" / f"guidance-{port}.token"


def send(connection: Any, header: Dict[str, Any], tensors: Optional[Dict[str, torch.Tensor]] = None) -> None:
    """Send one frame.

    Args:
        connection: a connected socket.
        header: JSON-able; gets "protocol" and "tensors".
        tensors: float32 or int64, on any device.
    """
    listed, pieces = [], []
    for name, tensor in (tensors or {}).items():
        plain = tensor.detach().cpu().contiguous()
        data = ctypes.string_at(plain.data_ptr(), plain.numel() * plain.element_size())
        dtype = str(plain.dtype).replace("torch.", "")
        listed.append({"name": name, "dtype": dtype, "shape": list(plain.shape)})
        pieces += [data, bytes(-len(data) % 8)]
    told = dict(header, protocol=PROTOCOL, tensors=listed)
    text = json.dumps(told, allow_nan=False).encode("utf-8")
    body = b"".join(pieces)
    connection.sendall(_PREFIX.pack(_MAGIC, len(text), len(body)) + text)
    connection.sendall(body)


def receive(
    connection: Any,
    check: Callable[[Dict[str, Any]], None] = lambda header: None,
    largest: int = LONGEST_TENSORS,
    idle_s: Optional[float] = None,
    within_s: float = 60.0,
) -> Tuple[Dict[str, Any], Dict[str, torch.Tensor]]:
    """One frame: its header, and its tensors by name.

    Args:
        check: looks at the header before the tensors are read, and raises where they are not to be.
        largest: most bytes of tensors.
        idle_s: seconds to wait for the frame to begin; None for ever.
        within_s: seconds that it may take from then on.
    Raises:
        Gone: the connection was closed.
        WireError: what came is no such frame, too large, or too slow.
    """
    first = _some(connection, 1, None if idle_s is None else time.monotonic() + idle_s)
    if not first:
        raise Gone("the connection was closed")
    until = time.monotonic() + within_s
    magic, header_length, length = _PREFIX.unpack(first + _exactly(connection, _PREFIX.size - 1, until))
    if magic != _MAGIC:
        raise WireError(f"expected a frame that begins with SCG1, not {bytes(magic)!r}")
    if header_length > LONGEST_HEADER or length > largest:
        raise WireError(
            f"a frame of {header_length} + {length} bytes is too large; a header has {LONGEST_HEADER} at most, "
            f"tensors have {largest}"
        )
    header = _header(bytes(_exactly(connection, header_length, until)))
    check(header)
    layout = _layout(header.get("tensors", []))
    if sum(size + -size % 8 for _, _, _, size in layout) != length:
        raise WireError(f"the header's tensors do not make up the frame's {length} bytes")
    tensors = {}
    for name, dtype, shape, size in layout:
        data = _exactly(connection, size + -size % 8, until)
        flat = (
            torch.frombuffer(data, dtype=dtype, count=size // dtype_size(dtype)) if size else torch.empty(0)
        )
        tensors[name] = flat.to(dtype).reshape(shape)
    return header, tensors


def dtype_size(dtype: torch.dtype) -> int:
    """Bytes of one number."""
    return 8 if dtype == torch.int64 else 4


def _header(text: bytes) -> Dict[str, Any]:
    def no_number(word: str) -> float:
        raise ValueError(f"{word} is no number")

    try:
        header = json.loads(text.decode("utf-8"), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header is no JSON ({str(error)[:80]})") from error
    if not isinstance(header, dict):
        raise WireError(f"the header should be a JSON object, not a {type(header).__name__}")
    if header.get("protocol") != PROTOCOL:
        raise WireError(
            f"expected protocol {PROTOCOL}, not {str(header.get('protocol'))[:40]!r}; install the plug-in anew with "
            "the slipcast that serves"
        )
    return header


def _layout(listed: Any) -> List[Tuple[str, torch.dtype, List[int], int]]:
    if not isinstance(listed, list) or len(listed) > _MOST_TENSORS:
        raise WireError(f"expected a list of {_MOST_TENSORS} tensors at most")
    layout = []
    for one in listed:
        shape = one.get("shape") if isinstance(one, dict) else None
        if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all(map(_is_side, shape)):
            raise WireError(f"a tensor has a name, a dtype and a shape of {_MOST_AXES} sides at most")
        name, dtype = one.get("name"), _DTYPES.get(str(one.get("dtype")))
        if not isinstance(name, str) or dtype is None or name in [known for known, _, _, _ in layout]:
            raise WireError("a tensor has a name of its own and the dtype float32 or int64")
        size = dtype_size(dtype)
        for side in shape:
            size *= side
        layout.append((name, dtype, shape, size))
    return layout


def _is_side(given: Any) -> bool:
    return type(given) is int and 0 <= given <= 1 << 24


def _exactly(connection: Any, count: int, until: float) -> bytearray:
    data = bytearray()
    while len(data) < count:
        piece = _some(connection, min(count - len(data), _AT_ONCE), until)
        if not piece:
            raise Gone("the connection was closed in the middle of a frame")
        data += piece
    return data


def _some(connection: Any, most: int, until: Optional[float]) -> bytes:
    left = None if until is None else until - time.monotonic()
    if left is not None and left <= 0:
        raise WireError("a frame came too slowly")
    connection.settimeout(left)
    try:
        return connection.recv(most)
    except OSError as error:  # a timeout is one too
        if "timed out" in str(error):
            raise WireError("a frame came too slowly") from error
        raise Gone(f"the connection broke ({error})") from error
    finally:
        connection.settimeout(None)
