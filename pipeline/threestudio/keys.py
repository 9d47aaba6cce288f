"""What becomes of each key of a configuration of threestudio; those that are in no table have no counterpart."""

from __future__ import annotations

from typing import Any

from .guidance_keys import GUIDANCE_RULES, weight
from .mapping import (
    CONVERTED,
    NONE,
    REFUSED,
    TAKEN,
    Mapped,
    Rule,
    Verdict,
    ends,
    file_of,
    number,
    over_steps,
    text,
)  # fmt: skip

_DIFFUSE = 0.75  # of threestudio's material, where a file does not say
_LATENT_NUMBERS = 4 * 64 * 64  # over which threestudio adds up, and refinement takes the mean
_SYSTEMS = (
    "dreamfusion-system",
    "efficient-dreamfusion-system",
    "magic3d-system",
    "image-condition-dreamfusion-system",
    "prolificdreamer-system",
)
_DISTILLED = ("sds", "vsd", "sd")
"""Losses of score distillation, of which a guidance has one."""


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
    """A loss that is a mean in both, but stands beside score distillation that is a sum there."""

    def rule(read: Mapped, key: str, value: Any) -> Verdict:
        mine = next((one for one in _DISTILLED if f"system.loss.lambda_{one}" in read.leaves), "sds")
        sds = ends(read, key, read.value(f"system.loss.lambda_{mine}", 1.0))[1]
        if not sds:
            return TAKEN, read.put(name, over_steps(read, key, value))
        told = read.put(name, over_steps(read, key, value, 1 / (sds * _LATENT_NUMBERS)))
        return (
            CONVERTED,
            f"{told}, over lambda_{mine} and the {_LATENT_NUMBERS} numbers of a latent, whose mean is taken here",
        )

    return rule


def _sds(read: Mapped, key: str, value: Any) -> Verdict:
    told = read.put("refine.distillation_weight", 1.0 if ends(read, key, value)[1] else 0.0)
    return CONVERTED, f"{told}; the other weights are taken over this one"


def _steps(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("refine.steps", int(number(read, key, value)))


def _every(read: Mapped, key: str, value: Any) -> Verdict:
    steps = int(number(read, key, value))
    return (
        (TAKEN, read.put("refine.checkpoint_every", steps))
        if steps > 0
        else (NONE, "there are always checkpoints")
    )


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


def _material(read: Mapped, key: str, value: Any) -> Verdict:
    if value == "diffuse-with-point-light-material":
        return CONVERTED, read.put("refine.light", "point")
    return (TAKEN, "colours are unlit") if value == "no-material" else (NONE, "colours are unlit here")


def _unlit(read: Mapped, key: str, value: Any) -> Verdict:
    steps = int(number(read, key, value))
    share = ends(read, key, read.value("system.material.diffuse_prob", _DIFFUSE))[1]
    if steps < 1:
        return TAKEN, read.put("refine.light_share", share)
    return CONVERTED, read.put("refine.light_share", [steps - 1, 0.0, share, steps])


def _lit(read: Mapped, key: str, value: Any) -> Verdict:
    if "system.material.ambient_only_steps" in read.leaves:
        return TAKEN, "in refine.light_share"
    return TAKEN, read.put("refine.light_share", over_steps(read, key, value))


def _textureless(read: Mapped, key: str, value: Any) -> Verdict:
    return TAKEN, read.put("refine.textureless_share", over_steps(read, key, value))


RULES: dict[str, Rule] = {
    **GUIDANCE_RULES,
    "seed": _seed,
    "resume": _checkpoint,
    "data_type": _data,
    "data.batch_size": _views,
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
    **{f"system.loss.lambda_{name}": _sds for name in _DISTILLED},
    "system.loss.lambda_rgb": _against_sds("refine.anchor_rgb_weight"),
    "system.loss.lambda_mask": _against_sds("refine.anchor_alpha_weight"),
    "system.loss.lambda_sparsity": _against_sds("refine.sparsity_weight"),
    "system.loss.lambda_opaque": _against_sds("refine.opaqueness_weight"),
    "system.loss.lambda_orient": _against_sds("refine.orientation_weight"),
    "system.loss.lambda_normal_smooth": _against_sds("refine.normal_smoothness_weight"),
    "system.material_type": _material,
    "system.material.ambient_only_steps": _unlit,
    "system.material.diffuse_prob": _lit,
    "system.material.textureless_prob": _textureless,
    "system.optimizer.name": _optimizer,
    "system.exporter.fmt": _format,
    "system.exporter.texture_size": _texels,
    "trainer.max_steps": _steps,
    "checkpoint.every_n_train_steps": _every,
}
"""By dotted name."""


def rule_for(key: str) -> Rule | None:
    """What leads a key to ours; None where there is nothing that it could be led to."""
    if key.startswith("system.guidance.weights."):
        return weight
    # Cameras of a single-image file stand in a group of their own and are called as elsewhere.
    return RULES.get(key) or RULES.get(key.replace("data.random_camera.", "data.", 1))


_WHY_NOT = {
    "name": "runs are named after their prompt and seed",
    "tag": "runs are named after their prompt and seed",
    "exp_root_dir": "--out names the folder of runs",
    "data.": "cameras and framing are those of the lifted picture",
    "data.light": "the lamp of refine.light=point has a law of its own",
    "data.requires": "depth and normals of the picture are not compared",
    "system.geometry.": "belongs to its field; refine.resolution is the grid's",
    "system.material": "belongs to its material",
    "system.background": "plain backgrounds are drawn from a list, and told to the denoiser",
    "system.renderer": "refine.samples of each ray lie close to matter",
    "system.guidance.weighting_strategy": "refinement weighs by sigma",
    "system.guidance.": "belongs to its guidance",
    "system.prompt_processor.": "belongs to its reader of prompts",
    "system.loss.lambda_3d_normal": "normals are smoothed where they are seen, refine.normal_smoothness_weight",
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
