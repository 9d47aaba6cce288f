"""ControlNets by kind: which network goes with a base for canny, depth or normal, and the picture it follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput, SlipcastError
from ...guidance.conditioning import Control
from ..images.control_maps import CONTROLS, control_picture
from .aliases import resolve
from .base import Base
from .precision import quiet_libraries, ready
from .weight_files import variant_of

STARTER_CONTROLS = Path(__file__).resolve().parents[2] / "starter" / "weights"


def load_controls(
    wanted: Sequence[str], base: Base, *, size: int, scale: float = 1.0, allow_pickle: bool = False
) -> tuple[Control, ...]:
    """Controls written as ``kind:picture`` or ``kind:picture:network``.

    Args:
        wanted: kind is canny, depth or normal; network an alias, hub id or folder, chosen by kind if left out.
    Raises: BadInput for an unknown kind, a missing picture or network, or a network of another base.
    """
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
    device = str(network.device) if base.seat is None else base.seat.device
    try:
        with quiet_libraries():
            safe = None if allow_pickle else True
            control: Any = ControlNetModel.from_pretrained(
                where, variant=variant_of(where), use_safetensors=safe
            )
            control = control.requires_grad_(False).eval()
            control = ready(control, device, base.dtype, rest=base.seat and base.seat.rest)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SlipcastError(f"the ControlNet in {where} cannot be read ({reason})") from error
    ours, theirs = control.config, network.config
    if (ours.block_out_channels, ours.cross_attention_dim, ours.in_channels) != (
        theirs.block_out_channels,
        theirs.cross_attention_dim,
        theirs.in_channels,
    ):
        raise BadInput(f"the ControlNet {place} was made for another kind of base than {base.name!r}")
    return control
