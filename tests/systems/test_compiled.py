"""Compiled loops: the cache saves time and can do nothing else, whatever state the disk is in."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest

from slipcast.systems import compiled as compiled_module

_SOURCE = """
from slipcast.systems.compiled import compiled

@compiled(inline="always")
def half(value):
    return 0.5 * value

@compiled()
def halved(value):
    return half(value)

@compiled(nogil=True, fastmath=True)
def doubled(value):
    return value * 2.0
"""
_TRUTH = {"halved": 1.5, "doubled": 6.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "loops.py"
    path.write_text(_SOURCE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole_cache(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "CACHE_DIR", str(folder))
        assert _results(_load(source)) == _TRUTH
    return folder


@pytest.fixture
def cache(whole_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A filled cache, ours to damage."""
    folder = tmp_path / "cache"
    shutil.copytree(whole_cache, folder)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return folder


def _load(source: Path) -> ModuleType:
    """The module of compiled functions, loaded anew at each call as a new process would."""
    spec = importlib.util.spec_from_file_location("loops", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["loops"] = module
    spec.loader.exec_module(module)
    return module


def _results(module: ModuleType) -> dict[str, float]:
    return {name: getattr(module, name)(3.0) for name in _TRUTH}


def _hits(module: ModuleType) -> dict[str, int]:
    return {name: sum(getattr(module, name).stats.cache_hits.values()) for name in _TRUTH}


def _files(cache: Path) -> list[Path]:
    return sorted([*cache.rglob("*.nbi"), *cache.rglob("*.nbc")])


def test_a_second_process_compiles_nothing(cache: Path, source: Path) -> None:
    again = _load(source)
    assert _results(again) == _TRUTH
    assert _hits(again) == dict.fromkeys(_TRUTH, 1)


def test_a_function_is_compiled_anew_when_another_file_that_it_calls_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it calls becomes part of it; numba looks at one file alone."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    head = "from slipcast.systems.compiled import compiled\n"
    caller = (
        "from called import inner\n@compiled(nogil=True)\ndef outer(value):\n    return inner(value) + 1\n"
    )
    (tmp_path / "outer.py").write_text(head + caller, encoding="utf-8")
    for factor in (2, 30):
        inner = f"@compiled(nogil=True)\ndef inner(value):\n    return value * {factor}\n"
        (tmp_path / "called.py").write_text(head + inner, encoding="utf-8")
        for name in ("called", "outer"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        assert importlib.import_module("outer").outer(3) == 3 * factor + 1


def _foreign_pickle(content: bytes) -> bytes:
    return pickle.dumps(("0.0", None))


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"\x80" * len(content),
        lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
        lambda content: b"<html>" + content,
        _foreign_pickle,
    ],
    ids=["empty", "halved", "one byte short", "garbage", "a flipped bit", "a longer head", "another's"],
)
def test_a_damaged_cache_is_compiled_anew_and_mended(
    cache: Path, source: Path, damage: Callable[[bytes], bytes], ending: str
) -> None:
    damaged = [path for path in _files(cache) if path.suffix == f".{ending}"]
    assert len(damaged) >= len(_TRUTH)
    for path in damaged:
        path.write_bytes(damage(path.read_bytes()))
    assert _results(_load(source)) == _TRUTH
    mended = _load(source)
    assert _results(mended) == _TRUTH
    assert _hits(mended) == dict.fromkeys(_TRUTH, 1)


def test_files_that_cannot_be_read_or_replaced_are_done_without(cache: Path, source: Path) -> None:
    for path in _files(cache):
        path.unlink()
        path.mkdir()
        (path / "inside").touch()
    module = _load(source)
    assert _results(module) == _TRUTH
    assert not list(cache.rglob("*.tmp.*"))


def test_a_cache_that_fills_the_disk_is_given_up(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(cache)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled_module._CheckedFiles, "_write", full)
    assert _results(_load(source)) == _TRUTH


def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder can be written: root may write everywhere, so numba's own test of it fails instead."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("numba.core.caching.tempfile.TemporaryFile", refuse)


def test_without_a_place_for_the_cache_functions_are_compiled_all_the_same(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nowhere(monkeypatch)
    assert _results(_load(source)) == _TRUTH
    assert compiled_module.cache_folder() is None


def test_the_products_loops_run_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Imports every module with such a loop in a process whose HOME, package and NUMBA_CACHE_DIR are no folders."""
    file = tmp_path / "file"
    file.touch()
    modules = [name for name in _modules_with_loops() if name.startswith("slipcast.systems.")]
    code = (
        "import tempfile\n"
        "def refuse(*_, **__): raise PermissionError(13, 'Permission denied')\n"
        "tempfile.TemporaryFile = refuse\n"
        "import importlib\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "from slipcast.systems.compiled import cache_folder\n"
        "print(cache_folder())"
    )
    environment = os.environ | {"HOME": str(file), "NUMBA_CACHE_DIR": str(file)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["None"]


def _modules_with_loops() -> list[str]:
    root = Path(compiled_module.__file__).parents[1]
    found = []
    for room in ("systems", "starter", "pipeline"):
        for path in (root / room).rglob("*.py"):
            if re.search(r"^@compiled\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                found.append(".".join(["slipcast", *path.relative_to(root).with_suffix("").parts]))
    return sorted(found)


def test_numbas_own_cache_is_used_nowhere() -> None:
    root = Path(compiled_module.__file__).parents[1]
    assert len(_modules_with_loops()) >= 12
    for room in ("systems", "starter", "pipeline"):
        for path in (root / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"^@.*cache=True", text, re.MULTILINE), path
