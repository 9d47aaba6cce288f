"""``slipcast domain``: learn a visual domain from a folder of pictures; look at domains, balance and share them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import exit_codes

domain = typer.Typer(
    no_args_is_help=True, help="Learn a domain from pictures; list, balance and share domains."
)


def _option(sentence: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=sentence, show_default=False, **more)


Json = Annotated[bool, _option("Print one JSON object.", "--json")]
Debug = Annotated[bool, _option("Show the traceback of an error.", "--debug")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A domain's name, or its folder.", show_default=False)
]
Device = Annotated[str, _option("auto, cpu, cuda, cuda:N or mps.")]
Minutes = Annotated[
    float | None, _option("Stop after so long; `resume` goes on. The schedule never asks it.", min=0.0)
]
CheckpointMinutes = Annotated[float, _option("Minutes between checkpoints (5).", min=0.01)]
CheckpointSteps = Annotated[int | None, _option("Steps between checkpoints, beside those by time.", min=1)]
Cache = Annotated[Path | None, _option("Folder of encoded pictures, shared by all trainings.")]
AllowPickle = Annotated[
    bool, _option("Read the base from pickles where it has nothing else.", "--allow-pickle")
]


@domain.command()
def train(
    pictures: Annotated[
        Path, typer.Argument(metavar="PICTURES", help="Folder of pictures.", show_default=False)
    ],
    name: Annotated[str, _option("What the domain is called from now on, such as porcelain.", "--name")],
    licence: Annotated[
        str | None,
        _option("Terms under which pictures and domain may be used, such as CC-BY-4.0 or unknown."),
    ] = None,
    base: Annotated[
        str, _option("The base that it is a domain of: starter, sd15, sdxl, a folder ...")
    ] = "starter",
    prompt: Annotated[str | None, _option('Words to begin from (default: "a photo of NAME").')] = None,
    method: Annotated[str | None, _option("null-text (default), lora, full, or dog.")] = None,
    steps: Annotated[int | None, _option("Steps; they decide the schedule.")] = None,
    batch: Annotated[int | None, _option("Pictures of a step, over all devices and workers.")] = None,
    accumulate: Annotated[int, _option("Parts that a step's pictures are computed in.")] = 1,
    learning_rate: Annotated[float | None, _option("By the base's family where left out.")] = None,
    size: Annotated[int | None, _option("Pixels along each side; the base's own where left out.")] = None,
    aspect: Annotated[str, _option("crop (default), pad, or bucket: shapes kept, areas equal.")] = "crop",
    grounds: Annotated[int, _option("Plain grounds that transparent pictures are put over (4).")] = 4,
    flip: Annotated[bool, _option("Mirror half of the pictures.", "--flip/--no-flip")] = True,
    precision: Annotated[str, _option("auto, float32, bfloat16 or float16.")] = "auto",
    ema: Annotated[float | None, _option("Decay of the averaged weights; 0 for none.")] = None,
    optimizer: Annotated[str | None, _option("adamw, adamw8bit or muon.")] = None,
    schedule: Annotated[str | None, _option("constant, or decay.")] = None,
    checkpointing: Annotated[
        bool, _option("Compute activations again instead of keeping them.", "--checkpointing")
    ] = False,
    size_budget: Annotated[
        str | None, _option("Memory to fit into, such as 12GB: chooses checkpointing, 8 bits, accumulation.")
    ] = None,
    feature_steps: Annotated[int, _option("Steps of the text features' optimisation (100).")] = 100,
    noise_shift: Annotated[float | None, _option("Above 1: more of the high noise levels.")] = None,
    distil_guidance: Annotated[
        float | None, _option("Weight of domain guidance that a model of dog takes into itself, such as 1.5.")
    ] = None,
    held_out: Annotated[float, _option("Share of pictures that is never trained on (0.1).")] = 0.1,
    evaluate_every: Annotated[int | None, _option("Steps between evaluations (an eighth of all).")] = None,
    samples: Annotated[int, _option("Pictures drawn for each Frechet distance (32); 0 for none.")] = 32,
    extractor: Annotated[
        str, _option("Network that judges, as in `slipcast eval`, or none.")
    ] = "efficientnet-lite0",
    word: Annotated[
        list[str] | None, _option("A thing to look for in samples, such as teapot; may be repeated.")
    ] = None,
    workers: Annotated[int | None, _option("Processes on the CPU; one a core where left out.")] = None,
    seed: Annotated[int, _option("Everything random follows from it.")] = 0,
    out: Annotated[Path | None, _option("Folder of domains (domains, or $SLIPCAST_DOMAINS).")] = None,
    cache: Cache = None,
    device: Device = "auto",
    minutes: Minutes = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    checkpoint_steps: CheckpointSteps = None,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Learn a domain from a folder of pictures; the last line printed is its folder."""

    def work(console: Any) -> Any:
        from ..domains.settings import WORDS, Settings
        from ..domains.training import train_domain

        chosen = Settings(
            pictures=str(pictures), name=name, base=base, licence=licence or "", prompt=prompt, method=method,
            steps=steps, batch=batch, accumulate=accumulate, learning_rate=learning_rate, size=size,
            aspect=aspect, grounds=grounds, flip=flip, precision=precision, ema=ema, optimizer=optimizer,
            schedule=schedule, checkpointing=checkpointing, size_budget=size_budget,
            feature_steps=feature_steps, noise_shift=noise_shift, distil_guidance=distil_guidance, held_out=held_out,
            evaluate_every=evaluate_every, samples=samples, extractor=extractor, workers=workers, seed=seed,
            words=tuple(word) if word else WORDS,
        )  # fmt: skip
        means = _means(device, minutes, checkpoint_minutes, checkpoint_steps, cache, allow_pickle)
        return train_domain(chosen, means, console, out=out)

    _learned(name, work, as_json, debug)


@domain.command()
def resume(
    name: Name,
    pictures: Annotated[Path | None, _option("Where the same pictures lie now.", "--pictures")] = None,
    prompt: Annotated[str | None, _option("Said again, it must be the same.")] = None,
    base: Annotated[str | None, _option("Said again, it must be the same.")] = None,
    cache: Cache = None,
    device: Device = "auto",
    minutes: Minutes = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    checkpoint_steps: CheckpointSteps = None,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Go on with a training that was stopped, as if it had not been: the same run, to the bit on a CPU."""

    def work(console: Any) -> Any:
        from ..domains.listing import training_of
        from ..domains.training import resume_domain

        means = _means(device, minutes, checkpoint_minutes, checkpoint_steps, cache, allow_pickle)
        said = {"prompt": prompt, "base": base}
        where = None if pictures is None else str(pictures)
        return resume_domain(training_of(name), means, console, pictures=where, **said)

    _learned(name, work, as_json, debug)


@domain.command()
def extend(
    name: Name,
    steps: Annotated[int, _option("How many more.", "--steps")],
    learning_rate: Annotated[float | None, _option("As before where left out.")] = None,
    cache: Cache = None,
    device: Device = "auto",
    minutes: Minutes = None,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    checkpoint_steps: CheckpointSteps = None,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a finished domain further from its best weights, by a schedule of its own; what it was is kept."""

    def work(console: Any) -> Any:
        from ..domains.listing import training_of
        from ..domains.training import extend_domain

        means = _means(device, minutes, checkpoint_minutes, checkpoint_steps, cache, allow_pickle)
        return extend_domain(training_of(name), means, console, steps=steps, learning_rate=learning_rate)

    _learned(name, work, as_json, debug)


@domain.command("list")
def list_command(as_json: Json = False, debug: Debug = False) -> None:
    """The domains on this machine: those that ship, and those in the folder of domains."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from ..domains.listing import list_domains

        found = list_domains()
        if as_json:
            print(json.dumps({"domains": found}))
            return
        for one in found:
            gain = f"{100 * one['gain']:+.1f} %" if one.get("gain") is not None else "-"
            print(
                f"{one['name']:<20} {one['kind']:<10} {one.get('base', '-'):<12} {gain:>8}  "
                f"{one.get('licence', '-'):<14} {one['folder']}"
            )


@domain.command()
def info(name: Name, as_json: Json = False, debug: Debug = False) -> None:
    """What a domain says of itself: base, licence, how it was learned and how well, weights of guidance."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from ..domains.listing import card_of_any, find_learned
        from .evaluate import table

        place = find_learned(name)
        told = {"folder": str(place), **card_of_any(place)}
        if as_json:
            print(json.dumps(told))
            return
        print("\n".join(table({k: _plain(v) for k, v in told.items()})))


@domain.command()
def balance(
    name: Name,
    prompt: Annotated[list[str] | None, _option("Measured over these; may be repeated.")] = None,
    total: Annotated[float, _option("The weight that plain guidance would have (7).", min=0.01)] = 7.0,
    base: Annotated[str | None, _option("Its base; the one that its card names where left out.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure the weights of domain and text on the models, and keep them in the domain's card as its defaults."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.balancing import balance_domain
        from ..run.progress import for_terminal

        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            console.stage_started("balance")
            folder, weights = balance_domain(
                name, console, prompts=prompt or (), total=total, base=base, device=device
            )
        print(json.dumps({"domain": str(folder), "weights": weights}) if as_json else weights)


@domain.command()
def pack(
    name: Name,
    out: Annotated[Path | None, _option("The file to write (NAME.domain.zip).")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a domain as one .zip to share, with a sum of every file."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.listing import find_learned
        from ..domains.packing import pack as write

        made = write(find_learned(name), out)
        print(json.dumps({"file": str(made)}) if as_json else made)


@domain.command()
def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `pack` wrote.", show_default=False)],
    name: Annotated[str | None, _option("Its name here; the file's own where left out.")] = None,
    out: Annotated[Path | None, _option("Folder of domains (domains, or $SLIPCAST_DOMAINS).")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lay a packed domain into the folder of domains, after looking at all that is inside."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..domains.packing import unpack as lay

        folder = lay(file, name=name, out=out)
        print(json.dumps({"domain": str(folder)}) if as_json else folder)


def _means(
    device: str, minutes: float | None, by_time: float, by_step: int | None, cache: Path | None, pickle: bool
) -> Any:
    from ..domains.training import Means

    return Means(device, minutes, by_time, by_step, cache, pickle)


def _learned(name: str, work: Callable[[Any], Any], as_json: bool, debug: bool) -> None:
    """Run a training; print its domain, or where it stopped."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..run.progress import for_terminal

        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            console.stage_started("domain")
            try:
                found = work(console)
            except KeyboardInterrupt:
                console.notice(f"what was learned is kept; `slipcast domain resume {name}` goes on")
                raise
            if found.finished and not found.learning:
                console.notice(
                    "held-out pictures are denoised no better than before: this domain learned nothing"
                )
            if not found.finished:
                console.notice(
                    f"stopped after step {found.steps}; `slipcast domain resume {found.domain.name}` goes on"
                )
        told = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(found).items()}
        print(json.dumps(told) if as_json else found.domain)


def _plain(value: Any) -> Any:
    """Lists as text, so that a table takes them."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return float(value) if isinstance(value, float) else value
