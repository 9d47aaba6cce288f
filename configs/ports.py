"""A socket of this machine alone, for what serves other programs or a browser here."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from .errors import BadInput

HOST = "127.0.0.1"


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket at ``HOST`` that takes clients from now on, so that whoever is quick waits instead of being refused.

    Args:
        port: 0 takes any that is free.
    Raises:
        BadInput: the port is taken, or may not be used; the sentence names one that is free.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            with socket.socket() as other:
                other.bind((HOST, 0))
                free = other.getsockname()[1]
            reason = "is in use by another program" if taken else "may not be used here"
            raise BadInput(f"the port {port} {reason}; --port {free} is free") from error
        yield listener
