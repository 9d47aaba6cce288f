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


def _option(sentence: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=sentence, show_default=False, **more)


def image(
    prompt: Annotated[
        str | None, typer.Argument(help="What to draw, in quotes; for DiT a class.", show_default=False)
    ] = None,
    recipe: Annotated[
        str | None, _option("in_domain (default; cfg without a domain), composable, perp_neg, ...")
    ] = None,
    base: Annotated[
        str | None, _option("The frozen prior: alias, hub id, folder or .safetensors checkpoint.")
    ] = None,
    vae: Annotated[
        str | None, _option("Another autoencoder than the base's own: folder or .safetensors file.")
    ] = None,
    domain: Annotated[str | None, _option("The domain: 'starter', a folder, or none.")] = None,
    model: Annotated[str | None, _option("A custom model of the base: LoRA, checkpoint or domain.")] = None,
    lora: Annotated[
        list[str] | None, _option("A LoRA in the base, FILE or FILE:strength; may be repeated.")
    ] = None,
    embedding: Annotated[
        list[str] | None, _option("Textual inversion, FILE or FILE:word; may be repeated.")
    ] = None,
    weight: Annotated[
        list[str] | None, _option("Weight of a term, such as domain=3.5; may be repeated.")
    ] = None,
    until: Annotated[
        list[str] | None, _option("Noise fraction up to which a term is on, such as domain=0.5.")
    ] = None,
    since: Annotated[
        list[str] | None, _option("Noise fraction from which up a term is on, such as domain=0.2.")
    ] = None,
    guidance_rescale: Annotated[
        float | None, _option("Give the sum this much of the prompt's own contrast, 0 to 1.")
    ] = None,
    embedded_guidance: Annotated[
        float | None, _option("Guidance weight that a network is told which has guidance inside (LCM, Flux).")
    ] = None,
    balance: Annotated[
        float | None, _option("Share this total weight by the norm of the differences.")
    ] = None,
    negative: Annotated[list[str] | None, _option("Prompt to stay away from; may be repeated.")] = None,
    wanted: Annotated[
        list[str] | None, _option("One more prompt that must hold: 'text'=weight.", "--and")
    ] = None,
    unwanted: Annotated[
        list[str] | None, _option("A prompt that must not hold: 'text'=weight.", "--not")
    ] = None,
    control: Annotated[
        list[str] | None,
        _option(
            "KIND:PICTURE[:NETWORK][:SCALE][:OPTION=...], such as canny:img.png:0.8:end=0.6; may be repeated."
        ),
    ] = None,
    control_scale: Annotated[float | None, _option("Factor on the controls.")] = None,
    control_start: Annotated[
        float | None, _option("Share of the steps before the controls are heard, 0 to 1.")
    ] = None,
    control_end: Annotated[
        float | None, _option("Share of the steps after which they are not, 0 to 1.")
    ] = None,
    control_branches: Annotated[
        str | None, _option("Which branches hear them: text (those of the prompt) or all.")
    ] = None,
    image_prompt: Annotated[
        list[str] | None,
        _option("PICTURE[:NETWORK][:SCALE], seen beside the text (IP-Adapter); may be repeated."),
    ] = None,
    image_encoder: Annotated[
        str | None, _option("Folder of the image encoder of --image-prompt; the one beside it if left out.")
    ] = None,
    edit: Annotated[str | None, _option("Picture to start from.")] = None,
    strength: Annotated[
        float | None, _option("How far an edited picture goes back to noise, 0 to 1.")
    ] = None,
    mask: Annotated[str | None, _option("With --edit: white parts are painted anew.")] = None,
    scheduler: Annotated[
        str | None,
        _option("dpm++, dpm++-karras, ddim, euler, heun, lcm, ...; what the base says if left out."),
    ] = None,
    steps: Annotated[int | None, _option("Denoising steps.")] = None,
    seed: Annotated[int | None, _option("Seed, as in make.")] = None,
    count: Annotated[int | None, _option("How many pictures of that seed.", "--count", "--grid")] = None,
    as_make: Annotated[
        bool, _option("Add view and background words: the candidates that make draws.", "--as-make")
    ] = False,
    domain_strength: Annotated[
        float | None, _option("Factor on the domain's weight; 0 is the base alone.")
    ] = None,
    size: Annotated[
        str | None,
        _option("512 for a square, 512x768 for width and height; an edited picture keeps its own."),
    ] = None,
    lora_scale: Annotated[float | None, _option("Strength of a LoRA.")] = None,
    spec: Annotated[Path | None, _option("YAML file with the same settings, and complex conditions.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("pictures"),
    explain: Annotated[bool, _option("Say what would be computed, and draw nothing.", "--explain")] = False,
    low_memory: Annotated[bool, _option("Hold one network on the device at a time.", "--low-memory")] = False,
    allow_pickle: Annotated[bool, _option("Read pickled checkpoints.", "--allow-pickle")] = False,
    device: Annotated[str | None, _option("auto (the quickest here), cpu, cuda, cuda:N or mps.")] = None,
    dtype: Annotated[str | None, _option("auto, float32, bfloat16 or float16.")] = None,
    as_json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
    debug: Annotated[bool, _option("Show the traceback of an error.", "--debug")] = False,
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
