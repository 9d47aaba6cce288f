"""TripoSR: a picture's radiance field from one pass of a transformer (arXiv 2403.02151), by its released weights.

Its planes are asked directly, without a mesh in between; the field is turned to the picture (``facing``) as others are.
Code and weights of stabilityai/TripoSR are MIT; the network is written anew in ``triposr_network``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...configs.atomic import fingerprint
from ...configs.errors import BadInput
from ...configs.yaml_files import read_yaml
from ..field.shapes import PerPoint, Points
from ..images.foreground import on_ground
from ..models.identity import sha256_once
from ..models.reading import explained
from .facing import faced
from .table import LiftTask
from .triposr_network import TripoSR, current_names, vit_config
from .turned import Turned

CONFIG, WEIGHTS = "config.yaml", ("model.safetensors", "model.ckpt")
_GREY, _FOREGROUND = 0.5, 0.85  # the ground and the subject's share of the side in training
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class TripoSRField:
    """The planes of one picture as a radiance field in our frame: their camera's side, +X, is our front, -Y."""

    def __init__(self, network: TripoSR, planes: torch.Tensor) -> None:
        self._network, self._planes = network, planes

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._planes.device

    @torch.no_grad()
    def __call__(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] in [-1, 1]^3 -> density [N] per unit length, rgb [N, 3]."""
        theirs = torch.stack([-points[:, 1], points[:, 0], points[:, 2]], dim=1).to(self.device)
        stands_for, colour = self._network.query(self._planes, theirs)
        return stands_for / 2, colour  # the way through the box along an axis is 2 of our units


def lift_picture(task: LiftTask) -> Turned:
    """The first picture's field, in the common framing, turned to the picture.

    Raises:
        BadInput: the source is no folder of TripoSR's.
        SlipcastError: nothing solid came out.
    """
    network = load(task.source).to(task.device)
    shown = on_ground(task.pictures[0], _GREY, network.picture_size, _FOREGROUND)
    picture = torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        planes = network(picture.to(task.device))[0]
    return faced(TripoSRField(network, planes), task.pictures[0], task.elevation_rad)


def load(source: Path) -> TripoSR:
    """The network of a folder with config.yaml and model.ckpt (or model.safetensors), float32, frozen.

    The checkpoint is a pickle of tensors; torch reads it with ``weights_only``, which runs no code in it.

    Raises:
        BadInput: a file is missing or damaged, or the weights are of another network.
    """
    config_file, weight_file = _files(source)
    config = _resolved(read_yaml(config_file))
    with explained(weight_file.parent, "TripoSR"):
        weights = current_names(_read(weight_file))
        network = TripoSR(config, vit_config(weights))
        network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def source_identity(source: Path) -> str:
    """A hash of both files."""
    return fingerprint([sha256_once(path) for path in _files(source)])


def _files(source: Path) -> tuple[Path, Path]:
    folder = source.parent if source.is_file() else source
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG).is_file():
        raise BadInput(
            f"lift_model=triposr expects a folder with {CONFIG} and {' or '.join(WEIGHTS)}, as stabilityai/TripoSR has "
            f"them, not {folder}; `slipcast fetch triposr` downloads one"
        )
    return folder / CONFIG, weights


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _resolved(config: Any) -> Any:
    """A config with its references, ``${tokenizer.num_channels}``, replaced by what they name."""

    def looked_up(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: looked_up(one) for name, one in value.items()}
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        place = config
        for part in found[1].split("."):
            place = place[part]
        return place

    try:
        return looked_up(config)
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"TripoSR's config.yaml refers to {error}, which it does not hold; fetch it again"
        ) from error
