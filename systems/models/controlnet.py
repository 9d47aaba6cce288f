"""ControlNets by kind: which network goes with a base for canny, depth or normal, and the picture it follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...guidance.conditioning import Control
from ..images.control_maps import CONTROLS, control_picture
from .aliases import resolve
from .base import Base
from .precision import ready
from .reading import read_network

STARTER_CONTROLS = Path(__file__).resolve().parents[2] / "starter" / "weights"


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


def _usual(kind: str, base: Base) -> str:
    if base.name != "starter":
        return kind  # an alias of systems.sources
    folder = STARTER_CONTROLS / f"control-{kind}"
    if not folder.is_dir():
        here = [name for name in CONTROLS if (STARTER_CONTROLS / f"control-{name}").is_dir()]
        raise BadInput(f"the starter ships no ControlNet for {kind}; it has {', '.join(here) or 'none'}")
    return str(folder)


def _load(place: str, base: Base, allow_pickle: bool) -> Any:
    from diffusers import ControlNetModel

    where = resolve(place, allow_pickle=allow_pickle)
    network = base.predictor.network
    ours = read_network(ControlNetModel, where, "the ControlNet", allow_pickle=allow_pickle)
    shapes = ("block_out_channels", "cross_attention_dim", "in_channels")
    if any(ours.config.get(key) != network.config.get(key) for key in shapes):
        raise BadInput(f"the ControlNet {place} was made for another kind of base than {base.name!r}")
    device = str(network.device) if base.seat is None else base.seat.device
    return ready(ours, device, base.dtype, rest=base.seat and base.seat.rest)
