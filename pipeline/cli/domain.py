"""``slipcast domain train|resume|extend``: learn a visual domain from a folder of pictures."""

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
from .options import AllowPickle, Debug, Json, option

domain = typer.Typer(
    no_args_is_help=True, help="Learn a domain from pictures; list, balance and share domains."
)


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A domain's name, or its folder.", show_default=False)
]
Device = Annotated[str, option("auto, cpu, cuda, cuda:N or mps.")]
Minutes = Annotated[
    float | None, option("Stop after so long; `resume` goes on. The schedule never asks it.", min=0.0)
]
CheckpointMinutes = Annotated[float, option("Minutes between checkpoints (5).", min=0.01)]
CheckpointSteps = Annotated[int | None, option("Steps between checkpoints, beside those by time.", min=1)]
Cache = Annotated[Path | None, option("Folder of encoded pictures, shared by all trainings.")]


@domain.command()
def train(
    pictures: Annotated[
        Path, typer.Argument(metavar="PICTURES", help="Folder of pictures.", show_default=False)
    ],
    name: Annotated[str, option("What the domain is called from now on, such as porcelain.", "--name")],
    licence: Annotated[
        str | None,
        option("Terms under which pictures and domain may be used, such as CC-BY-4.0 or unknown."),
    ] = None,
    base: Annotated[
        str, option("The base that it is a domain of: starter, sd15, sdxl, a folder ...")
    ] = "starter",
    prompt: Annotated[str | None, option('Words to begin from (default: "a photo of NAME").')] = None,
    method: Annotated[str | None, option("null-text (default), lora, full, or dog.")] = None,
    steps: Annotated[int | None, option("Steps; they decide the schedule.")] = None,
    batch: Annotated[int | None, option("Pictures of a step, over all devices and workers.")] = None,
    accumulate: Annotated[int, option("Parts that a step's pictures are computed in.")] = 1,
    learning_rate: Annotated[float | None, option("By the base's family where left out.")] = None,
    size: Annotated[int | None, option("Pixels along each side; the base's own where left out.")] = None,
    aspect: Annotated[str, option("crop (default), pad, or bucket: shapes kept, areas equal.")] = "crop",
    grounds: Annotated[int, option("Plain grounds that transparent pictures are put over (4).")] = 4,
    flip: Annotated[bool, option("Mirror half of the pictures.", "--flip/--no-flip")] = True,
    precision: Annotated[str, option("auto, float32, bfloat16 or float16.")] = "auto",
    ema: Annotated[float | None, option("Decay of the averaged weights; 0 for none.")] = None,
    optimizer: Annotated[str | None, option("adamw, adamw8bit or muon.")] = None,
    schedule: Annotated[str | None, option("constant, or decay.")] = None,
    checkpointing: Annotated[
        bool, option("Compute activations again instead of keeping them.", "--checkpointing")
    ] = False,
    size_budget: Annotated[
        str | None, option("Memory to fit into, such as 12GB: chooses checkpointing, 8 bits, accumulation.")
    ] = None,
    feature_steps: Annotated[int, option("Steps of the text features' optimisation (100).")] = 100,
    noise_shift: Annotated[float | None, option("Above 1: more of the high noise levels.")] = None,
    distil_guidance: Annotated[
        float | None, option("Weight of domain guidance that a model of dog takes into itself, such as 1.5.")
    ] = None,
    held_out: Annotated[float, option("Share of pictures that is never trained on (0.1).")] = 0.1,
    evaluate_every: Annotated[int | None, option("Steps between evaluations (an eighth of all).")] = None,
    samples: Annotated[int, option("Pictures drawn for each Frechet distance (32); 0 for none.")] = 32,
    extractor: Annotated[
        str, option("Network that judges, as in `slipcast eval`, or none.")
    ] = "efficientnet-lite0",
    word: Annotated[
        list[str] | None, option("A thing to look for in samples, such as teapot; may be repeated.")
    ] = None,
    workers: Annotated[int | None, option("Processes on the CPU; one a core where left out.")] = None,
    seed: Annotated[int, option("Everything random follows from it.")] = 0,
    out: Annotated[Path | None, option("Folder of domains (domains, or $SLIPCAST_DOMAINS).")] = None,
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
    pictures: Annotated[Path | None, option("Where the same pictures lie now.", "--pictures")] = None,
    prompt: Annotated[str | None, option("Said again, it must be the same.")] = None,
    base: Annotated[str | None, option("Said again, it must be the same.")] = None,
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
    steps: Annotated[int, option("How many more.", "--steps")],
    learning_rate: Annotated[float | None, option("As before where left out.")] = None,
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
