"""What becomes of the keys of variational score distillation, in either of the guidances that know it."""

from __future__ import annotations

from typing import Any

from .mapping import CONVERTED, NONE, REFUSED, TAKEN, Mapped, Rule, Verdict, ends, number

_GUIDANCE = "system.guidance"
VSD = "stable-diffusion-vsd-guidance"
UNIFIED = "stable-diffusion-unified-guidance"
_WEIGHTS = ("system.loss.lambda_lora", "system.loss.lambda_train_phi")
_TOLD = "the LoRA is told axes, place and field of view of the camera"


def is_variational(read: Mapped) -> bool:
    """Whether a file distils against a model of its own renders."""
    kind = read.value("system.guidance_type")
    return kind == VSD or (kind == UNIFIED and read.value(f"{_GUIDANCE}.guidance_type") == "vsd")


def _of_variational(rule: Rule) -> Rule:
    """A rule for keys that threestudio reads with this guidance alone."""
    return lambda read, key, value: (
        rule(read, key, value) if is_variational(read) else (NONE, "read by variational distillation alone")
    )


def _network(read: Mapped, key: str, value: Any) -> Verdict:
    if value == read.value(f"{_GUIDANCE}.pretrained_model_name_or_path"):
        return TAKEN, "the LoRA is in the base's own network"
    return NONE, "the LoRA is in the base's own network; no second one is loaded"


def _scale(read: Mapped, key: str, value: Any) -> Verdict:
    if number(read, key, value) == 1:
        return TAKEN, "the LoRA is asked with the prompt alone"
    return NONE, "the LoRA is asked with the prompt alone, which is a scale of 1"


def _dropping(read: Mapped, key: str, value: Any) -> Verdict:
    return (
        (NONE, "the LoRA is always told the camera: a scale of 1 asks nothing else") if value else (TAKEN, "")
    )


def _samples(read: Mapped, key: str, value: Any) -> Verdict:
    steps = int(number(read, key, value))
    told = read.put("refine.vsd_steps", steps)
    return (TAKEN, told) if steps == 1 else (CONVERTED, f"{told}, one after the other instead of one batch")


def _camera(read: Mapped, key: str, value: Any) -> Verdict:
    return (TAKEN if value == "extrinsics" else CONVERTED), _TOLD


def _with_camera(read: Mapped, key: str, value: Any) -> Verdict:
    return (TAKEN if value else NONE), _TOLD


def _with_lora(read: Mapped, key: str, value: Any) -> Verdict:
    if value:
        return TAKEN, ""
    return REFUSED, f"the renders are learned by a LoRA; give {key}=true"


def _rate(read: Mapped, key: str, value: Any) -> Verdict:
    rate = number(read, key, value)
    if any(read.value(name) == 0 for name in _WEIGHTS):
        return CONVERTED, read.put("refine.vsd_lr", 0.0)
    return TAKEN, read.put("refine.vsd_lr", rate)


def _lora_weight(read: Mapped, key: str, value: Any) -> Verdict:
    if ends(read, key, value)[1]:
        return (
            NONE,
            "Adam divides a factor on the whole loss out; refine.vsd_lr says how quickly the LoRA learns",
        )
    return CONVERTED, read.put("refine.vsd_lr", 0.0)


def _stage(read: Mapped, key: str, value: Any) -> Verdict:
    if value == "coarse":
        return TAKEN, "a field is refined, and the mesh made of it at the end"
    return REFUSED, "it goes on with weights of threestudio's; run the coarse stage's file"


VARIATIONAL_RULES: dict[str, Rule] = {
    "system.stage": _stage,
    "system.optimizer.params.guidance.lr": _of_variational(_rate),
    **{name: _of_variational(_lora_weight) for name in _WEIGHTS},
} | {
    f"{_GUIDANCE}.{name}": _of_variational(rule)
    for name, rule in {
        "pretrained_model_name_or_path_lora": _network,
        "guidance_scale_lora": _scale,
        "lora_cfg_training": _dropping,
        "lora_n_timestamp_samples": _samples,
        "camera_condition_type": _camera,
        "vsd_phi_model_name_or_path": _network,
        "vsd_guidance_scale_phi": _scale,
        "vsd_use_lora": _with_lora,
        "vsd_lora_cfg_training": _dropping,
        "vsd_lora_n_timestamp_samples": _samples,
        "vsd_use_camera_condition": _with_camera,
        "vsd_camera_condition_type": _camera,
    }.items()
}
"""By dotted name."""
