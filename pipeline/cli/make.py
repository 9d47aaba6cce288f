"""``slipcast make``: from a prompt or a picture to an asset, or only what that would take."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...configs.stopping import check_stop
from .console import PartlyFailed, exit_codes
from .export import LODS
from .options import (
    AllowPickle,
    Base,
    Debug,
    Device,
    Domain,
    DomainStrength,
    DryRun,
    Dtype,
    EmbeddedGuidance,
    Embeddings,
    ImageEncoder,
    ImagePrompts,
    Json,
    Loras,
    LoraScale,
    LowMemory,
    Model,
    Overrides,
    Vae,
    option,
)

if TYPE_CHECKING:
    from ..make import MakeResult
    from ..run.manifest import Asked

Layers = list[tuple[str, Mapping[str, Any]]]


def make(
    prompt: Annotated[
        str | None, typer.Argument(help="What to make, in quotes; none with --resume.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    config: Annotated[
        str | None, typer.Option(help="A preset's name, or a YAML file.", show_default="starter")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that holds the runs.", show_default="runs")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.", show_default="0")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with the run in this folder; it knows its prompt and settings."
        ),
    ] = None,
    from_stage: Annotated[
        str | None,
        typer.Option("--from", help="Run this stage and the later ones anew; keep the earlier as they are."),
    ] = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    picture: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A picture of yours to lift, instead of drawing one; several of one object, the front first.",
        ),
    ] = None,
    base: Base = None,
    vae: Vae = None,
    domain: Domain = None,
    model: Model = None,
    lora_scale: LoraScale = None,
    domain_strength: DomainStrength = None,
    embedded_guidance: EmbeddedGuidance = None,
    lora: Loras = None,
    embedding: Embeddings = None,
    image_prompt: ImagePrompts = None,
    image_encoder: ImageEncoder = None,
    device: Device = None,
    dtype: Dtype = None,
    height: Annotated[float | None, option("Height of the object in metres.")] = None,
    roughness: Annotated[float | None, option("Of the whole surface, 0 glossy to 1 matt.")] = None,
    faces: Annotated[int | None, option("Reduce the exported mesh to so many faces.")] = None,
    lods: Annotated[
        bool, typer.Option("--lods", help="Levels of detail too: 1/2, 1/4 and 1/10 of the faces.")
    ] = False,
    spec: Annotated[
        Path | None, option("A YAML file of `slipcast image`: how the picture is drawn, conditions and all.")
    ] = None,
    low_memory: LowMemory = False,
    allow_pickle: AllowPickle = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a textured 3D asset: image, lift, refine, mesh, paint, export. The last line printed is the GLB's path."""
    with exit_codes(debug=debug, as_json=as_json):
        words = [word for word in (prompt, *(overrides or [])) if word is not None]
        named = {"base": base, "vae": vae, "domain": domain, "model": model, "lora_scale": lora_scale}
        named |= {"device": device, "dtype": dtype, "loras": lora or None, "embeddings": embedding or None}
        named |= {"domain_strength": domain_strength, "embedded_guidance": embedded_guidance}
        named |= {"image_prompt": image_prompt or None, "image_encoder": image_encoder}
        named |= {"export.height_m": height, "export.roughness": roughness, "export.faces": faces}
        named["export.lods"] = list(LODS) if lods else None
        flags: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if picture:
            flags["image.picture"] = [_absolute(one) for one in picture]
        layers: Layers = [("the command line", flags)]
        if resume:
            asked = _resumed(resume, words, config, out, seed, spec, layers)
        else:
            asked = _asked(words, config, seed, spec, layers)
        # No settings of a run: whether pickles are trusted, and how small the device is, is this machine's business.
        how = {"allow_pickle": allow_pickle, "low_memory": low_memory}
        if dry_run:
            _print_dry_run(asked, out or Path("runs"), from_stage, until_stage, as_json, how)
            return

        from ..make import make as run_make
        from ..run.models import open_models
        from ..run.progress import for_terminal

        options: dict[str, Any] = {"open_models": partial(open_models, **how)} if any(how.values()) else {}
        check_stop()
        # Libraries that print would spoil stdout, which holds the result alone.
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            result = run_make(
                asked.prompt,
                asked.config,
                out=out or Path("runs"),
                seed=asked.seed,
                resume=asked.run,
                from_stage=from_stage,
                until_stage=until_stage,
                console=console,
                **options,
            )
        told = _as_json(asked.prompt, asked.seed, result)
        if not (as_json and result.failed):
            print(json.dumps(told) if as_json else result.primary)
        if result.failed:
            missing = ", ".join(result.failed)
            raise PartlyFailed(f"{missing} could not be written; the same command tries again", told)


def _absolute(path: Path) -> str:
    """A run remembers its pictures, wherever it is gone on with."""
    from ...configs.paths import given_path

    return str(given_path(path, "--picture").absolute())


def _asked(
    words: list[str], config: str | None, seed: int | None, spec: Path | None, layers: Layers
) -> Asked:
    from ...configs.errors import BadInput
    from ...configs.loading import load_config
    from ...configs.names import settings_of
    from ...configs.picture import make_settings
    from ...configs.schema import MakeConfig
    from ..run.manifest import Asked
    from ..run.prompts import check_prompt

    if spec is not None:
        settings, prompt, its_seed = make_settings(spec)
        layers = [(str(spec), settings), *layers]
        seed = its_seed if seed is None else seed
    else:
        prompt = None
    has_pictures = "image.picture" in layers[-1][1] or any(one.startswith("image.picture=") for one in words)
    # Where a prompt may be left out, the first word may be a setting.
    first_is_setting = bool(words) and words[0].partition("=")[0].strip() in settings_of(MakeConfig)
    if words and not (first_is_setting and (has_pictures or prompt)):
        prompt, *words = words
    if prompt is None and not has_pictures:
        raise BadInput('make expects a prompt, such as "a blue vase", a --picture, or --resume RUN')
    prompt = "" if prompt is None else check_prompt(prompt)
    return Asked(prompt, seed or 0, load_config(config or "starter", words, layers))


def _resumed(
    run: Path,
    overrides: list[str],
    config: str | None,
    out: Path | None,
    seed: int | None,
    spec: Path | None,
    layers: Layers,
) -> Asked:
    from ...configs.errors import BadInput
    from ..run.manifest import asked_of

    for name, value in (("--config", config), ("--out", out), ("--seed", seed), ("--spec", spec)):
        if value is not None:
            raise BadInput(f"--resume takes folder, seed and settings from {run}; leave {name} out")
    if overrides and "=" not in overrides[0]:
        raise BadInput(f"--resume takes the prompt from {run}; leave {overrides[0]!r} out")
    return asked_of(run, overrides, layers)


def _print_dry_run(
    asked: Asked,
    out: Path,
    from_stage: str | None,
    until_stage: str | None,
    as_json: bool,
    how: Mapping[str, bool],
) -> None:
    from ..dry_run import dry_run
    from ..run.models import open_models

    with contextlib.redirect_stdout(sys.stderr):
        told = dry_run(
            asked.prompt,
            asked.config,
            out=out,
            seed=asked.seed,
            resume=asked.run,
            from_stage=from_stage,
            until_stage=until_stage,
            open_models=partial(open_models, **how),
        )
    print(json.dumps(told.as_json()) if as_json else told.as_text())


def _as_json(prompt: str, seed: int, result: MakeResult) -> dict[str, object]:
    return {
        "prompt": prompt,
        "seed": seed,
        "run": str(result.run),
        "folder": str(result.folder),
        "glb": None if result.glb is None else str(result.glb),
        "stages": {
            name: {
                "made": name in result.made,
                "seconds": record.seconds,
                "peak_memory_mb": record.peak_memory_mb,
                "facts": record.facts,
            }
            for name, record in result.records.items()
        },
    }
