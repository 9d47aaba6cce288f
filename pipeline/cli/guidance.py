"""``slipcast guidance serve``: the guided denoiser as a process of its own, for other programs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from ...configs.stopping import asked_to_stop, forget
from .console import exit_codes
from .options import (
    AllowPickle,
    Base,
    Debug,
    Device,
    Domain,
    Dtype,
    Embeddings,
    ImagePrompts,
    Loras,
    LowMemory,
    Model,
    Overrides,
    option,
)

guidance = typer.Typer(no_args_is_help=True, help="Guidance for other programs, such as threestudio.")


@guidance.callback()
def _root() -> None:
    """A group, although it has one command."""


@guidance.command("serve")
def serve(
    prompt: Annotated[
        str | None,
        typer.Argument(help="Of requests that bring none, in quotes; may be left out.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    config: Annotated[str, typer.Option(help="A preset's name, or a YAML file.")] = "starter",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="At 127.0.0.1; 0 takes any that is free.")
    ] = 7790,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Where to put the token that clients show.",
            show_default="~/.cache/slipcast/guidance-PORT.token",
        ),
    ] = None,
    size: Annotated[
        int | None,
        option("Pixels that pictures are brought to; the base's own if left out.", min=8, max=2048),
    ] = None,
    base: Base = None,
    domain: Domain = None,
    model: Model = None,
    lora: Loras = None,
    embedding: Embeddings = None,
    image_prompt: ImagePrompts = None,
    device: Device = None,
    dtype: Dtype = None,
    low_memory: LowMemory = False,
    allow_pickle: AllowPickle = False,
    as_json: Annotated[bool, option("Print a JSON object a line for all that happens.", "--json")] = False,
    debug: Debug = False,
) -> None:
    """Serve the guidance of the settings refine until Ctrl-C. The first line printed is its address, once ready."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.loading import load_config
        from ...configs.paths import given_path
        from ..run.prompts import check_prompt

        words = [word for word in (prompt, *(overrides or [])) if word is not None]
        text = ""
        if words and not re.match(
            r"\s*[a-z_]+(\.[\w-]+)*\s*=", words[0]
        ):  # else one for load_config, known or not
            text, *words = check_prompt(words[0], digits=True), *words[1:]
        given: dict[str, Any] = {
            "base": base, "domain": domain, "model": model, "loras": lora or None, "device": device, "dtype": dtype,
            "embeddings": embedding or None, "image_prompt": image_prompt or None,
        }  # fmt: skip
        flags = {name: value for name, value in given.items() if value is not None}
        settings = load_config(config, words, [("the command line", flags)])
        path = None if token_file is None else given_path(token_file, "--token-file")
        tell = Telling(sys.stdout, as_json)
        with contextlib.redirect_stdout(sys.stderr):
            _serve(text, settings, port, path, size, tell, low_memory=low_memory, allow_pickle=allow_pickle)


def _serve(
    prompt: str,
    settings: Any,
    port: int,
    token_file: Path | None,
    size: int | None,
    tell: Telling,
    **how: bool,
) -> None:
    from ...configs.ports import HOST, listening
    from ..run.models import open_models
    from ..run.progress import Lines
    from ..serving.scoring import Scorer
    from ..serving.server import Server
    from ..serving.token import new_token
    from ..serving.wire import token_path

    # The port first: it is told at once where it is taken, and clients that come early wait for their answer.
    with listening(port) as listener:
        port = listener.getsockname()[1]
        where = token_path(port) if token_file is None else token_file
        with new_token(where) as token:
            scores = Scorer(prompt, settings, open_models(settings, **how), Lines(), size=size)
            server = Server(scores, token, tell)
            address = {"address": f"{HOST}:{port}", "token_file": str(where.absolute()), "pid": os.getpid()}
            tell({"event": "ready", **address, **scores.told()})
            server.run(listener)
    tell({"event": "ended", "answered": server.answered})
    if asked_to_stop():
        forget()  # Ctrl-C is how a server is meant to end


class Telling:
    """What happens, as lines of JSON on a stream; without JSON the address there and the rest on stderr."""

    def __init__(self, stream: IO[str], as_json: bool) -> None:
        self._stream, self._as_json, self._one_at_a_time = stream, as_json, threading.Lock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            if self._as_json:
                print(json.dumps(event), file=self._stream, flush=True)
            elif event["event"] == "ready":
                print(event["address"], file=self._stream, flush=True)
                print(
                    f"serving {event['recipe']} of {event['models']['base']['id']}; the token is in "
                    f"{event['token_file']}, Ctrl-C ends it",
                    file=sys.stderr,
                )
            elif event["event"] == "refused":
                print(f"client {event['client']}: {event['error']}", file=sys.stderr)
