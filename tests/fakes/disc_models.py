"""Stable Diffusion 1.5, 2 (v) and SDXL in diffusers' layout, tiny, with weights made so that sampling draws a disc.

Nothing is trained. The network answers  c x - p  at every timestep, with a fixed picture p: the sampler's equation is
then linear, forgets its noise (c = 2 for eps leaves 2 % of it, c = 3 for v 1 %) and ends at a multiple of p. x crosses
the network on a path of its own, which two large constants beside it keep linear through group norm and SiLU; p is read
from the rest of the network, which knows its places by zero padding alone, by least squares.
The autoencoder shows three of its latents as red, green and blue, in squares of 4 x 4 pixels.
"""

# pyright: reportArgumentType=false
# diffusers annotates the types of its defaults.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slipcast.guidance.sampling import sample
from slipcast.guidance.schedulers import scheduler_named
from slipcast.guidance.schedules import from_diffusers, parameterisation_named

from . import tiny_pipelines as tiny

SIDE, PIXELS = 16, 64
"""Latents and pixels to a side."""
GROUND, DISC = (0.75, 0.75, 0.75), (0.15, 0.25, 0.70)
STEPS = 12
_WIDTH, _GROUPS = 64, 16  # groups of four channels
_LARGE, _OFFSET = 30.0, 20.0  # beside what is kept linear, and where SiLU is the identity
_OWN = (
    16  # channels of x: a group (x, -x, large, -large) for each of its four, whose mean is zero whatever x is
)
_GAIN = {"epsilon": 2.0, "v_prediction": 3.0}


def disc_latents(radius: float = 0.55) -> Tensor:
    """[1, 4, SIDE, SIDE]: a disc before a plain ground; colours in [-1, 1], and an unused fourth number."""
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    inside = (line[:, None].square() + line[None].square() < radius**2).float()
    ground, disc = (torch.tensor([*colour, 0.5])[:, None, None] * 2 - 1 for colour in (GROUND, DISC))
    return (ground + (disc - ground) * inside)[None]


def stable_diffusion(folder: Path, *, prediction_type: str = "epsilon") -> Any:
    """Stable Diffusion 1.5 (epsilon) or 2 (v_prediction)."""
    pipe = tiny.stable_diffusion(folder, prediction_type=prediction_type)
    pipe.register_modules(unet=_unet(12), vae=flat_vae())
    return _drawing_a_disc(pipe, prediction_type)


def sdxl(folder: Path) -> Any:
    """SDXL."""
    pipe = tiny.sdxl(folder)
    more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    pipe.register_modules(
        unet=_unet(24, projection_class_embeddings_input_dim=6 * 4 + 10, **more), vae=flat_vae()
    )
    return _drawing_a_disc(pipe, "epsilon")


MAKERS: dict[str, Callable[[Path], Any]] = {
    "sd1": stable_diffusion,
    "sd2-v": lambda folder: stable_diffusion(folder, prediction_type="v_prediction"),
    "sdxl": sdxl,
}


@torch.no_grad()
def flat_vae() -> Any:
    """An ``AutoencoderKL`` whose latents are the mean colours of 4 x 4 pixels, exactly and both ways."""
    from diffusers import AutoencoderKL

    width = _OWN
    vae: Any = AutoencoderKL(
        block_out_channels=(width,) * 3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=PIXELS,
        scaling_factor=1.0,
    ).eval()
    for half in (vae.encoder, vae.decoder):
        for name, module in half.named_modules():
            if name.endswith((".conv2", "to_out.0")):  # every block is the identity
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)
            if name.endswith("samplers.0.conv"):
                _set_identity(module, 0.25 if "down" in name else 1.0)
                if "down" in name:  # padded at the right and below: the mean of 2 x 2
                    module.weight[:, :, :2, :2] = torch.eye(width)[:, :, None, None] / 4
    _linear_ends(vae.encoder.conv_in, vae.encoder.conv_norm_out, vae.encoder.conv_out, 3)
    vae.encoder.conv_out.bias[4:] = -30  # nothing random
    _linear_ends(vae.decoder.conv_in, vae.decoder.conv_norm_out, vae.decoder.conv_out, 3)
    for layer in (vae.quant_conv, vae.post_quant_conv):
        _set_identity(layer)
    return vae


def _set_identity(layer: Any, centre: float = 1.0) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    middle = layer.kernel_size[0] // 2
    for i in range(min(layer.out_channels, layer.in_channels)):
        layer.weight[i, i, middle, middle] = centre


def _linear_ends(enter: Any, norm: Any, leave: Any, count: int, gain: float = 1.0) -> None:
    """Numbers 0 .. count of what ``enter`` reads come out of ``leave`` times ``gain``; other outputs are zero."""
    nn.init.zeros_(leave.weight)
    nn.init.zeros_(leave.bias)
    enter.weight[:_OWN], enter.bias[:_OWN] = 0, torch.tensor([0, 0, _LARGE, -_LARGE] * 4)
    middle = enter.kernel_size[0] // 2
    norm.weight[:_OWN], norm.bias[:_OWN] = _LARGE / 2**0.5, _OFFSET  # the deviation of (0, 0, large, -large)
    for i in range(count):
        enter.weight[4 * i, i, middle, middle], enter.weight[4 * i + 1, i, middle, middle] = 1, -1
        leave.weight[i, 4 * i, 1, 1], leave.bias[i] = gain, -gain * _OFFSET


@torch.no_grad()
def _unet(width: int, **options: Any) -> Any:
    """A UNet of which the own channels of x reach the last layer untouched, and nothing else reads them."""
    from diffusers import UNet2DConditionModel

    unet: Any = UNet2DConditionModel(
        sample_size=SIDE,
        block_out_channels=(_WIDTH, _WIDTH),
        layers_per_block=1,
        norm_num_groups=_GROUPS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        **options,
    ).eval()
    for name, module in unet.named_modules():
        if name.endswith("time_emb_proj"):  # the same at every timestep, and for every size
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        if name.endswith("attn2.to_out.0"):
            module.weight *= 1e-3  # a prompt is heard, and hardly
    first, last = unet.down_blocks[0], unet.up_blocks[-1]
    for layer in (first.resnets[0].conv1, first.attentions[0].proj_in, first.downsamplers[0].conv):
        layer.weight[:, :_OWN] = 0
    for layer in (first.resnets[0].conv2, first.attentions[0].proj_out):
        layer.weight[:_OWN] = 0
        layer.bias[:_OWN] = 0
    for resnet in last.resnets:  # both are given a skip: of the first block, and of conv_in
        for layer in (resnet.conv1, resnet.conv_shortcut):
            layer.weight[:, _WIDTH : _WIDTH + _OWN] = 0
    for layer in (last.resnets[1].conv1, last.resnets[1].conv_shortcut):
        layer.weight[:, :_OWN] = 0  # the first resnet's; read by nobody
    unet.conv_in.weight[:] = 0
    for layer in (last.resnets[1].conv_shortcut, last.resnets[1].conv2, last.attentions[1].proj_out):
        layer.weight[:_OWN], layer.bias[:_OWN] = 0, 0
    last.attentions[1].proj_in.weight[:, :_OWN] = 0
    for i in range(_OWN):
        last.resnets[1].conv_shortcut.weight[i, _WIDTH + i] = 1
    return unet


@torch.no_grad()
def _drawing_a_disc(pipe: Any, prediction_type: str) -> Any:
    unet, gain = pipe.unet, _GAIN[prediction_type]
    _linear_ends(unet.conv_in, unet.conv_norm_out, unet.conv_out, 4, gain)
    wanted = disc_latents() / _reached(pipe.scheduler, prediction_type, gain)
    seen: list[Tensor] = []
    hook = unet.conv_out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    nothing = torch.zeros(1, 4, SIDE, SIDE)
    added = {"text_embeds": torch.zeros(1, 10), "time_ids": torch.zeros(1, 6)}
    unet(nothing, 500, torch.zeros(1, 16, unet.config.cross_attention_dim), added_cond_kwargs=added)
    hook.remove()
    others = seen[0][:, _OWN:]
    columns = nn.functional.unfold(others, 3, padding=1)[0].T.double()  # [places, channels * 9]
    columns = torch.cat([columns, torch.ones(len(columns), 1)], 1)
    normal = columns.T @ columns
    ridge = 1e-7 * normal.diagonal().mean() * torch.eye(len(normal))
    found = torch.linalg.solve(normal + ridge, columns.T @ wanted[0].flatten(1).T.double())
    unet.conv_out.weight[:, _OWN:] -= found[:-1].T.reshape(4, -1, 3, 3).float()
    unet.conv_out.bias -= found[-1].float()
    return pipe


def _reached(scheduler: Any, prediction_type: str, gain: float) -> float:
    """Where sampling ends without noise, with p = 1 everywhere: the answer is  gain x - 1."""

    schedule = from_diffusers(scheduler)

    def eps(x_t: Tensor, t: Tensor) -> Tensor:
        answer = gain * x_t - 1
        return parameterisation_named(prediction_type).to_eps(schedule, x_t, answer, t)

    return sample(eps, scheduler_named("dpm++", scheduler), torch.zeros(1, 1, 1, 1), steps=STEPS).item()
