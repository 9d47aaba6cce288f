"""Where a build begins that goes on from trained weights: an earlier starter, laid into its folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from ..systems.models.shipped import check_hashes

EARLIER = "earlier"
EARLIER_CODEC = f"{EARLIER}/prior/vae"


def begin_from(weights: Path, out: Path, steps: Collection[str]) -> None:
    """Lay a starter's codec into a build folder, and its prior and lift, where they are trained, as checkpoints.

    A codec that is trained further keeps its encoder, since everything else lives in its latents.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from ..systems.lift.starter import LiftNetwork
    from ..systems.models.precision import quiet_libraries
    from ..systems.training.checkpoints import begin_from as begin_training

    check_hashes(weights / "prior")
    check_hashes(weights / "lift")
    for folder in (out / "codec", out / EARLIER_CODEC):
        shutil.copytree(weights / "prior/vae", folder, dirs_exist_ok=True)
    with quiet_libraries():
        if "prior" in steps:
            unet = UNet2DConditionModel.from_pretrained(weights / "prior/unet")
            text_encoder = CLIPTextModel.from_pretrained(weights / "prior/text_encoder")
            begin_training({"unet": unet, "text_encoder": text_encoder}, out / "train/prior")
        if "lift" in steps:
            begin_training({"lift": LiftNetwork.from_pretrained(weights / "lift")}, out / "train/lift")


def keep_the_rest(weights: Path, out: Path, steps: Collection[str]) -> None:
    """Lay all of a starter into a build folder whose steps go on by themselves: the domain as its own beginning."""
    from ..systems.domain.learning import begin_from_domain

    if not (out / "weights").exists():
        shutil.copytree(weights, out / "weights")
    for part in ("prior", "domain"):
        shutil.copytree(weights / part, out / EARLIER / part, dirs_exist_ok=True)
    if "domain" in steps:
        begin_from_domain(weights / "domain", out / "train/domain")
