"""An S3 server on this machine (moto's), as a process of its own that can be killed like any other."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Server:
    """Where it answers, and what other processes need to know to reach it."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            # Tries of botocore: an address that does not answer is told in a second, not in a minute.
            "AWS_MAX_ATTEMPTS": "1",
        }

    def client(self) -> object:
        """s3fs, told where to look."""
        from s3fs import S3FileSystem

        return S3FileSystem(
            key="test",
            secret="test",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            use_listings_cache=False,
            skip_instance_cache=True,
        )


@contextlib.contextmanager
def s3_server() -> Iterator[Server]:
    """A server that forgets everything when the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    )
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            if time.monotonic() > end or process.poll() is not None:
                raise RuntimeError("moto's server did not start")
            time.sleep(0.1)
        yield Server(process, port)
    finally:
        process.kill()
        process.wait()
