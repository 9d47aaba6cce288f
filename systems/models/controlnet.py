"""ControlNets by kind: which network goes with a base for canny, depth or normal, and the picture it follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...guidance.conditioning import Control
from ..images.control_maps import control_picture
from .aliases import resolve
from .base import Base
from .known import SHIPPED, WEIGHTS
from .precision import ready
from .reading import read_network


def load_controls(
    wanted: Sequence[str], base: Base, *, size: int, scale: float = 1.0, allow_pickle: bool = False
) -> tuple[Control, ...]:
    """Controls written as ``kind:picture`` or ``kind:picture:network``.

    Args:
        wanted: kind is canny, depth or normal; network an alias, hub id or folder, chosen by kind if left out.
    Raises: BadInput for an unknown kind, a missing picture or network, or a network of another base.
    """
    if wanted and not hasattr(base.pipeline, "unet"):
        raise BadInput(
            f"{base.name!r} draws classes, and there are no ControlNets for such models; leave --control out"
        )
    found, networks = [], dict[str, Any]()
    for text in wanted:
        kind, _, rest = text.partition(":")
        picture, _, network = rest.partition(":")
        if not picture:
            raise BadInput(f"--control expects kind:picture, such as canny:edges.png, not {text!r}")
        shown = control_picture(kind, Path(picture), size)
        place = network or _usual(kind, base)
        if place not in networks:
            networks[place] = _load(place, base, allow_pickle)
        found.append(Control(networks[place], shown, scale))
    return tuple(found)


def control_network(kind: str, base: Base, *, allow_pickle: bool = False) -> Any:
    """The ControlNet that goes with a base for one kind. BadInput where there is none, or it is not downloaded."""
    if not hasattr(base.pipeline, "unet"):
        raise BadInput(f"{base.name!r} draws classes, and there are no ControlNets for such models")
    return _load(_usual(kind, base), base, allow_pickle)


def _usual(kind: str, base: Base) -> str:
    shipped = SHIPPED["base"].get(base.name)
    if shipped is None:
        return kind  # an alias
    if kind not in shipped.controls:
        raise BadInput(
            f"the {base.name} ships no ControlNet for {kind}; it has {', '.join(shipped.controls) or 'none'}"
        )
    return str(WEIGHTS / shipped.controls[kind])


def _load(place: str, base: Base, allow_pickle: bool) -> Any:
    from diffusers import ControlNetModel

    where = resolve(place, allow_pickle=allow_pickle)
    network = base.predictor.network
    ours = read_network(ControlNetModel, where, "the ControlNet", allow_pickle=allow_pickle)
    shapes = ("block_out_channels", "cross_attention_dim", "in_channels")
    if any(ours.config.get(key) != network.config.get(key) for key in shapes):
        raise BadInput(f"the ControlNet {place} was made for another kind of base than {base.name!r}")
    device = str(network.device) if base.offload is None else base.offload.device
    return ready(ours, device, base.dtype, rest=base.offload and base.offload.rest)
