"""A tiny Shap-E in the real layout whose every latent stands for one known field: a ball of four colours.

swish(u) + swish(-u) is u^2 / 2 for small u, and swish(20 + u) is 20 + u: from these a squared distance and the
coordinates are carried through the network's seven layers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

CENTRE, RADIUS, YAW_DEG = (0.2, -0.1, 0.15), 0.5, 130.0
HIDDEN, WIDTH = 10, 16
_SMALL, _HIGH, _DENSITY, _STEEP = 0.1, 20.0, 4000.0, 30.0


def ball(
    points: torch.Tensor, *, centre: Any = CENTRE, radius: float = RADIUS, yaw_deg: float = YAW_DEG
) -> Any:
    """(density [N], rgb [N, 3]) of the field: red on its right, green behind, both as seen after turning it back."""
    own = points - torch.tensor(centre)
    cos, sin = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    right, behind = own[:, 0] * cos + own[:, 1] * sin, own[:, 1] * cos - own[:, 0] * sin
    colour = torch.stack([_STEEP * right, _STEEP * behind, torch.zeros_like(right)], 1).sigmoid()
    return (_DENSITY * (radius**2 - own.square().sum(1))).relu(), colour


def save_shap_e(folder: Path) -> Path:
    """Write the folder of a ``ShapEImg2ImgPipeline``."""
    from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEImg2ImgPipeline
    from diffusers.pipelines.shap_e.renderer import ShapERenderer
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    encoder = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        )
    )
    prior = PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        embedding_dim=WIDTH,
        num_embeddings=4 * HIDDEN,
        additional_embeddings=0,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
        time_embed_dim=WIDTH,
        embedding_proj_dim=WIDTH,
        embedding_proj_norm_type="layer",
        clip_embed_dim=2 * WIDTH,
    )
    renderer = ShapERenderer(
        param_shapes=((HIDDEN, 93), *((HIDDEN, HIDDEN),) * 3),  # pyright: ignore[reportArgumentType]
        d_latent=WIDTH,
        d_hidden=HIDDEN,
    )
    _make_ball(renderer)
    size = {"height": 32, "width": 32}
    ShapEImg2ImgPipeline(
        prior=prior,
        image_encoder=encoder,
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
        scheduler=HeunDiscreteScheduler(
            beta_schedule="exp", prediction_type="sample", use_karras_sigmas=True
        ),
        shap_e_renderer=renderer,
    ).save_pretrained(folder)
    return folder


@torch.no_grad()
def _make_ball(renderer: Any) -> None:
    layers = renderer.mlp.mlp
    for layer in layers:
        layer.weight.zero_()
        layer.bias.zero_()
    first = layers[0]
    for axis in range(
        3
    ):  # plus and minus each distance along an axis, and the first two coordinates themselves
        for unit, sign in ((2 * axis, 1.0), (2 * axis + 1, -1.0)):
            first.weight[unit, axis], first.bias[unit] = sign * _SMALL, -sign * _SMALL * CENTRE[axis]
    for unit, axis in ((6, 0), (7, 1)):
        first.weight[unit, axis], first.bias[unit] = 1.0, _HIGH - CENTRE[axis]
    second = layers[1]
    second.weight[0, :6], second.bias[0] = -2 / _SMALL**2, _HIGH + RADIUS**2
    second.weight[1, 6] = second.weight[2, 7] = 1.0
    for layer in layers[2:6]:
        for unit in range(3):
            layer.weight[unit, unit] = 1.0
    cos, sin = math.cos(math.radians(YAW_DEG)), math.sin(math.radians(YAW_DEG))
    last = layers[6]
    inside, right, behind = (torch.zeros(HIDDEN) for _ in range(3))
    inside[0] = 1.0
    right[1], right[2] = cos, sin
    behind[1], behind[2] = -sin, cos
    rows = {
        0: (8.0, inside),  # signed distance
        1: (-1.0, inside),  # density, coarse: the wrong head
        2: (_DENSITY, inside),  # density, fine
        **dict.fromkeys((3, 9), (_STEEP, right)),
        **dict.fromkeys((4, 10), (_STEEP, behind)),
    }
    for row, (factor, direction) in rows.items():
        last.weight[row] = factor * direction
        last.bias[row] = -factor * _HIGH * direction.sum()
    # Whatever the latents are, the projection gives these weights.
    projection = renderer.params_proj.projections
    for name, layer in zip(renderer.params_proj.config.param_names, layers, strict=False):
        part = projection[name.replace(".", "__")]
        for zero in (part.proj.weight, part.norm.weight, part.norm.bias):
            zero.zero_()
        part.proj.bias.copy_(layer.weight.flatten())
