"""Stable Diffusion 3 and Flux in diffusers' layout, tiny, with weights made so that sampling draws a disc.

As in ``disc_models`` nothing is trained, and the network answers v = c x - p at every noise level, with a fixed picture
p: Euler's steps then forget all but a few per cent of their noise. x crosses the transformer in channels of its own,
which nothing reads and two large constants beside it keep linear through the last layer norm; p is read from all other
channels by least squares: random attention and random layers know their place by its embedding (Stable Diffusion 3) or
by how far they are from the text (Flux).
"""

# pyright: reportArgumentType=false
# diffusers annotates the types of its defaults.

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slipcast.guidance.sampling import sample
from slipcast.guidance.schedules import StraightPath
from slipcast.systems.models.families.table import FAMILIES

from . import tiny_flow as tiny
from .disc_models import SIDE, STEPS, disc_latents, flat_vae

_NUMBERS = 16  # of a token: 2 x 2 latents of 4 numbers
_OWN = 2 * _NUMBERS + 2  # x, -x, large, -large
_WIDTH, _HEADS = 128, 8
_LARGE, _GAIN = 30.0, 4.0
_SHARP = 4.0  # of attention, so that places differ
_SHIFT = 0.05  # of the autoencoder


def sd3(folder: Path) -> Any:
    """Stable Diffusion 3 with all three text encoders."""
    from diffusers import SD3Transformer2DModel

    pipe = tiny.sd3(folder)
    torch.manual_seed(1)
    network = SD3Transformer2DModel(
        sample_size=SIDE, patch_size=2, in_channels=4, out_channels=4, num_layers=2,
        attention_head_dim=_WIDTH // _HEADS, num_attention_heads=_HEADS, joint_attention_dim=tiny.T5_WIDTH,
        caption_projection_dim=_WIDTH, pooled_projection_dim=20, pos_embed_max_size=SIDE // 2,
    )  # fmt: skip
    return _drawing_a_disc(pipe, network)


def flux(folder: Path) -> Any:
    """Flux.1 dev."""
    from diffusers import FluxTransformer2DModel

    pipe = tiny.flux(folder)
    torch.manual_seed(1)
    network = FluxTransformer2DModel(
        in_channels=_NUMBERS, num_layers=2, num_single_layers=3, attention_head_dim=_WIDTH // _HEADS,
        num_attention_heads=_HEADS, joint_attention_dim=tiny.T5_WIDTH, pooled_projection_dim=12,
        guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return _drawing_a_disc(pipe, network)


MAKERS = {"sd3": sd3, "flux": flux}


@torch.no_grad()
def _drawing_a_disc(pipe: Any, network: Any) -> Any:
    vae = flat_vae()
    vae.register_to_config(shift_factor=_SHIFT)
    pipe = tiny.quiet(type(pipe)(**pipe.components | {"transformer": _apart(network).eval(), "vae": vae}))
    family = FAMILIES[type(pipe).__name__]
    predictor = family.predictor(
        network, schedule=StraightPath(), prediction_type="flow_prediction", latent_space="", name=""
    )
    seen: list[Tensor] = []
    hook = network.proj_out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0]))
    told = replace(family.condition(pipe, ["a disc"], (0, 0)), guidance=torch.tensor([3.5]))
    predictor.predict(torch.zeros(1, 4, SIDE, SIDE), torch.tensor([500]), [told])
    hook.remove()
    tokens = seen[0]  # [places, width], at x = 0
    wanted = (disc_latents() - _SHIFT) / _reached(family, pipe.scheduler)
    target = _tokens(wanted, flux="Flux" in type(pipe).__name__)
    columns = torch.cat([tokens[:, _OWN:], torch.ones(len(tokens), 1)], 1).double()
    found = torch.linalg.pinv(columns, rtol=1e-4) @ target.double()
    spread = _LARGE / tokens[:, 2 * _NUMBERS].mean()  # of the last layer norm
    out = network.proj_out
    nn.init.zeros_(out.weight)
    for i in range(_NUMBERS):
        out.weight[i, i], out.weight[i, _NUMBERS + i] = _GAIN * spread / 2, -_GAIN * spread / 2
    out.weight[:, _OWN:] = -found[:-1].T.float()
    out.bias[:] = -found[-1].float()
    return pipe


def _apart(network: Any) -> Any:
    """x in channels of its own, the same at every noise level and hardly anything else for another prompt."""
    conv = getattr(network.pos_embed, "proj", None)  # Stable Diffusion 3's
    enter = network.x_embedder if conv is None else conv
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        nn.init.normal_(module.weight, std=1.5 * module.in_features**-0.5)
        nn.init.normal_(module.bias, std=0.5)
        last = name.rpartition(".")[2]
        if last == "linear" and "norm" in name:  # what time and pooled text change
            nn.init.zeros_(module.weight)
        if last in ("to_q", "to_k", "to_v", "proj_mlp") or name.endswith("ff.net.0.proj"):
            nn.init.normal_(module.weight, std=8 * module.in_features**-0.5)  # small behind a large norm
            module.weight[:, :_OWN] = 0
        if name.endswith(("attn.to_out.0", "ff.net.2")) or (last == "proj_out" and "blocks" in name):
            module.weight[:_OWN] = 0
            module.bias[:_OWN] = 0
    for name, parameter in network.named_parameters():
        if "norm_q" in name or "norm_k" in name:
            parameter.fill_(_SHARP)
    nn.init.zeros_(network.norm_out.linear.bias)
    network.context_embedder.weight *= 1e-4
    nn.init.zeros_(enter.weight)
    for i in range(_NUMBERS):
        if conv is None:
            enter.weight[i, i], enter.weight[_NUMBERS + i, i] = 1, -1
        else:
            place, channel = divmod(i, 4)
            for row, sign in ((i, 1), (_NUMBERS + i, -1)):
                enter.weight[row, channel, place // 2, place % 2] = sign
    enter.bias[: 2 * _NUMBERS] = 0
    enter.bias[2 * _NUMBERS : _OWN] = torch.tensor([_LARGE, -_LARGE])
    if conv is not None:
        nn.init.normal_(network.pos_embed.pos_embed)
        network.pos_embed.pos_embed[..., :_OWN] = 0
    return network


def _tokens(latents: Tensor, *, flux: bool) -> Tensor:
    """[1, 4, SIDE, SIDE] as [places, 16], in the order in which a network answers."""
    apart = latents[0].unflatten(1, (-1, 2)).unflatten(3, (-1, 2))  # [4, rows, 2, columns, 2]
    order = (1, 3, 0, 2, 4) if flux else (1, 3, 2, 4, 0)
    return apart.permute(order).flatten(0, 1).flatten(1)


def _reached(family: Any, scheduler: Any) -> float:
    """Where sampling ends without noise, with p = 1 everywhere: v = c x - 1."""
    path = StraightPath()

    def eps(x_t: Tensor, t: Tensor) -> Tensor:
        return path.eps_from_flow(x_t, _GAIN * x_t - 1, t)

    sampler = family.sampler("euler", scheduler)
    return sample(eps, sampler, torch.zeros(1, 1, SIDE, SIDE), steps=STEPS)[0, 0, 0, 0].item()
