"""Which model this is: hashes of what is loaded, read once per process, and the link from a domain to its network.

``model_identity`` is about files: it changes when any file that loading reads changes, so that nothing stale is kept.
``network_identity`` is about numbers: it is the same for fp16 and full copies of one network, for shards and single
files, for safetensors and pickles, so that what was trained beside a network finds it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ...configs.atomic import fingerprint, sha256_of_file
from ...configs.errors import BadInput
from .latent_spaces import add_rounded
from .weight_files import files_read

VERSION = "2"  # before, unmarked: sha256 over names and bytes of all safetensors of a folder
_NETWORKS = ("unet", "transformer")
_WEIGHTS = frozenset({".safetensors", ".bin"})
_State = tuple[str, int, int]


def model_identity(model: Path) -> str:
    """``2:`` and a sha256 over names and bytes of every file that loading a model reads.

    Raises: BadInput when a file cannot be read.
    """
    return f"{VERSION}:{fingerprint({str(path.relative_to(model)): sha256_once(path) for path in files_read(model)})}"


def network_identity(model: Path, prediction_type: str) -> str:
    """``2:``, what a base's network predicts, and a sha256 over its tensors by name, rounded to half precision.

    Text encoders and autoencoder do not count: a domain reads no text, and latent spaces are compared by themselves.

    Raises: BadInput when its files cannot be read.
    """
    if model.is_file():
        return f"{VERSION}:{prediction_type}:{_network_in_file(_state(model))}"
    part = next((model / name for name in _NETWORKS if (model / name).is_dir()), model)
    files = [path for path in files_read(part) if path.suffix in _WEIGHTS]
    return f"{VERSION}:{prediction_type}:{_rounded_sha256(tuple(map(_state, files)))}"


def is_network(told: str, model: Path, prediction_type: str) -> bool:
    """Whether a base is the one that a ``network_identity``, or an identity of before these, was told of."""
    if ":" not in told:
        return told == _first_identity(model)
    return told == network_identity(model, prediction_type)


def same_part(one: Path, other: Path) -> bool:
    """Whether two folders hold the same part: equal files, whatever their configs say of who wrote them."""
    return _content(one) == _content(other)


def sha256_once(path: Path) -> str:
    """sha256 of a file, streamed; a file that has not changed is not read again in this process."""
    return _sha256(_state(path))


def _state(path: Path) -> _State:
    with _reading(path):
        found = path.stat()
        return str(path.resolve()), found.st_size, found.st_mtime_ns


@cache
def _sha256(state: _State) -> str:
    with _reading(Path(state[0])):
        return sha256_of_file(Path(state[0]))


def _content(part: Path) -> dict[str, Any]:
    from ...configs.atomic import read_json_object

    found: dict[str, Any] = {}
    for path in files_read(part):
        if path.name == "config.json":
            config = read_json_object(path, "the config", allow_nan=True)
            noted = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")
            found[path.name] = {key: value for key, value in config.items() if key not in noted}
        else:
            found[path.name] = sha256_once(path)
    return found


@cache
def _rounded_sha256(files: tuple[_State, ...]) -> str:
    digest = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        tensors: dict[str, Any] = {}
        for path, _, _ in files:
            with _reading(Path(path)):
                tensors |= _opened(Path(path), stack)
        for name in sorted(tensors):
            add_rounded(digest, name, tensors[name]())
    return digest.hexdigest()


@cache
def _network_in_file(file: _State) -> str:
    """As of a folder: by the names, and in the shapes, that its weights have there."""
    from safetensors import safe_open

    from .single_file.weights import network_weights

    digest, path = hashlib.sha256(), Path(file[0])
    weights = network_weights(path)
    with _reading(path), safe_open(path, framework="pt") as opened:
        for name in sorted(weights):
            add_rounded(digest, name, weights[name].of(opened.get_tensor(weights[name].key)))
    return digest.hexdigest()


def _opened(path: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """{name: function that reads that tensor} of a weights file, one tensor in memory at a time where it can be."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        file: Any = stack.enter_context(safe_open(path, framework="pt"))
        return {name: lambda name=name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    return {name: lambda value=value: value for name, value in state.items()}


@cache
def _first_identity_of(files: tuple[tuple[str, _State], ...]) -> str:
    digest = hashlib.sha256()
    for name, (path, _, _) in files:
        digest.update(name.encode())
        with _reading(Path(path)), open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _first_identity(model: Path) -> str:
    """What stood in domain.json before there were versions."""
    paths = sorted(model.rglob("*.safetensors"))
    return _first_identity_of(tuple((str(path.relative_to(model)), _state(path)) for path in paths))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error}); make it readable") from error
