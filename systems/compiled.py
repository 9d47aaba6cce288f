"""Loops compiled by numba and kept on disk, whatever becomes of the disk.

numba's own ``cache=True`` refuses to define a function where no folder can be written, and passes damaged cache files
to ``pickle`` and on to the linker. Here the cache only ever saves time: without a place for it the functions are
compiled in each process, and a file that is damaged, or of another numba, counts as absent and is written anew.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)`` with a cache on disk where there can be one."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(**options)(function)
        cache = _cache_of(function)
        if cache is not None:
            dispatcher._cache = cache  # as enable_caching() does with numba's own
        return dispatcher

    return decorate


def cache_folder() -> Path | None:
    """Where compiled loops are kept from one process to the next; None if no folder can be written."""
    cache = _cache_of(cache_folder)
    return None if cache is None else Path(cache.cache_path)


def _cache_of(function: Callable[..., Any]) -> _KernelCache | None:
    try:
        return _KernelCache(function)
    except RuntimeError:  # "cannot cache function: no locator available", raised for nothing else
        return None


class _CheckedFiles(IndexDataCacheFile):
    """numba's index (.nbi) and data (.nbc) files, each behind the SHA-256 of what it holds and of numba's version."""

    def _load_index(self) -> dict[Any, str]:
        content = self._read(self._index_path)
        if content is None:
            return {}
        stamp, overloads = pickle.loads(content)
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_path, self._dump((self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        content = self._read(self._data_path(name))
        return None if content is None else pickle.loads(content)

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), self._dump(data))

    def _read(self, path: str) -> bytes | None:
        try:
            content = Path(path).read_bytes()
        except OSError:
            return None
        digest, content = content[:32], content[32:]
        return content if digest == self._digest(content) else None

    def _write(self, path: str, content: bytes) -> None:
        with self._open_for_write(path) as file:
            file.write(self._digest(content) + content)

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(self._version.encode() + b"\0" + content).digest()


def _stamps_of_called(function: Callable[..., Any]) -> list[tuple[str, float, int]]:
    """Files whose compiled functions it calls, with times and sizes: they become part of it, and numba looks at one."""
    files, asked = set[str](), [function]
    while asked:
        one = asked.pop()
        for name in one.__code__.co_names:
            called = getattr(one.__globals__.get(name), "py_func", None)
            if called is not None and called is not one:
                asked.append(called)
                files.add(called.__code__.co_filename)
    files.discard(function.__code__.co_filename)
    found = ((path, Path(path).stat()) for path in sorted(files))
    return [(path, told.st_mtime, told.st_size) for path, told in found]


class _KernelCache(FunctionCache):
    """numba's cache of one function over ``_CheckedFiles``; it is given up when it cannot be written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=(self._impl.locator.get_source_stamp(), *_stamps_of_called(function)),
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # a full disk, a folder that is read-only by now
            self.disable()
