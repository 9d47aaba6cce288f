"""Refinement: a lifted field is repainted and reshaped by score distillation, held to the picture it came from.

Each step renders a few views before plain grounds, encodes them to latents, and adds up

    score distillation of the guided denoiser       (``guidance.distillation``; no guidance arithmetic here)
  + the front view's error against the picture      (colour and coverage)
  + drift from the initial shape, fading, total variation, and indecision (``regularisers``),

then takes one step of Adam. All random draws of a step come from (seed, 'refine', step) and everything else that a step
depends on is in the checkpoint, so that a resumed run equals an uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ...configs.errors import BadInput, SlipcastError
from ...configs.schema import RefineConfig
from ...guidance.distillation import DistillableNoise, annealed_range, draw_timesteps, sds_loss
from ...guidance.noise import named_generator
from ..field.cameras import Camera
from ..field.volume_rendering import render_rays
from ..field.voxels import VoxelField
from ..types import RadianceField, SubjectImage
from .checkpoint import load_checkpoint, save_checkpoint
from .connectivity import join_pieces
from .regularisers import drift, indecision, total_variation
from .surface_colour import SurfacePainted
from .views import GROUNDS, Views, draw_views
from .warm_start import warm_start

NoiseFor = Callable[[Sequence[str], Sequence[tuple[float, float, float]]], DistillableNoise]
"""(view words, ground colours sRGB), one of each per view -> the guided denoiser for that batch."""

_ADAM_BETAS = (0.9, 0.99)
_ADAM_EPS = (
    1e-8  # gradients are means over pixels, 1e-6 to 1e-4 on the surface; hidden cells should feel none
)
_WARM_UP_STEPS = 10  # Adam's first steps are full-sized whatever the gradient: hold them back
_LAST_DRIFT = 0.2  # of the drift's weight stays to the end: it alone holds what no picture shows
_LAST_RATE = 0.1  # of the learning rate, reached by a half cosine


def refine_field(
    init: RadianceField,
    *,
    noise_fn_for: NoiseFor,
    encode: Callable[[torch.Tensor], torch.Tensor],
    reference: SubjectImage,
    reference_camera: Camera,
    config: RefineConfig,
    seed: int,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    checkpoint_folder: Path | None = None,
    notice: Callable[[str], None] | None = None,
) -> VoxelField:
    """Refine a field.

    Args:
        init: what the lift stage made; any field. It is not changed, and refined on its device.
        noise_fn_for: the guided denoiser for view words and ground colours.
        encode: pictures [V, 3, size, size], sRGB in [0, 1] -> latents [V, C, h, w], differentiable.
        reference: square picture of the subject, and reference_camera: where it was taken from.
        config: ``configs.schema.RefineConfig``; with steps = 0 a copy of ``init`` is returned.
        seed: of every random draw.
        progress: called after each step with (steps done, steps in all, losses by name).
        checkpoint_folder: where to keep a checkpoint every ``config.checkpoint_every`` steps, and look for one first.
        notice: told in a sentence if there is a checkpoint that is damaged or another refinement's. It is passed over,
            and the refinement starts anew; without ``notice`` it is an error.
    Raises:
        BadInput: settings contradict each other.
        SlipcastError: a loss is not finite (names the step), or a checkpoint cannot be written, or not read either.
    """
    _check(config)
    if config.steps == 0:
        return VoxelField.from_field(init, config.resolution)
    field = warm_start(init, config.resolution)
    initial = field.raw_density.detach().clone()
    optimiser = _adam(field, config)
    first = 0
    if checkpoint_folder is not None:
        try:
            first = load_checkpoint(checkpoint_folder, field, optimiser, seed)
        except SlipcastError as error:
            if notice is None:
                raise
            notice(f"the refinement starts anew, for its checkpoint is of no use: {error}")
    target = _Target(reference, reference_camera, config.size, field.device)
    for step in range(first, config.steps):
        losses = _one_step(field, initial, optimiser, target, noise_fn_for, encode, config, seed, step)
        if checkpoint_folder is not None and (step + 1) % config.checkpoint_every == 0:
            save_checkpoint(checkpoint_folder, field, optimiser, seed, step + 1)
        if progress is not None:
            progress(step + 1, config.steps, losses)
    _finish(field, config)
    return field


@torch.no_grad()
def _finish(field: VoxelField, config: RefineConfig) -> None:
    """As hard as it gets, in one piece, empty where nobody sees, and painted from its surface."""
    field.sharpness = _sharpness(config, 1.0)
    field.raw_density.copy_(join_pieces(field.raw_density))
    field.prune()
    field.raw_colour.copy_(SurfacePainted(field).raw_colour)


def _sharpness(config: RefineConfig, done: float) -> float:
    """Soft at first, when the shape still moves; then ever harder, until the field looks like a surface."""
    return float(config.sharpness**done)


def _check(config: RefineConfig) -> None:
    if config.t_min > min(config.t_max, config.t_max_end):
        raise BadInput(
            f"refine.t_min must not exceed refine.t_max and refine.t_max_end, but {config.t_min} exceeds "
            f"{min(config.t_max, config.t_max_end)}; lower t_min"
        )
    if config.elevation_min_deg > config.elevation_max_deg:
        raise BadInput(
            f"refine.elevation_min_deg must not exceed refine.elevation_max_deg, but {config.elevation_min_deg} "
            f"exceeds {config.elevation_max_deg}; swap them"
        )


class _Target:
    """The picture at the rendered size: rgb [size*size, 3] and alpha [size*size], row by row, and its rays."""

    def __init__(self, reference: SubjectImage, camera: Camera, size: int, device: torch.device) -> None:
        if reference.alpha.shape[0] != reference.alpha.shape[1]:
            raise ValueError(f"the reference picture must be square, not {reference.alpha.shape}")
        # Colours are scaled premultiplied: what lies under transparent pixels must not bleed into the edge.
        alpha = torch.from_numpy(reference.alpha)[None, None]
        layers = torch.cat([torch.from_numpy(reference.rgb).permute(2, 0, 1)[None] * alpha, alpha], dim=1)
        scaled = torch.nn.functional.interpolate(layers, (size, size), mode="bilinear", antialias=True)[0]
        self.premultiplied = scaled[:3].permute(1, 2, 0).reshape(-1, 3).contiguous().to(device)
        self.alpha = scaled[3].reshape(-1).contiguous().to(device)
        self.camera = camera


def _one_step(
    field: VoxelField,
    initial: torch.Tensor,
    optimiser: torch.optim.Adam,
    target: _Target,
    noise_fn_for: NoiseFor,
    encode: Callable[[torch.Tensor], torch.Tensor],
    config: RefineConfig,
    seed: int,
    step: int,
) -> dict[str, float]:
    """Render, measure, move; returns the losses."""
    generator = named_generator(seed, "refine", step)
    views = draw_views(
        config.views,
        math.radians(config.elevation_min_deg),
        math.radians(config.elevation_max_deg),
        generator,
    )
    done = step / config.steps
    _set_learning_rates(optimiser, config, step)
    field.sharpness = _sharpness(config, done)
    shown = SurfacePainted(field)
    losses = {}
    if config.distillation_weight:
        losses["distillation"] = _distillation(shown, views, noise_fn_for, encode, config, done, generator)
    if step % config.anchor_every == 0:
        losses |= _anchor(shown, target, config, generator)
    losses |= _shape(field, shown, initial, config, done)
    total = torch.stack(list(losses.values())).sum()
    values = {name: loss.item() for name, loss in losses.items()}
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise SlipcastError(
            f"refinement step {step}: the loss '{broken[0]}' is not finite; lower the learning rates or the weights"
        )
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    optimiser.step()
    return values


def _distillation(
    field: RadianceField,
    views: Views,
    noise_fn_for: NoiseFor,
    encode: Callable[[torch.Tensor], torch.Tensor],
    config: RefineConfig,
    done: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Score distillation of all views, as a mean over latent entries so that its weight is 1 at any latent size."""
    origins, directions, grounds = views.rays(config.size)
    rendered = render_rays(
        field, origins, directions, samples=config.samples, background=grounds, generator=generator
    )
    pictures = rendered.rgb.view(len(views.words), config.size, config.size, 3).permute(0, 3, 1, 2)
    latents = encode(pictures)
    noise_fn = noise_fn_for(views.words, views.grounds)
    t_range = annealed_range(done, low=(config.t_min, config.t_min), high=(config.t_max, config.t_max_end))
    t = draw_timesteps(len(latents), t_range, noise_fn.schedule, generator)
    noise = torch.randn(latents.shape, generator=generator)
    clamp = config.grad_clamp or None
    return sds_loss(noise_fn, latents, t, noise, clamp=clamp) * (config.distillation_weight / latents.numel())


def _anchor(
    field: RadianceField, target: _Target, config: RefineConfig, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """The reference view against the picture, both before one random ground."""
    pick = int(torch.randint(len(GROUNDS), (1,), generator=generator))
    view = Views([target.camera], [""], [GROUNDS[pick]])
    origins, directions, ground = view.rays(config.size)
    rendered = render_rays(
        field, origins, directions, samples=config.samples, background=ground, generator=generator
    )
    wanted = target.premultiplied + (1 - target.alpha)[:, None] * ground.to(target.alpha.device)
    return {
        "picture colour": config.anchor_rgb_weight * (rendered.rgb - wanted).square().mean(),
        "picture coverage": config.anchor_alpha_weight * (rendered.opacity - target.alpha).square().mean(),
    }


def _shape(
    field: VoxelField, shown: SurfacePainted, initial: torch.Tensor, config: RefineConfig, done: float
) -> dict[str, torch.Tensor]:
    """Terms on the grids themselves. Drift fades, indecision comes up: first keep the shape, then make it crisp."""
    matter = max(1.0, torch.sigmoid(initial).sum().item())
    occupancy = field.occupancy()
    colour = torch.sigmoid(shown.raw_colour)
    # Colour matters only where there is matter; elsewhere nothing shows it.
    paint = total_variation(colour, occupancy.detach())
    return {
        "drift": config.drift_weight * max(1 - done, _LAST_DRIFT) * drift(field.raw_density, initial, matter),
        "shape variation": config.tv_weight * total_variation(occupancy[..., None]) / matter,
        "colour variation": config.tv_color_weight * paint / matter,
        "indecision": config.indecision_weight * done * indecision(occupancy, matter),
    }


def _adam(field: VoxelField, config: RefineConfig) -> torch.optim.Adam:
    groups = [
        {"params": [field.raw_density], "lr": config.lr_density},
        {"params": [field.raw_colour], "lr": config.lr_color},
    ]
    return torch.optim.Adam(groups, betas=_ADAM_BETAS, eps=_ADAM_EPS, fused=True)


def _set_learning_rates(optimiser: torch.optim.Adam, config: RefineConfig, step: int) -> None:
    """Linear warm-up, then a half cosine down to a tenth."""
    fall = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    rate = fall * min(1.0, (step + 1) / _WARM_UP_STEPS)
    for group, base in zip(optimiser.param_groups, (config.lr_density, config.lr_color), strict=True):
        group["lr"] = base * rate
