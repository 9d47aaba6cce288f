"""The package as others get it: what the wheel holds, which way imports run, what its public functions say."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("configs", "guidance", "systems", "starter", "pipeline")
MAY_IMPORT = {
    "configs": {"configs"},
    "guidance": {"configs", "guidance"},
    "systems": {"configs", "guidance", "systems"},
    "starter": {"configs", "guidance", "systems", "starter"},
    "pipeline": set(ROOMS),
}
# Both run inside Blender and are data of this package, not parts of it; the extension has a licence of its own.
PUBLIC = "pipeline/public"  # is the package ``slipcast`` itself
RUNNERS = "systems/lift/runners"  # programs that run in other environments
INSIDE_BLENDER = {"pipeline/blender/scripts", "pipeline/blender/extension"}
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
HEAVY = {
    "torch",
    "numpy",
    "diffusers",
    "transformers",
    "trimesh",
    "numba",
    "yaml",
    "nerfacc",
    "rich",
    "psutil",
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(level, dotted module) of every import; level 0 is absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.level, node.module
            else:  # from .. import guidance
                yield from ((node.level, alias.name) for alias in node.names)


def _room_of(path: Path, level: int, module: str) -> str | None:
    """The room that a relative import leads to; None for an absolute one."""
    if level == 0:
        return None
    package = ["slipcast", *path.relative_to(ROOT).parts[:-1]]
    target = package[: len(package) - level + 1] + module.split(".")
    return target[1]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_run_one_way_and_are_relative(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for level, module in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        top = module.split(".")[0]
        assert level > 0 or top not in (*ROOMS, "slipcast"), (
            f"{_name(path)} imports {module}: use a relative import"
        )
        reached = _room_of(path, level, module)
        assert reached is None or reached in MAY_IMPORT[room], f"{_name(path)} reaches up into {reached}"


def test_the_import_law_sees_what_it_should() -> None:
    path = ROOT / "guidance" / "deep" / "x.py"
    tree = ast.parse(
        "from ...systems.types import Mesh\nfrom ... import pipeline\nfrom ..algebra import Guidance"
    )
    assert [_room_of(path, *found) for found in _imports(tree)] == ["systems", "pipeline", "guidance"]


def test_the_command_line_imports_nothing_heavy_on_its_way_in() -> None:
    for path in [ROOT / "pipeline/__init__.py", *(ROOT / "pipeline/cli").glob("*.py")]:
        if path.stem in ("doctor", "fetch"):  # imported by their commands when they run
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:  # what stands at the top of the module; imports inside functions are welcome
            found = (
                {module.split(".")[0] for _, module in _imports(node)}
                if not isinstance(node, _LATER)
                else set()
            )
            assert not found & HEAVY


_LATER = (ast.FunctionDef, ast.ClassDef, ast.If)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_public_things_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert path.name == "__init__.py" or ast.get_docstring(tree), f"{_name(path)} does not say what it is for"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{_name(path)}: {node.name} has no docstring"


def test_every_folder_with_modules_is_a_package_of_the_project() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = (
        {path.parent.relative_to(ROOT).as_posix() for path in MODULES} - INSIDE_BLENDER - {PUBLIC, RUNNERS}
    )
    packages = {f"slipcast.{folder.replace('/', '.')}" for folder in folders} | {"slipcast"}
    assert packages == set(settings["packages"])
    rooms = {f"slipcast.{room}": room for room in ROOMS}
    assert settings["package-dir"] == rooms | {"slipcast": PUBLIC}


def test_the_links_for_type_checkers_lead_to_every_room() -> None:
    links = {link.name: link.resolve() for link in (ROOT / "typings" / "slipcast").iterdir()}
    assert links == {room: ROOT / room for room in ROOMS} | {"__init__.py": ROOT / PUBLIC / "__init__.py"}


def test_the_package_has_a_version_and_gives_its_names_when_they_are_asked_for() -> None:
    code = "import slipcast as s, sys; print(s.__version__, 'torch' in sys.modules, 'make' in dir(s))"
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told == [project["version"], "False", "True"]
    import slipcast

    assert all(getattr(slipcast, name) is not None for name in slipcast.__all__)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a clean copy: a build in place could pick up leftovers, and would leave some."""
    copy = tmp_path_factory.mktemp("source")
    for name in (*ROOMS, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
    ]
    subprocess.run(
        [*command, "--wheel-dir", str(target), str(copy)], check=True, capture_output=True, text=True
    )
    (built,) = target.glob("slipcast-*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Modules and data: a package that ``packages`` forgets, or a kind of file that ``package-data`` does."""
    tree = {
        f"slipcast/{_name(path).removeprefix(f'{PUBLIC}/')}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert sorted(tree - held) == [], "left out of [tool.setuptools] packages or package-data"
    assert sorted(held - tree) == []


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_of_its_own_from_another_folder(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    """Its modules, weights and command are the wheel's; only what it depends on is borrowed from this environment."""
    home, bin_folder = tmp_path / "venv", "Scripts" if os.name == "nt" else "bin"
    venv.create(home, with_pip=False)
    python, command = home / bin_folder / "python", home / bin_folder / "slipcast"
    (packages,) = home.rglob("site-packages")
    # Folders named by a .pth file bring no .pth files of their own: the tree that is installed here stays unseen.
    (packages / "borrowed.pth").write_text(
        "\n".join(part for part in sys.path if part.endswith("site-packages"))
    )
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    install = [*pip, "install", "--no-deps", "--no-index", str(wheel.filename)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def told(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    found = Path(told(python, "-c", "import slipcast.systems; print(slipcast.systems.__file__)"))
    assert found.is_relative_to(packages)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert told(command, "--version") == f"slipcast {version}"
    assert "slipcast" in told(command, "--help")
    drawn = json.loads(told(command, "image", "a vase", "--count", "1", "--steps", "2", "--json"))["pictures"]
    assert [(elsewhere / path).stat().st_size > 1000 for path in drawn] == [True]


def test_the_wheel_stays_small_and_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    weights = sum(item.file_size for item in wheel.infolist() if item.filename.endswith(".safetensors"))
    assert weights <= 80e6
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    text = wheel.read(metadata).decode()
    assert "torchvision" not in "\n".join(line for line in text.splitlines() if "extra ==" not in line)


def test_the_readme_and_ci_share_one_command() -> None:
    lines = [line.strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    assert lines.count('pip install -c constraints.txt -e ".[dev,eval,matting,cluster,ui]" && pytest') == 1
    assert sum(line.startswith('pip install -c constraints.txt . && slipcast make "') for line in lines) == 1


def test_constraints_pin_every_direct_dependency_exactly() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = {line.split("==")[0].lower().replace("_", "-"): line for line in text.splitlines() if "==" in line}
    assert pins["torch"] == "torch==2.13.0" and "torchvision" not in pins
    assert not [line for line in pins.values() if "+" in line or "/" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["cluster"], *extras["ui"]]
    names = {re.split("[>=[]", line)[0].strip().lower().replace("_", "-") for line in wanted}
    assert names <= set(pins)
