"""Downloads from the Hugging Face hub into its own cache, and its errors as sentences."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput, SlipcastError
from .weight_files import MODEL_INDEX, wanted

Bytes = Callable[[int, int], None]
_NETWORK = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"})
_KEPT = "files that arrived whole are kept, and the same command fetches the rest"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class HubUnreachable(SlipcastError):
    """There is no way to the hub now; what is on this disk may do."""


def cached(hub_id: str) -> Path | None:
    """The folder of a model in the hub's cache, whole or not; None when it was never downloaded. No network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except LocalEntryNotFoundError as error:
        # The hub calls a snapshot incomplete when any file of the repository is missing; we never want them all.
        partial = getattr(error, "snapshot_path", None)
        return Path(partial) if partial else None
    except HFValidationError as error:
        raise BadInput(f"{hub_id} cannot be a hub id; one looks like owner/name") from error


def cache_folder() -> str:
    """Where the hub keeps what it downloads."""
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE


def download(
    hub_id: str, progress: Bytes, *, full_precision: bool, allow_pickle: bool, files: Sequence[str] = ()
) -> Path:
    """Download some files of a model, or what ``wanted`` chooses; those that are there already are kept.

    Within a run the hub's client resumes a file that breaks off; between runs it begins such a file anew, since its
    version 1.18 (huggingface/huggingface_hub#4196), so a second run resumes file by file.

    Args:
        progress: called with (bytes done, bytes in all), from several threads but one at a time.

    Raises: HubUnreachable, BadInput (no such model, or pickles only), SlipcastError (refused, disk full).
    """
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

    try:
        listed = HfApi().model_info(hub_id, files_metadata=True).siblings or []
        sizes = {file.rfilename: file.size or 0 for file in listed}
        index = None
        if MODEL_INDEX in sizes:
            index = json.loads(Path(hf_hub_download(hub_id, MODEL_INDEX)).read_text(encoding="utf-8"))
        if gone := sorted(set(files) - sizes.keys()):
            raise BadInput(f"{hub_id} has no {gone[0]} any more; see {constants.ENDPOINT}/{hub_id}")
        try:
            names = list(files) or wanted(
                sizes, index, full_precision=full_precision, allow_pickle=allow_pickle
            )
        except BadInput as error:
            raise BadInput(f"{hub_id}: {error}") from error
        total = sum(sizes[name] for name in names)
        progress(0, total)
        folder = snapshot_download(hub_id, allow_patterns=names, tqdm_class=_bars(progress, total))
        progress(total, total)
        return Path(folder)
    except SlipcastError:
        raise
    except Exception as error:  # the hub, its network library and the disk each have their own kinds
        if (said := _sentence(hub_id, error)) is None:
            raise
        raise said from error


def _bars(progress: Bytes, total: int) -> Any:
    """A silent bar class for the hub that hands the bytes on.

    The hub keeps several bars (bytes received, bytes written, files); the byte bar that is ahead is what is told.
    """
    from huggingface_hub.utils import tqdm

    lock, most = threading.Lock(), 0

    class Bars(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            self.counts = options.get("unit") == "B"
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            nonlocal most
            with lock:
                self.n += n or 0
                if self.counts and self.n > most:
                    most = min(int(self.n), total)
                    progress(most, total)

    return Bars


def _sentence(hub_id: str, error: Exception) -> SlipcastError | None:
    """What an error of a download means to the user; None when it is none of the expected ones."""
    from huggingface_hub import constants, errors

    page, cache = f"{constants.ENDPOINT}/{hub_id}", constants.HF_HUB_CACHE
    short = (" ".join(str(error).split()) or type(error).__name__)[:160]
    if getattr(error, "errno", None) in _FULL or "No space left" in str(error):
        return SlipcastError(
            f"the disk of {cache} is full: free some room, or set HF_HOME to a folder on another disk; {_KEPT}"
        )
    if isinstance(error, errors.GatedRepoError):
        return SlipcastError(
            f"{hub_id} is gated: accept its terms at {page}, log in with `hf auth login`, and fetch it again"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return BadInput(
            f"the hub has no model {hub_id}, or it is private: check the name, or log in with `hf auth login`"
        )
    if isinstance(error, errors.HFValidationError):
        return BadInput(f"{hub_id} cannot be a hub id; one looks like owner/name")
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return HubUnreachable(f"HF_HUB_OFFLINE is set, so {hub_id} cannot be downloaded; unset it to fetch")
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        remedy = "log in again with `hf auth login`" if status in (401, 403) else "try again later"
        return SlipcastError(f"the hub refused {hub_id} with status {status}; {remedy}, or see {page}")
    library = type(error).__module__.partition(".")[0]
    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError) or library in _NETWORK:
        return HubUnreachable(
            f"{constants.ENDPOINT} cannot be reached for {hub_id} ({short}): check the network; {_KEPT}"
        )
    if isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EROFS:
        return SlipcastError(f"{cache} cannot be written to; set HF_HOME to a folder that can")
    if isinstance(error, OSError | RuntimeError) or library == "hf_xet":
        return SlipcastError(f"the download of {hub_id} broke off ({short}); {_KEPT}")
    return None
