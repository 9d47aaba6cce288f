"""A guidance server in a thread of the test, scores that cost nothing, and frames good and bad."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from slipcast.configs import stopping
from slipcast.configs.ports import listening
from slipcast.pipeline.serving.asked import Asked
from slipcast.pipeline.serving.server import Server
from slipcast.pipeline.serving.wire import PROTOCOL, receive, send


@dataclass
class Doubled:
    """The gradient is twice what was sent; a prompt ``fail ...`` raises what it is told to."""

    failures: dict[str, BaseException] = field(default_factory=dict)
    channels: int = 4

    def told(self) -> dict[str, Any]:
        return {
            "recipe": "doubled",
            "latent_shape": [4, 8, 8],
            "timesteps": 1000,
            "models": {"base": {"id": "none"}},
        }

    def score(self, asked: Asked) -> tuple[dict[str, Any], Tensor]:
        if asked.prompts and asked.prompts[0] in self.failures:
            raise self.failures[asked.prompts[0]]
        sent = asked.latents if asked.pictures is None else asked.pictures
        assert sent is not None
        return {"loss": 1.0, "t": [0], "norms": {"gradient": 2.0, "text - null": 3.0}}, 2 * sent


@dataclass
class Running:
    """A server that answers: where, with which token, and what it has told."""

    port: int
    token: str
    events: list[Mapping[str, Any]]

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, connection: socket.socket, tensors: dict[str, Tensor] | None = None, **header: Any) -> Any:
        """(answer, its tensors) of a request."""
        send(connection, {"token": self.token, **header}, tensors)
        return receive(connection, idle_s=60)


@contextlib.contextmanager
def serving(scores: Any, token: str = "secret", **options: Any) -> Iterator[Running]:
    """Until the block ends; then the server is asked to stop as by Ctrl-C, and has to."""
    events: list[Mapping[str, Any]] = []
    with listening(0) as listener:
        server = Server(scores, token, events.append, **options)
        thread = threading.Thread(target=server.run, args=(listener,))
        thread.start()
        try:
            yield Running(listener.getsockname()[1], token, events)
        finally:
            try:
                stopping.ask_to_stop(2)
                thread.join(30)
                assert not thread.is_alive()
            finally:
                stopping.forget()


def frame(header: Any, body: bytes = b"", *, magic: bytes = b"SCG1", length: int | None = None) -> bytes:
    """A frame as bytes, which need not be a good one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">4sIQ", magic, len(text), len(body) if length is None else length) + text + body


def hello(token: str = "secret", **more: Any) -> dict[str, Any]:
    """The header of the simplest request."""
    return {"ask": "hello", "token": token, "protocol": PROTOCOL, "tensors": [], **more}


def pictures(count: int, side: int = 16, seed: int = 0) -> Tensor:
    """[count, 3, side, side] in [0, 1]."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
