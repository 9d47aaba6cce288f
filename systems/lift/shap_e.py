"""Shap-E, a picture's radiance field as the weights of a small network (arxiv.org/abs/2305.02463), by diffusers.

Its diffusion prior draws latents from a CLIP reading of the picture; a projection of them IS the network that answers
density and colour. That network is asked directly, without a mesh in between. Frame: Shap-E's box is [-1, 1]^3 with +Z
up like ours, but where the front is differs from draw to draw, so the field is turned to the picture (``facing``).

Code of diffusers is Apache-2.0, the weights of openai/shap-e-img2img are MIT.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.names import shown
from ..field.shapes import PerPoint, Points
from ..field.voxels import DENSITY_PEAK
from ..images.foreground import on_ground
from ..models.precision import quiet_libraries
from ..models.reading import explained, read_network
from ..models.weight_files import MODEL_INDEX
from ..types import SubjectImage
from .facing import faced
from .table import LiftTask
from .turned import Turned

_PIPELINE = "ShapEImg2ImgPipeline"
_PICTURE = 256  # pixels a side; the CLIP reader crops the middle 224 of a square without loss
_FOREGROUND = 0.85  # share of the square that the object takes
_SOLID_DENSITY = 1.0  # below this everywhere, the density head has drawn fog
_SDF_STEEPNESS = 40.0


class ShapEField:
    """The network that a latent stands for, as a radiance field.

    Args:
        renderer: diffusers' ``ShapERenderer``; left as it is.
        latents: [1, vectors, channels].
        by_surface: density from the signed distance of Shap-E's surface head instead of its density head.
    """

    def __init__(self, renderer: Any, latents: torch.Tensor, *, by_surface: bool = False) -> None:
        self._mlp = copy.deepcopy(renderer.mlp)
        told = renderer.params_proj(latents)
        own = self._mlp.state_dict()
        for name in own:
            if (key := f"nerstf.{name}") in told:
                own[name].copy_(told[key].squeeze(0))
        self.by_surface = by_surface

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self._mlp.parameters()).device

    @torch.no_grad()
    def __call__(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N] per unit length, rgb [N, 3]."""
        # The level is "coarse" unless it is said, which is another head and blurred.
        mode = "stf" if self.by_surface else "nerf"
        said = self._mlp(position=points, direction=None, ts=None, nerf_level="fine", rendering_mode=mode)
        density = said.density
        if self.by_surface:  # positive inside
            density = DENSITY_PEAK * torch.sigmoid(_SDF_STEEPNESS * said.signed_distance)
        return density[:, 0].float(), said.channels.float()


def lift_picture(task: LiftTask) -> Turned:
    """The first picture's field, in the common framing, turned to the picture.

    Raises:
        BadInput: the source is no folder of Shap-E for pictures.
        SlipcastError: nothing solid came out.
    """
    picture, settings = task.pictures[0], task.settings
    pipeline = load(task.source).to(task.device)
    with quiet_libraries():
        latents = pipeline(
            on_white(picture),
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=task.generator,
            output_type="latent",
        ).images[:1]
    field = ShapEField(pipeline.shap_e_renderer, latents)
    if _is_fog(field):
        task.notice("Shap-E's densities are fog here; its surface is taken instead")
        field.by_surface = True
    return faced(field, picture, task.elevation_rad)


def load(folder: Path) -> Any:
    """The pipeline in a folder in diffusers' layout, float32, silent.

    Raises:
        BadInput: another kind of model, or a part is missing or damaged.
    """
    from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEImg2ImgPipeline
    from diffusers.pipelines.shap_e.renderer import ShapERenderer
    from transformers import CLIPImageProcessor, CLIPVisionModel

    index = read_json_object(folder / MODEL_INDEX, "the model's index")
    if index.get("_class_name") != _PIPELINE:
        raise BadInput(
            f"lift_model=shap-e expects a folder of {_PIPELINE}, not of {shown(index.get('_class_name'))} ({folder})"
        )
    networks = {
        name: read_network(cls, folder / name, f"Shap-E's {name}")
        for name, cls in (
            ("prior", PriorTransformer),
            ("image_encoder", CLIPVisionModel),
            ("shap_e_renderer", ShapERenderer),
        )
    }
    with quiet_libraries(), explained(folder, "Shap-E"):
        scheduler: Any = HeunDiscreteScheduler.from_pretrained(str(folder / "scheduler"))
        pipeline = ShapEImg2ImgPipeline(
            **networks,
            image_processor=CLIPImageProcessor.from_pretrained(str(folder / "image_processor")),
            scheduler=scheduler,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def on_white(picture: SubjectImage) -> Image.Image:
    """As Shap-E was trained: 256 pixels, 85 % of them the object's."""
    return on_ground(picture, 1.0, _PICTURE, _FOREGROUND)


def _is_fog(field: ShapEField) -> bool:
    """Whether the densities are too low anywhere to hide what is behind, while the surface head knows an inside."""
    line = torch.linspace(-0.97, 0.97, 32, device=field.device)
    points = torch.cartesian_prod(line, line, line)
    return bool(field(points)[0].max() < _SOLID_DENSITY)
