"""ControlNets by kind: which network goes with a base for canny, depth, ..., and the picture it follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.controls import ControlText, control_text
from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...guidance.conditioning import Control
from ..images.control_maps import CONTROLS, control_picture
from ..images.files import Size
from .aliases import resolve
from .base import Base
from .known import SHIPPED, WEIGHTS
from .precision import ready
from .reading import read_network


def load_controls(
    wanted: Sequence[str],
    base: Base,
    *,
    size: Size,
    scale: float = 1.0,
    heard: Callable[[ControlText], tuple[float, float]] = lambda told: (0.0, 1.0),
    allow_pickle: bool = False,
) -> tuple[Control, ...]:
    """Controls written as ``kind:picture[:network][:scale][:option=...]``.

    Args:
        wanted: kind is one of ``CONTROLS``; network an alias, hub id or folder, chosen by kind if left out.
        size: pixels of a square, or (height, width).
        scale: factor on all residuals, beside each control's own.
        heard: from one of them to the noise fractions t / T, from and up to which it is.
    Raises: BadInput for an unknown kind, a missing picture or network, or a network of another base.
    """
    if wanted and not base.family.takes_controls:
        raise BadInput(f"{_none_for(base)}; leave --control out")
    found, networks = [], dict[str, Any]()
    for text in wanted:
        told = parted(text, base.name)
        find = str(resolve(told.finder)) if told.finder else told.find
        shown = control_picture(told.kind, Path(told.picture), size, find)
        if told.network not in networks:
            networks[told.network] = _load(told.network, base, allow_pickle)
        found.append(Control(networks[told.network], shown, scale * told.scale, *heard(told)))
    return tuple(found)


def control_network(kind: str, base: Base, *, allow_pickle: bool = False) -> Any:
    """The ControlNet that goes with a base for one kind. BadInput where there is none, or it is not downloaded."""
    if not base.family.takes_controls:
        raise BadInput(_none_for(base))
    return _load(usual_network(kind, base.name), base, allow_pickle)


def _none_for(base: Base) -> str:
    if base.family.reads != "text":
        return f"{base.name!r} draws classes, and there are no ControlNets for such models"
    return f"slipcast reads no ControlNets for models of the kind of {base.name!r}"


def parted(text: str, base: str) -> ControlText:
    """A control as it is written, with the base's usual network where none is named.

    Args:
        base: how the user calls it.
    Raises: BadInput for a text that is no control, or a kind for which a shipped base has no network.
    """
    told = control_text(text)
    return replace(told, network=told.network or usual_network(told.kind, base))


def usual_network(kind: str, base: str) -> str:
    """Where the ControlNet lies that goes with a base for one kind. BadInput for a kind that there is none of."""
    if kind not in CONTROLS:
        raise unknown_name("control", kind, CONTROLS)
    if kind == "file":
        raise BadInput(
            "a control of the kind file names its network, file:MAP:NETWORK, a folder or a hub id; "
            f"kinds with one of their own are {', '.join(sorted({*CONTROLS} - {'file'}))}"
        )
    shipped = SHIPPED["base"].get(base)
    if shipped is None:
        return kind  # an alias
    if kind not in shipped.controls:
        raise BadInput(
            f"the {base} ships no ControlNet for {kind}; it has {', '.join(shipped.controls) or 'none'}"
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
