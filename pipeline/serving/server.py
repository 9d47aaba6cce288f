"""The guidance server: a socket of this machine alone, a thread for each client, one request at a time at the networks.

Whatever a client does, it is told one sentence, or nobody is, and the server goes on.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError, in_one_line
from ...configs.stopping import asked_to_stop, when_stopped
from .asked import Asked, asked_of
from .token import is_token
from .wire import LONGEST_TENSORS, Gone, WireError, receive, send

MOST_CLIENTS = 16
FIRST_WORD_S = 10.0
"""A client shows its token within so many seconds, or makes room for another."""
_READ_S, _LINGER_S = 60.0, 2.0

Tell = Callable[[Mapping[str, Any]], None]


class Scores(Protocol):
    """What is served; ``scoring.Scorer`` is one."""

    @property
    def channels(self) -> int: ...

    def told(self) -> dict[str, Any]: ...

    def score(self, asked: Asked) -> tuple[dict[str, Any], Tensor]: ...


class Server:
    """Answers clients until this process is asked to stop.

    Args:
        tell: told {"event": "joined", "left", "refused" or "scored", "client": its number, ...}, from any thread.
        largest: most bytes of a request's tensors.
    """

    def __init__(self, scores: Scores, token: str, tell: Tell, *, largest: int = LONGEST_TENSORS) -> None:
        self._scores, self._token, self._tell, self._largest = scores, token, tell, largest
        self._at_work, self._clients = threading.Lock(), dict[int, tuple[socket.socket, threading.Thread]]()
        self.answered = 0

    def run(self, listener: socket.socket) -> None:
        """Take clients until a signal asks to stop; requests that are being answered then are finished."""
        if asked_to_stop():
            return
        woken, waker = socket.socketpair()

        def wake() -> None:
            with contextlib.suppress(OSError):  # it may be leaving already, where another thread asks
                waker.send(b"!")

        with woken, waker, when_stopped(wake):
            number = 0
            while asked_to_stop() is None:
                ready, _, _ = select.select([listener, woken], [], [])
                if listener in ready and asked_to_stop() is None:
                    with contextlib.suppress(OSError):  # it may have gone again
                        number += 1
                        self._take(listener.accept()[0], number)
        for connection, _ in list(self._clients.values()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # who waits for a request hears that there will be none
        for _, thread in list(self._clients.values()):
            thread.join()

    def _take(self, connection: socket.socket, number: int) -> None:
        thread = threading.Thread(target=self._serve, args=(connection, number), daemon=True)
        self._clients[number] = (connection, thread)
        thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._converse(connection, number)
        except OSError as error:  # it went while it was answered
            self._tell(_refused(number, f"the client went in the middle ({error.strerror or error})"))
        finally:
            del self._clients[number]
            self._tell({"event": "left", "client": number})

    def _converse(self, connection: socket.socket, number: int) -> None:
        """One request after the other, until the client goes or sends what is no request."""
        if len(self._clients) > MOST_CLIENTS:
            self._turn_away(connection, number, f"there are {MOST_CLIENTS} clients already; try again later")
            return
        known = False
        while True:
            idle_s, within_s = (None, 60.0) if known else (FIRST_WORD_S, FIRST_WORD_S)
            try:
                header, tensors = receive(connection, self._check, self._largest, idle_s, within_s)
            except Gone as gone:
                if "middle" in str(gone):
                    self._tell(_refused(number, str(gone)))
                return
            except WireError as error:
                self._turn_away(connection, number, str(error))
                return
            if not known:
                known = True
                self._tell({"event": "joined", "client": number})
            answer = self._answer(header, tensors, number)
            connection.settimeout(_READ_S)  # one that does not read holds up nobody for ever
            send(connection, *answer)

    def _check(self, header: Mapping[str, Any]) -> None:
        """Before a stranger's tensors are read."""
        if not is_token(self._token, header.get("token")):
            raise WireError("this is not the server's token; read it anew from its file")

    def _answer(
        self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], number: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The frame that answers a request; whatever fails is told in it."""
        try:
            if header.get("ask") == "hello":
                return {"ok": True, "largest": self._largest, **self._scores.told()}, {}
            if header.get("ask") != "score":
                raise BadInput(f"a request asks hello or score, not {str(header.get('ask'))[:40]!r}")
            asked, began = asked_of(header, tensors, self._scores.channels), time.monotonic()
            with self._at_work:
                told, gradient = self._scores.score(asked)
                self.answered += 1
            seconds = round(time.monotonic() - began, 4)
            self._tell({"event": "scored", "client": number, "views": asked.batch, "seconds": seconds})
            return {"ok": True, **told}, {"gradient": gradient}
        except SlipcastError as error:
            sentence = str(error)
        except (torch.OutOfMemoryError, MemoryError):
            sentence = (
                "out of memory; send fewer views at a time, or serve with --low-memory or a smaller --size"
            )
        except Exception as error:
            sentence = f"failed unexpectedly ({type(error).__name__}: {in_one_line(error)})"
        self._tell(_refused(number, sentence))
        return {"ok": False, "error": sentence}, {}

    def _turn_away(self, connection: socket.socket, number: int, sentence: str) -> None:
        """Tell a client why it is not served any further, and let it read that before the connection ends."""
        self._tell(_refused(number, sentence))
        send(connection, {"ok": False, "error": sentence})
        connection.shutdown(socket.SHUT_WR)
        # Closing with unread bytes would reset the connection, and the sentence would be lost.
        until = time.monotonic() + _LINGER_S
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(1 << 20):
                return


def _refused(number: int, sentence: str) -> dict[str, Any]:
    return {"event": "refused", "client": number, "error": sentence}
