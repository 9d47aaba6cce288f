"""Shapes that signatures name are checked at every call, in the rooms that name them (jaxtyping and beartype).

Only shapes are: a test may give a stand-in where a signature names a class. What numba compiled is left alone, as it
is no Python function.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, jaxtyped

ROOMS = ("slipcast.guidance", "slipcast.systems.field")


class CheckedRooms(importlib.abc.MetaPathFinder):
    """Finds the rooms' modules as everybody does, and wraps their functions once they are imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(name == room or name.startswith(f"{room}.") for room in ROOMS):
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            loader, run = spec.loader, spec.loader.exec_module
            loader.exec_module = lambda module: (run(module), check(module))[0]
        return spec


def check(module: ModuleType) -> None:
    """Wrap the functions of a module, and the methods of its classes, whose signatures name shapes."""
    for owner in [module, *(one for one in vars(module).values() if inspect.isclass(one))]:
        if getattr(owner, "__module__", module.__name__) != module.__name__:
            continue
        for name, held in list(vars(owner).items()):
            wrap = type(held) if isinstance(held, classmethod | staticmethod) else (lambda made: made)
            function = getattr(held, "__func__", held)
            if (
                inspect.isfunction(function)
                and function.__module__ == module.__name__
                and _names_shapes(function)
            ):
                setattr(owner, name, wrap(jaxtyped(function, typechecker=_shapes_alone)))


def _names_shapes(function: Callable[..., Any]) -> bool:
    """Whether it does; its annotations are evaluated on the way, those that only type checkers can to Any."""
    inner: Any = inspect.unwrap(function)
    told = {name: _evaluated(hint, inner.__globals__) for name, hint in inner.__annotations__.items()}
    if not any(_is_shaped(hint) for hint in told.values()):
        return False
    inner.__annotations__ = told
    return True


def _evaluated(hint: Any, names: dict[str, Any]) -> Any:
    try:
        return eval(hint, names) if isinstance(hint, str) else hint
    except NameError:
        return Any


def _is_shaped(hint: Any) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_is_shaped, get_args(hint)))


def _shapes_alone(function: Any) -> Any:
    """beartype, blind to everything else."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint if _is_shaped(hint) else Any for name, hint in hints.items()}
    return beartype(function)
