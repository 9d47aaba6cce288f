"""Settings of ``slipcast image``: a YAML file (``--spec``) and command-line options fill the same typed fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .controls import control_text
from .errors import BadInput
from .image_prompts import image_prompt_text
from .paths import given_path
from .schema import ExtraCondition, setting
from .strengths import with_home
from .typed import build
from .yaml_files import read_yaml


@dataclass
class PictureConfig:
    """What ``slipcast image`` draws, and how."""

    prompt: str = setting("", "What to draw; for DiT the name or number of a class.")
    as_make: bool = setting(False, "Add the words of one subject before a plain background, as make does.")
    view: str | None = setting(None, "With as_make: view words; null is what base and domain say.")
    background: str | None = setting(
        None, "With as_make: background words; null is what base and domain say."
    )
    recipe: str = setting("in_domain", "Which guidance: a name of guidance.recipes.RECIPES.")
    base: str = setting(
        "starter",
        "The frozen prior: an alias, a hub id, a folder in diffusers' layout or a .safetensors checkpoint.",
    )
    vae: str | None = setting(
        None, "Another autoencoder in the place of the base's own: a folder or a .safetensors file."
    )
    domain: str | None = setting(
        None,
        "The domain: starter, or a folder that was learned; none for none, null for the base's own if it has one.",
    )
    model: str | None = setting(None, "A custom model of the base: LoRA, checkpoint or domain.")
    negative: list[str] = setting([], "Prompts to stay away from.")
    wanted: dict[str, float] = field(default_factory=dict)
    """Further prompts that must hold too, with their weights (recipe composable)."""
    unwanted: dict[str, float] = field(default_factory=dict)
    """Prompts that must not hold, with their weights (recipe composable)."""
    conditions: dict[str, ExtraCondition] = field(default_factory=dict)
    """Further conditions by name (in_domain, composable): prompts, models and controls of their own."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of the recipe's terms by name; what is left out keeps the recipe's default."""
    until: dict[str, float] = field(default_factory=dict)
    """Noise fraction up to which a term is on, by name (guidance interval); 1 is always on."""
    since: dict[str, float] = field(default_factory=dict)
    """Noise fraction from which up a term is on, by name; 0 is always on."""
    guidance_rescale: float = setting(
        0.0,
        "How much of the contrast of the prompt's own prediction the guided one is given, against burnt colours.",
        at_least=0,
        at_most=1,
    )
    embedded_guidance: float | None = setting(
        None,
        "Guidance weight that a network with guidance inside is told; null is 8.5 for LCM and 3.5 for Flux.",
    )
    domain_strength: float = setting(1.0, "Factor on the domain's weight; 0 is the base alone.", at_least=0)
    balance: float | None = setting(
        None, "Total weight to share between domain and text by the length of their differences."
    )
    control: list[str] = setting(
        [],
        "Spatial controls, KIND:PICTURE[:NETWORK][:SCALE][:OPTION=...], such as canny:edges.png:0.8:end=0.6.",
    )
    control_scale: float = setting(1.0, "Factor on all residuals of the controls.")
    control_start: float = setting(
        0.0,
        "Share of the sampler's steps before the controls are heard.",
        at_least=0,
        at_most=1,
    )
    control_end: float = setting(
        1.0,
        "Share of the sampler's steps after which the controls are heard no more.",
        at_least=0,
        at_most=1,
    )
    control_branches: str = setting(
        "text",
        "Which branches hear the controls: text is those of the prompt, all is every one that reads text.",
        choices=("text", "all"),
    )
    lora_scale: float = setting(1.0, "Strength of a LoRA given as model.")
    loras: list[str] = setting(
        [],
        "LoRAs in the base itself, whatever the recipe, each FILE or FILE:strength, such as [style.safetensors:0.8].",
    )
    embeddings: list[str] = setting(
        [], "Textual-inversion embeddings, each FILE or FILE:word, such as ['cat.safetensors:<cat>']."
    )
    image_prompt: list[str] = setting(
        [],
        "Pictures that the prompt's branches see beside the text (IP-Adapter), each PICTURE[:NETWORK][:SCALE].",
    )
    image_encoder: str | None = setting(
        None, "Folder of the image encoder of image_prompt; null is the one beside the adapter."
    )
    edit: str | None = setting(None, "Picture to start from (SDEdit).")
    strength: float = setting(
        0.6,
        "How much of the way back to noise an edited picture goes, above 0 to 1.",
        at_least=1e-6,
        at_most=1,
    )
    mask: str | None = setting(None, "Picture whose white parts are painted anew, black parts kept.")
    scheduler: str | None = setting(
        None, "Sampler: a name of guidance.schedulers.SCHEDULERS; what base and domain say if left out."
    )
    steps: int = setting(25, "Denoising steps.", at_least=1, at_most=1000)
    seed: int = setting(0, "Seed of the pictures, as in make.", at_least=0, at_most=2**63 - 1)
    count: int = setting(4, "How many pictures: the first candidates of that seed.", at_least=1, at_most=256)
    size: str | None = setting(
        None,
        "Pixels: 512 for a square, 512x768 for width and height; null is the model's own, or an edited picture's.",
    )
    device: str = setting(
        "auto", "Where the networks compute: auto (the quickest here), cpu, cuda, cuda:N or mps."
    )
    dtype: str = setting(
        "auto",
        "What the networks compute in; auto is bfloat16 where the hardware multiplies it.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )


OF_MODELS = (
    "base", "vae", "domain", "model", "lora_scale", "loras", "embeddings", "image_prompt", "image_encoder",
    "embedded_guidance", "domain_strength", "device", "dtype",
)  # fmt: skip
"""Settings of models, which have the same name here and in ``MakeConfig``."""
_OTHERWISE = {"count": "candidates"}
_NOT_OF_MAKE = ("prompt", "seed", "as_make")


def make_settings(spec: Path) -> tuple[dict[str, Any], str | None, int | None]:
    """What a YAML file of ``slipcast image`` says, as settings of ``make``; and its prompt and seed, if it has them.

    Raises: BadInput as ``picture_config``.
    """
    config = picture_config(spec, {})
    settings: dict[str, Any] = {}
    written = read_yaml(given_path(spec, "--spec"))
    for name in written:
        if name in OF_MODELS:
            settings[name] = getattr(config, name)
        elif name not in _NOT_OF_MAKE:
            value = getattr(config, name)
            told = {own: vars(one) for own, one in value.items()} if name == "conditions" else value
            settings.setdefault("image", {})[_OTHERWISE.get(name, name)] = told
    return settings, config.prompt or None, config.seed if "seed" in written else None


_PATHS = ("base", "vae", "domain", "model", "image_encoder", "edit", "mask")


def picture_config(spec: Path | None, given: Mapping[str, Any]) -> PictureConfig:
    """The settings of a YAML file, if there is one, and over them what was given on the command line.

    Wherever a setting comes from, it passes the same checks.

    Raises: BadInput for an unreadable file, an unknown setting (with the nearest one), a wrong type, a number that
        is out of range or not finite, or a path that no disk can hold.
    """
    layers: list[tuple[str, Mapping[Any, Any]]] = [("the command line", given)]
    if spec is not None:
        path = given_path(spec, "--spec")
        if not path.is_file():
            raise BadInput(f"there is no file {path}; --spec expects a YAML file")
        layers.insert(0, (str(spec), read_yaml(path)))
    config = build(PictureConfig, layers)
    for word, ends in (("until", config.until), ("since", config.since)):
        for name, value in ends.items():
            if not 0 <= value <= 1:
                raise BadInput(f"{word} {name} lies between 0 and 1, not {value}")
    _check_paths(config)
    return config


def _check_paths(config: PictureConfig) -> None:
    """Every path is checked, and ``~`` is filled in."""
    config.loras = [with_home(text, "--lora") for text in config.loras]
    config.embeddings = [_path(text, "--embedding") for text in config.embeddings]
    for owner in (config, *config.conditions.values()):
        for name in _PATHS:
            value = getattr(owner, name, None)
            if isinstance(value, str):
                setattr(owner, name, _path(value, f"--{name}"))
        for i, text in enumerate(owner.control):
            told = control_text(text)
            paths = ("picture", "network", "find")
            owner.control[i] = str(
                replace(told, **{one: _path(getattr(told, one), "--control") for one in paths})
            )
        for i, text in enumerate(owner.image_prompt):
            told = image_prompt_text(text)
            picture, network = (_path(place, "--image-prompt") for place in (told.picture, told.network))
            owner.image_prompt[i] = str(replace(told, picture=picture, network=network))


def _path(text: str, option: str) -> str:
    path = given_path(text, option)
    return str(path) if text.startswith("~") else text  # a hub id, an alias, or a path as it was written


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of a size as people write it: ``512`` is a square, ``512x768`` is 512 wide and 768 high.

    Raises: BadInput when it is no such size.
    """
    sides = text.lower().replace("\u00d7", "x").split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() and 0 < len(side.strip()) < 6 for side in sides):
        raise BadInput(f"--size expects pixels such as 512 or 512x768 (width x height), not {text!r}")
    width, height = int(sides[0]), int(sides[-1])
    if not (width and height):
        raise BadInput(f"--size expects pixels above 0, not {text!r}")
    return height, width


def parse_weights(pairs: list[str], option: str) -> dict[str, float]:
    """``name=number`` pairs of the command line.

    Raises: BadInput when one is not such a pair, or the number is not finite.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not equals or not name or not abs(value) < float("inf"):
            raise BadInput(f"{option} expects name=number, such as domain=3.5, not {pair!r}")
        found[name] = value
    return found
