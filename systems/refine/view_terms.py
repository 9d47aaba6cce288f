"""What views of a field should look like, whatever they show: the regularisers of score distillation in threestudio.

    sparsity             mean sqrt(o^2 + 0.01)                            no haze
    opaqueness           mean entropy of o, kept within 0.001 ... 0.999   solid or empty
    orientation          mean over rays of sum_i w_i max(0, n_i . d)^2    no surface looks away from who sees it
    normal smoothness    mean squared difference of the normals of neighbouring pixels

o is a pixel's opacity, w_i the weights of a ray's samples (of which orientation takes no gradient), n_i the normals, d
the ray's direction. Orientation is Ref-NeRF's (arxiv.org/abs/2112.03907, eq. 11). A term is off unless its weight says
otherwise, and then not measured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...configs.over_steps import values_of
from ...configs.schema import RefineConfig
from ..field.normals import Paint, Repainted, normals
from ..types import RadianceField
from .step import Loss, Step
from .views import Views

_HAZE = 0.01
_SURE = 1e-3


def view_terms(config: RefineConfig) -> dict[str, Loss]:
    """The terms that are on at some step, by name."""
    on = (name for name, (weight, _) in _TERMS.items() if any(values_of(getattr(config, weight))))
    return {name: _weighted(*_TERMS[name]) for name in on}


def sparsity(step: Step) -> torch.Tensor:
    """Mean of sqrt(o^2 + 0.01)."""
    rendered, _ = step.seen
    return (rendered.opacity.square() + _HAZE).sqrt().mean()


def opaqueness(step: Step) -> torch.Tensor:
    """Mean entropy of the opacities, in nats."""
    rendered, _ = step.seen
    o = rendered.opacity.clamp(_SURE, 1 - _SURE)
    return -(o * o.log() + (1 - o) * (1 - o).log()).mean()


def orientation(step: Step) -> torch.Tensor:
    """How much of what is seen looks away from the camera."""

    def away(field: RadianceField, eye: torch.Tensor) -> Paint:
        def paint(
            points: torch.Tensor, density: torch.Tensor, rgb: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            d = torch.nn.functional.normalize(points - eye.to(points), dim=-1)
            facing = (normals(field, points, step.spacing) * d).sum(-1, keepdim=True)
            return density.detach(), facing.clamp_min(0).square().expand(-1, 3)

        return paint

    return torch.cat([picture[..., 0].reshape(-1) for picture in _pictures(step, away)]).mean()


def normal_smoothness(step: Step) -> torch.Tensor:
    """Mean squared difference between the normals of neighbouring pixels."""

    def shown(field: RadianceField, eye: torch.Tensor) -> Paint:
        return lambda points, density, rgb: (density, normals(field, points, step.spacing))

    maps = _pictures(step, shown)
    steps = [one.diff(dim=axis).square().mean() for one in maps for axis in (0, 1)]
    return torch.stack(steps).mean()


def _pictures(step: Step, paint: Callable[[RadianceField, torch.Tensor], Paint]) -> list[torch.Tensor]:
    """Each view of the field in other colours, before nothing: [size, size, 3] each."""
    found = []
    for camera in step.views.cameras:
        view = Views([camera], [""], [(0.0, 0.0, 0.0)])
        rendered, _ = step.render(view, Repainted(step.shown, paint(step.shown, camera.position)))
        found.append(rendered.rgb.view(step.size, step.size, 3))
    return found


def _weighted(weight: str, measure: Callable[[Step], torch.Tensor]) -> Loss:
    def loss(step: Step) -> torch.Tensor | None:
        now = step.at(getattr(step.config, weight))
        return now * measure(step) if now else None

    return loss


_TERMS: dict[str, tuple[str, Callable[[Step], torch.Tensor]]] = {
    "sparsity": ("sparsity_weight", sparsity),
    "opaqueness": ("opaqueness_weight", opaqueness),
    "orientation": ("orientation_weight", orientation),
    "normal smoothness": ("normal_smoothness_weight", normal_smoothness),
}
