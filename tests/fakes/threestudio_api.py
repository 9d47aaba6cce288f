"""As much of threestudio's interface as a plug-in sees, as the files of a clone; written from its contract."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "threestudio/__init__.py": """
__version__ = "0.2.3"
__modules__ = {}

def register(name):
    def keep(made):
        if name in __modules__:
            raise ValueError(f"{name} is there already")
        __modules__[name] = made
        return made
    return keep

def find(name):
    return __modules__[name]

def info(text):
    pass
""",
    "threestudio/utils/__init__.py": "",
    "threestudio/utils/misc.py": """
def C(value, epoch, global_step):
    if isinstance(value, (int, float)):
        return value
    start, first, last, end = value if len(value) == 4 else [0, *value]
    done = ((global_step if isinstance(end, int) else epoch) - start) / (end - start)
    return first + (last - first) * min(max(done, 0.0), 1.0)

def get_rank():
    return 0
""",
    "threestudio/utils/base.py": """
from dataclasses import dataclass

class BaseObject:
    @dataclass
    class Config:
        pass

    def __init__(self, cfg=None, *args, **kwargs):
        self.cfg = self.Config(**(cfg or {}))
        self.device = "cuda:0"
        self.configure(*args, **kwargs)

    def configure(self, *args, **kwargs):
        pass

    def do_update_step(self, epoch, global_step, on_load_weights=False):
        for name in dir(self):
            if not name.startswith("_"):
                getattr(self, name)  # which must not fail, nor reach what is heavy
        self.update_step(epoch, global_step, on_load_weights)

    def update_step(self, epoch, global_step, on_load_weights=False):
        pass
""",
    "launch.py": """
import importlib.util
import os
import sys

def load_custom_modules():
    for name in os.listdir("custom"):
        if name.endswith(".py"):
            path = os.path.join("custom", name)
            spec = importlib.util.spec_from_file_location(os.path.splitext(path)[0], path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
""",
}


def write_clone(folder: Path) -> Path:
    """The files, in a folder."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "custom").mkdir()
    return folder
