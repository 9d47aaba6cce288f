"""From a folder of runs to a server on this machine: what may be wrong is said before the first page."""

from __future__ import annotations

import contextlib
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_folder
from ...configs.ports import HOST, listening
from ..batch.ledger import open_ledger
from ..run.lock import FolderLock
from .jobs_file import jobs_file
from .processes import SERVER, forget_self, living, note_self


def serve(
    runs: Path,
    port: int,
    *,
    workers: int | None = None,
    open_browser: bool = False,
) -> None:
    """Serve the studio until it is stopped.

    Args:
        runs: folder of the runs; made if it is not there.
        port: on 127.0.0.1; 0 takes any that is free.
        workers: processes at work; None for as many as fit.
        open_browser: show the first page in the browser.
    Raises:
        BadInput: the port is taken, the folder cannot be one of runs, or the extra ``ui`` is not installed.
        SlipcastError: the folder cannot be written, or another studio is open on it.
    """
    runs = given_folder(runs, "--runs").absolute()
    try:
        import uvicorn

        from .app import studio_app
        from .desk import Desk
        from .keeper import Keeper
    except ModuleNotFoundError as error:
        raise BadInput(
            f'the studio needs {error.name}, which is not installed; `pip install "slipcast[ui]"` installs it'
        ) from error
    folder = jobs_file(runs).parent
    with explain_os_errors(runs, "opening the studio", then=" or give another folder with --runs"):
        (folder / "server").mkdir(parents=True, exist_ok=True)
    with _alone(folder), listening(port) as listener, open_ledger(folder, make=True):
        number = listener.getsockname()[1]
        address = f"http://{HOST}:{number}"
        keeper = Keeper(runs, workers)
        port_said = "" if number == 80 else f":{number}"  # as browsers say it
        desk = Desk(runs)
        desk.catch_up()
        app = studio_app(desk, keeper, [f"{HOST}{port_said}", f"localhost{port_said}"])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        note_self(folder / SERVER, address=address)
        keeper.start()
        try:
            print(
                f"slipcast studio: {address}  (Ctrl-C ends it; what is queued goes on next time)", flush=True
            )
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            forget_self(folder / SERVER)
            print(
                "slipcast studio: ending; jobs at work write down where they are", file=sys.stderr, flush=True
            )
            keeper.stop()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the one studio of a folder of runs."""
    lock = FolderLock(folder / "server")
    try:
        with explain_os_errors(folder, "opening the studio", then=" or give another folder with --runs"):
            lock.acquire()
    except SlipcastError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.filename:  # the file, and not its lock
            raise
        told = living(folder / SERVER)
        where = "" if told is None else f" by process {told['pid']}, at {told.get('address')}"
        raise SlipcastError(
            f"the studio of {folder.parent} is open already{where}; use that, or another folder with --runs"
        ) from error
    try:
        yield
    finally:
        lock.release()
