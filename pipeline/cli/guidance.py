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

guidance = typer.Typer(no_args_is_help=True, help="Guidance for other programs, such as threestudio.")


@guidance.callback()
def _root() -> None:
    """A group, although it has one command."""


def _option(sentence: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=sentence, show_default=False, **more)


@guidance.command("serve")
def serve(
    prompt: Annotated[
        str | None,
        typer.Argument(help="Of requests that bring none, in quotes; may be left out.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as refine.recipe=cfg.", show_default=False),
    ] = None,
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
        _option("Pixels that pictures are brought to; the base's own if left out.", min=8, max=2048),
    ] = None,
    base: Annotated[str | None, _option("The frozen prior: alias, hub id, folder or checkpoint.")] = None,
    domain: Annotated[str | None, _option("The domain: 'starter', a folder, or none.")] = None,
    model: Annotated[str | None, _option("A custom model of the base: LoRA, checkpoint or domain.")] = None,
    lora: Annotated[
        list[str] | None, _option("A LoRA in the base, FILE or FILE:strength; may be repeated.")
    ] = None,
    embedding: Annotated[
        list[str] | None, _option("Textual inversion, FILE or FILE:word; may be repeated.")
    ] = None,
    image_prompt: Annotated[
        list[str] | None, _option("PICTURE[:NETWORK][:SCALE], seen beside the text; may be repeated.")
    ] = None,
    device: Annotated[str | None, _option("auto (the quickest here), cpu, cuda, cuda:N or mps.")] = None,
    dtype: Annotated[str | None, _option("auto, float32, bfloat16 or float16.")] = None,
    low_memory: Annotated[bool, _option("Hold one network on the device at a time.", "--low-memory")] = False,
    allow_pickle: Annotated[bool, _option("Read pickled checkpoints.", "--allow-pickle")] = False,
    as_json: Annotated[bool, _option("Print a JSON object a line for all that happens.", "--json")] = False,
    debug: Annotated[bool, _option("Show the traceback of an error.", "--debug")] = False,
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
    from ..run.models import open_models
    from ..run.progress import Lines
    from ..serving.scoring import Scorer
    from ..serving.server import HOST, Server, listening
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
