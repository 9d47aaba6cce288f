"""``slipcast image``: the command line of the 2-D recipes."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ...configs.stopping import check_stop
from .console import exit_codes
from .options import (
    AllowPickle,
    Base,
    Debug,
    Device,
    Domain,
    DomainStrength,
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
    Vae,
    option,
)


def image(
    prompt: Annotated[
        str | None, typer.Argument(help="What to draw, in quotes; for DiT a class.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None, option("in_domain (default; cfg without a domain), composable, perp_neg, ...")
    ] = None,
    base: Base = None,
    vae: Vae = None,
    domain: Domain = None,
    model: Model = None,
    lora: Loras = None,
    embedding: Embeddings = None,
    weight: Annotated[
        list[str] | None, option("Weight of a term, such as domain=3.5; may be repeated.")
    ] = None,
    until: Annotated[
        list[str] | None, option("Noise fraction up to which a term is on, such as domain=0.5.")
    ] = None,
    since: Annotated[
        list[str] | None, option("Noise fraction from which up a term is on, such as domain=0.2.")
    ] = None,
    guidance_rescale: Annotated[
        float | None, option("Give the sum this much of the prompt's own contrast, 0 to 1.")
    ] = None,
    embedded_guidance: EmbeddedGuidance = None,
    balance: Annotated[
        float | None, option("Share this total weight by the norm of the differences.")
    ] = None,
    negative: Annotated[list[str] | None, option("Prompt to stay away from; may be repeated.")] = None,
    wanted: Annotated[
        list[str] | None, option("One more prompt that must hold: 'text'=weight.", "--and")
    ] = None,
    unwanted: Annotated[
        list[str] | None, option("A prompt that must not hold: 'text'=weight.", "--not")
    ] = None,
    control: Annotated[
        list[str] | None,
        option(
            "KIND:PICTURE[:NETWORK][:SCALE][:OPTION=...], such as canny:img.png:0.8:end=0.6; may be repeated."
        ),
    ] = None,
    control_scale: Annotated[float | None, option("Factor on the controls.")] = None,
    control_start: Annotated[
        float | None, option("Share of the steps before the controls are heard, 0 to 1.")
    ] = None,
    control_end: Annotated[
        float | None, option("Share of the steps after which they are not, 0 to 1.")
    ] = None,
    control_branches: Annotated[
        str | None, option("Which branches hear them: text (those of the prompt) or all.")
    ] = None,
    image_prompt: ImagePrompts = None,
    image_encoder: ImageEncoder = None,
    edit: Annotated[str | None, option("Picture to start from.")] = None,
    strength: Annotated[float | None, option("How far an edited picture goes back to noise, 0 to 1.")] = None,
    mask: Annotated[str | None, option("With --edit: white parts are painted anew.")] = None,
    scheduler: Annotated[
        str | None,
        option("dpm++, dpm++-karras, ddim, euler, heun, lcm, ...; what the base says if left out."),
    ] = None,
    steps: Annotated[int | None, option("Denoising steps.")] = None,
    seed: Annotated[int | None, option("Seed, as in make.")] = None,
    count: Annotated[int | None, option("How many pictures of that seed.", "--count", "--grid")] = None,
    as_make: Annotated[
        bool, option("Add view and background words: the candidates that make draws.", "--as-make")
    ] = False,
    domain_strength: DomainStrength = None,
    size: Annotated[
        str | None,
        option("512 for a square, 512x768 for width and height; an edited picture keeps its own."),
    ] = None,
    lora_scale: LoraScale = None,
    spec: Annotated[Path | None, option("YAML file with the same settings, and complex conditions.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("pictures"),
    explain: Annotated[bool, option("Say what would be computed, and draw nothing.", "--explain")] = False,
    low_memory: LowMemory = False,
    allow_pickle: AllowPickle = False,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw pictures with guided diffusion. The last line printed is the contact sheet, or the only picture."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.paths import given_folder
        from ...configs.picture import parse_weights, picture_config
        from ..run.prompts import check_prompt

        given: dict[str, Any] = {
            "prompt": None if prompt is None else check_prompt(prompt, digits=True),
            "recipe": recipe, "base": base, "vae": vae, "domain": domain, "model": model, "balance": balance,
            "loras": lora, "embeddings": embedding,
            "negative": negative, "control": control, "control_scale": control_scale,
            "control_start": control_start, "control_end": control_end, "control_branches": control_branches,
            "image_prompt": image_prompt, "image_encoder": image_encoder, "device": device, "dtype": dtype,
            "edit": edit,
            "strength": strength, "mask": mask, "scheduler": scheduler, "steps": steps, "seed": seed,
            "count": count, "size": size, "lora_scale": lora_scale,
            "domain_strength": domain_strength, "as_make": as_make or None,
            "weights": parse_weights(weight or [], "--weight"),
            "until": parse_weights(until or [], "--until"),
            "since": parse_weights(since or [], "--since"),
            "guidance_rescale": guidance_rescale, "embedded_guidance": embedded_guidance,
            "wanted": parse_weights(wanted or [], "--and"),
            "unwanted": parse_weights(unwanted or [], "--not"),
        }  # fmt: skip
        config = picture_config(
            spec,
            {key: value for key, value in given.items() if value not in (None, {}, [])},
        )
        folder = given_folder(out, "--out")

        from ..drawing.explain import as_text
        from ..drawing.pictures import draw_pictures
        from ..drawing.plan import models_for, plan_pictures
        from ..run.progress import for_terminal

        check_stop()
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            store = models_for(config, low_memory=low_memory, allow_pickle=allow_pickle)
            plan = plan_pictures(config, console, store)
            check_stop()
            drawing = None if explain else draw_pictures(plan, folder, console)
        if drawing is None:
            print(json.dumps(plan.told) if as_json else as_text(plan.told))
            return
        told = {
            "pictures": [str(path) for path in drawing.pictures],
            "sheet": None if drawing.sheet is None else str(drawing.sheet),
            "recipe": drawing.recipe,
        }
        print(json.dumps(told) if as_json else drawing.sheet or drawing.pictures[-1])
