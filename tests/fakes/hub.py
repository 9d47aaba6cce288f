"""A Hugging Face hub without a network: the real client talks to it through a transport that answers from memory."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# The hub's client library changed its name between versions; this is the one that it uses now.
http: Any = importlib.import_module(HfHubHTTPError.__mro__[1].__module__.partition(".")[0])


@dataclass
class FakeHub:
    """A hub to be told what to serve and how to fail.

    Attributes:
        repos: {id: {file: content}}.
        refusals: {id: (status, the hub's error code)}.
        failure: what every request raises, in place of an answer.
        breaks_at: bytes after which the connection is lost, in every file that is longer.
        served: the files that were downloaded, in order.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    failure: Exception | None = None
    breaks_at: int | None = None
    served: list[str] = field(default_factory=list)

    def client(self) -> Any:
        """A client for ``huggingface_hub.set_client_factory``."""
        return http.Client(transport=http.MockTransport(self._answer), follow_redirects=False)

    def _answer(self, request: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        parts = request.url.path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if is_api else [*parts, "", ""]
        hub_id = f"{owner}/{name}"
        if hub_id in self.refusals:
            status, code = self.refusals[hub_id]
            return http.Response(status, headers={"X-Error-Code": code})
        if hub_id not in self.repos:
            return http.Response(404, headers={"X-Error-Code": "RepoNotFound"})
        files = self.repos[hub_id]
        if is_api and rest[:1] == ["tree"]:
            return http.Response(200, json=[_entry(path, data) for path, data in files.items()])
        if is_api:
            siblings = [{"rfilename": path, "size": len(data)} for path, data in files.items()]
            return http.Response(200, json={"id": hub_id, "sha": COMMIT, "siblings": siblings})
        return self._file("/".join(rest[2:]).strip("/"), files, request)

    def _file(self, path: str, files: dict[str, bytes], request: Any) -> Any:
        data = files[path]
        headers = {
            "ETag": f'"{_entry(path, data)["oid"]}"',
            "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(data)),
        }
        if request.method == "HEAD":
            return http.Response(200, headers=headers)
        self.served.append(path)
        return http.Response(200, headers=headers, content=self._stream(data))

    def _stream(self, data: bytes) -> Any:
        yield data[: self.breaks_at]
        if self.breaks_at is not None and len(data) > self.breaks_at:
            raise http.ReadError("connection lost")


def _entry(path: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def put_in_cache(cache: Path, hub_id: str, files: dict[str, bytes]) -> Path:
    """Write files where the hub's client would have put a download; returns the snapshot's folder."""
    root = cache / f"models--{hub_id.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(COMMIT)
    for path, data in files.items():
        target = root / "snapshots" / COMMIT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root / "snapshots" / COMMIT


def pipeline_files(*weights: str, parts: tuple[str, ...] = ("unet", "vae")) -> dict[str, bytes]:
    """A pipeline's repository: index, scheduler, a config per part, and the weights given as ``part/file``."""
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    index |= {part: ["diffusers", "Anything"] for part in parts} | {"feature_extractor": [None, None]}
    files = {
        "model_index.json": json.dumps(index).encode(),
        "scheduler/scheduler_config.json": b"{}",
        "README.md": b"# card",
    }
    files |= {f"{part}/config.json": json.dumps({"of": part}).encode() for part in parts}
    return files | {name: f"weights of {name}".encode() * 50 for name in weights}
