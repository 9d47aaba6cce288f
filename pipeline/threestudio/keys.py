"""What becomes of each key of a configuration of threestudio; those that are in no table have no counterpart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...systems.models.aliases import MOVED
from ...systems.models.known import ALIASES
from .mapping import CONVERTED, NONE, REFUSED, TAKEN, Mapped, ends, file_of, number, text

Verdict = tuple[str, str]
Rule = Callable[[Mapped, str, Any], Verdict]

_LATENT_NUMBERS = 4 * 64 * 64  # over which threestudio adds up, and refinement takes the mean
_NETWORK_SEES = 512  # pixels that threestudio's renders are scaled to before they are encoded
_SYSTEMS = (
    "dreamfusion-system",
    "efficient-dreamfusion-system",
    "magic3d-system",
    "image-condition-dreamfusion-system",
)
_GUIDANCE = "system.guidance"
_GUIDANCES = {
    "stable-diffusion-guidance": 1.0,  # the text + s (text - null)
    "stable-diffusion-unified-guidance": 0.0,  # null + s (text - null)
    "slipcast-multi-guidance": 1.0,  # counts as the first does
}
"""Those that can be led to a recipe, and what is added to their scale for our weight."""
_STRANGERS = {
    "vsd": "variational score distillation trains a second network beside the field",
    "sdi": "score distillation via inversion draws its noise by an inversion of its own",
    "floyd": "DeepFloyd's networks on pixels are none that slipcast reads",
    "zero123": "Zero123's networks, told a picture and a turn, are none that slipcast reads",
    "controlnet": "refinement looks from all sides, and a ControlNet's picture from one",
    "instructpix2pix": "editing networks are none that slipcast reads",
}


def _system(read: Mapped, key: str, value: Any) -> Verdict:
    if value in _SYSTEMS:
        return (
            CONVERTED,
            "stages image, lift, refine, mesh, paint, export; the field begins as a lifted picture",
        )
    return REFUSED, f"the systems that have a counterpart are {', '.join(_SYSTEMS)}"


def _data(read: Mapped, key: str, value: Any) -> Verdict:
    if value in ("random-camera-datamodule", "eff-random-camera-datamodule"):
        return CONVERTED, "refinement's cameras, evenly around the object from a random azimuth"
    if value == "single-image-datamodule":
        return CONVERTED, "your picture is cut out, lifted, and anchors refinement"
    return REFUSED, "pictures of several cameras have no counterpart; give one picture, or a prompt"


def _guidance(read: Mapped, key: str, value: Any) -> Verdict:
    # Without a domain beside the base both recipes are this one; said, so that a domain may be put beside it.
    if value == "slipcast-multi-guidance":
        return (
            CONVERTED,
            "its server knows models and recipe; here base=, domain= and refine.recipe= name them",
        )
    if value in _GUIDANCES:
        told = [read.put("image.recipe", "cfg"), read.put("refine.recipe", "cfg")]
        told.append(read.put("refine.size", _NETWORK_SEES))
        return (
            CONVERTED,
            f"{', '.join(told)} (its renders are scaled to {_NETWORK_SEES} pixels, ours are that size)",
        )
    why = next((why for name, why in _STRANGERS.items() if name in str(value)), "it is not known here")
    return REFUSED, f"{why}; give system.guidance_type=stable-diffusion-guidance for plain score distillation"


def _kind(read: Mapped, key: str, value: Any) -> Verdict:
    return (TAKEN, "") if value == "sds" else (REFUSED, _STRANGERS["vsd"])


def _base(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    hub_id = MOVED.get(said, said)
    alias = next((name for name, one in ALIASES.items() if one.hub_id == hub_id and not one.files), said)
    told = read.put("base", alias)
    return (CONVERTED if alias != said else TAKEN), told


def _scale(read: Mapped, key: str, value: Any) -> Verdict:
    kind = str(read.value("system.guidance_type"))
    more = 0.0 if read.value("system.prompt_processor.use_perp_neg") else _GUIDANCES.get(kind, 0.0)
    told = read.put("refine.text_weight", ends(read, key, value)[1] + more)
    return (CONVERTED, f"{told} (null + w (text - null))") if more else (TAKEN, told)


def _weights(read: Mapped, key: str, value: Any) -> Verdict:
    name = key.rpartition(".")[2]
    weights = read.settings.setdefault("refine.weights", {})
    weights[name] = ends(read, key, value)[1]
    return TAKEN, f"refine.weights={weights}"


def _t_min(read: Mapped, key: str, value: Any) -> Verdict:
    first, last = ends(read, key, value)
    return (TAKEN if first == last else CONVERTED), read.put("refine.t_min", min(first, last))


def _t_max(read: Mapped, key: str, value: Any) -> Verdict:
    first, last = ends(read, key, value)
    told = f"{read.put('refine.t_max', first)} {read.put('refine.t_max_end', last)}"
    return (TAKEN, told) if first == last else (CONVERTED, f"{told}, linear over all steps")


def _clip(read: Mapped, key: str, value: Any) -> Verdict:
    first, last = ends(read, key, value)
    told = read.put("refine.grad_clamp", max(first, last))
    return (TAKEN, told) if first == last else (CONVERTED, f"{told}, the largest of its schedule")


def _prompt(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    if said.startswith("lib:"):
        return REFUSED, "threestudio's library of prompts does not come along; write the prompt out"
    read.prompt = said
    return TAKEN, "prompt"


def _negative(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    return (TAKEN, read.put("refine.negative", [said])) if said else (TAKEN, "none")


def _reader(read: Mapped, key: str, value: Any) -> Verdict:
    return CONVERTED, "the base reads prompts itself"


def _perp_neg(read: Mapped, key: str, value: Any) -> Verdict:
    return (NONE, "Perp-Neg between views; here each view is told its own words") if value else (TAKEN, "off")


def _view_words(read: Mapped, key: str, value: Any) -> Verdict:
    return (
        (TAKEN, "each view is told its own words") if value else (NONE, "views are always told their words")
    )


def _seed(read: Mapped, key: str, value: Any) -> Verdict:
    if not isinstance(value, int) or isinstance(value, bool):
        number(read, key, value)
        return REFUSED, "a seed is a whole number"
    read.seed = value
    return TAKEN, "seed"


def _views(read: Mapped, key: str, value: Any) -> Verdict:
    last = value[-1] if isinstance(value, list) and value else value
    told = read.put("refine.views", int(number(read, key, last)))
    return (TAKEN, told) if last == value else (CONVERTED, f"{told}, the last of its milestones")


def _pixels(read: Mapped, key: str, value: Any) -> Verdict:
    if read.value("system.guidance_type") == "slipcast-multi-guidance":
        return NONE, "renders have the size that the network sees: refine.size"
    return CONVERTED, f"renders have the size that the network sees: refine.size={_NETWORK_SEES}"


def _elevations(read: Mapped, key: str, value: Any) -> Verdict:
    if not isinstance(value, list) or len(value) != 2:
        return REFUSED, "elevation_range is two angles in degrees"
    cut = [min(max(number(read, key, one), -89.0), 89.0) for one in value]
    told = [
        read.put(f"refine.elevation_{end}_deg", one) for end, one in zip(("min", "max"), cut, strict=True)
    ]
    return (TAKEN if cut == value else CONVERTED), " ".join(told)


def _image(read: Mapped, key: str, value: Any) -> Verdict:
    read.inputs["image"] = file_of(read, key, value)
    return TAKEN, "inputs: {image: ...}"


def _elevation(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("image.elevation_deg", number(read, key, value))


def _against_sds(name: str) -> Rule:
    """A squared error of the picture's view: a mean in both, but beside score distillation that is a sum there."""

    def rule(read: Mapped, key: str, value: Any) -> Verdict:
        sds = ends(read, key, read.value("system.loss.lambda_sds", 1.0))[1]
        if not sds:
            return TAKEN, read.put(name, ends(read, key, value)[1])
        told = read.put(name, float(f"{ends(read, key, value)[1] / (sds * _LATENT_NUMBERS):.4g}"))
        return (
            CONVERTED,
            f"{told}, over lambda_sds and the {_LATENT_NUMBERS} numbers of a latent, whose mean is taken here",
        )

    return rule


def _sds(read: Mapped, key: str, value: Any) -> Verdict:
    told = read.put("refine.distillation_weight", 1.0 if ends(read, key, value)[1] else 0.0)
    return CONVERTED, f"{told}; the other weights are taken over this one"


def _steps(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("refine.steps", int(number(read, key, value)))


def _every(read: Mapped, key: str, value: Any) -> Verdict:
    steps = int(number(read, key, value))
    return (TAKEN, read.put("refine.checkpoint_every", steps)) if steps > 0 else (NONE, "there are always checkpoints")


def _optimizer(read: Mapped, key: str, value: Any) -> Verdict:
    return (TAKEN, "refinement uses it") if value == "Adam" else (NONE, "refinement uses Adam")


def _geometry(read: Mapped, key: str, value: Any) -> Verdict:
    return CONVERTED, "refine.field=voxels, a dense grid of density and colour"


def _shape(read: Mapped, key: str, value: Any) -> Verdict:
    said = text(read, key, value)
    if not said.startswith("mesh:"):
        return NONE, "the field begins as a lifted picture"
    read.inputs["lift"] = file_of(read, key, said.removeprefix("mesh:"))
    return CONVERTED, "inputs: {lift: ...}, whose colours come along"


def _isosurface(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("mesh.resolution", int(number(read, key, value)))


def _threshold(read: Mapped, key: str, value: Any) -> Verdict:
    return (
        (TAKEN, read.put("mesh.threshold", "auto"))
        if value == "auto"
        else (NONE, "densities have another scale here")
    )


def _format(read: Mapped, key: str, value: Any) -> Verdict:
    told = read.put("export.formats", ["obj"])
    return CONVERTED, f"{told}, with normals and a texture; +Y is up in it"


def _texels(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("mesh.texture_size", int(number(read, key, value)))


def _checkpoint(read: Mapped, key: str, value: Any) -> Verdict:
    return (
        REFUSED,
        "weights of threestudio's are not read here; export the mesh there and give inputs: {lift: mesh.obj}",
    )


def _refinement(read: Mapped, key: str, value: Any) -> Verdict:
    if not value:
        return TAKEN, "off"
    return REFUSED, "a second stage goes on with weights of threestudio's; run its first stage's file"


RULES: dict[str, Rule] = {
    "seed": _seed,
    "resume": _checkpoint,
    "data_type": _data,
    "data.batch_size": _views,
    "data.width": _pixels,
    "data.height": _pixels,
    "data.elevation_range": _elevations,
    "data.image_path": _image,
    "data.default_elevation_deg": _elevation,
    "system_type": _system,
    "system.weights": _checkpoint,
    "system.geometry_convert_from": _checkpoint,
    "system.refinement": _refinement,
    "system.geometry_type": _geometry,
    "system.geometry.shape_init": _shape,
    "system.geometry.isosurface_resolution": _isosurface,
    "system.geometry.isosurface_threshold": _threshold,
    "system.prompt_processor_type": _reader,
    "system.prompt_processor.pretrained_model_name_or_path": _reader,
    "system.prompt_processor.prompt": _prompt,
    "system.prompt_processor.negative_prompt": _negative,
    "system.prompt_processor.use_perp_neg": _perp_neg,
    "system.guidance_type": _guidance,
    f"{_GUIDANCE}.guidance_type": _kind,
    f"{_GUIDANCE}.pretrained_model_name_or_path": _base,
    f"{_GUIDANCE}.guidance_scale": _scale,
    f"{_GUIDANCE}.min_step_percent": _t_min,
    f"{_GUIDANCE}.max_step_percent": _t_max,
    f"{_GUIDANCE}.grad_clip": _clip,
    f"{_GUIDANCE}.view_dependent_prompting": _view_words,
    "system.loss.lambda_sds": _sds,
    "system.loss.lambda_rgb": _against_sds("refine.anchor_rgb_weight"),
    "system.loss.lambda_mask": _against_sds("refine.anchor_alpha_weight"),
    "system.optimizer.name": _optimizer,
    "system.exporter.fmt": _format,
    "system.exporter.texture_size": _texels,
    "trainer.max_steps": _steps,
    "checkpoint.every_n_train_steps": _every,
}
"""By dotted name."""


def rule_for(key: str) -> Rule | None:
    """What leads a key to ours; None where there is nothing that it could be led to."""
    if key.startswith(f"{_GUIDANCE}.weights."):
        return _weights
    # Cameras of a single-image file stand in a group of their own and are called as elsewhere.
    return RULES.get(key) or RULES.get(key.replace("data.random_camera.", "data.", 1))


_WHY_NOT = {
    "name": "runs are named after their prompt and seed",
    "tag": "runs are named after their prompt and seed",
    "exp_root_dir": "--out names the folder of runs",
    "data.": "cameras and framing are those of the lifted picture",
    "data.light": "colours are unlit here",
    "data.requires": "depth and normals of the picture are not compared",
    "system.geometry.": "belongs to its field; refine.resolution is the grid's",
    "system.material": "colours are unlit here",
    "system.background": "plain backgrounds are drawn from a list, and told to the denoiser",
    "system.renderer": "refine.samples of each ray lie close to matter",
    "system.guidance.weighting_strategy": "refinement weighs by sigma",
    "system.guidance.": "belongs to its guidance",
    "system.prompt_processor.": "belongs to its reader of prompts",
    "system.loss.lambda_opaque": "refine.indecision_weight is alike",
    "system.loss.lambda_orient": "there are no normals in refinement",
    "system.loss.lambda_normal": "there are no normals in refinement",
    "system.loss.": "refine.drift_weight, tv_weight and tv_color_weight hold shape and colours",
    "system.optimizer.": "steps are for its field; refine.lr_density and lr_color are for the grid",
    "system.freq": "refine.anchor_every says how often the picture is compared",
    "system.exporter": "belongs to its exporter",
    "trainer.": "belongs to its trainer",
    "checkpoint.": "belongs to its trainer",
}


def why_not(key: str) -> str:
    """Why a key has no counterpart, or what is next to it here."""
    found = [
        name for name in _WHY_NOT if key == name or (key.startswith(name) and name not in ("name", "tag"))
    ]
    return _WHY_NOT[max(found, key=len)] if found else ""
