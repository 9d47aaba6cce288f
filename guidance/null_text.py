"""The null-text UNet: a denoiser of one domain that takes no text (arxiv.org/abs/2312.08195, section 3.3).

Every text cross-attention  F' = W softmax(Q K^T / sqrt(d)) V + F  (Eq. 4)  becomes  F' = E + F  (Eq. 5),
with one vector E [1, 1, C] per block, the same for every position, timestep and sample. The layer norm in
front of it has nothing left to do and goes too. E is what the trained network's cross-attention says on
average when it reads optimised text features, so the surgery hardly changes the network.

For Stable Diffusion 1.5: 859,520,964 parameters become 815,533,444, plus 12,480 numbers of E. (The paper
prints 810M, which does not come out of that architecture.)

diffusers is imported where it is needed: this module, and the package, load without it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..configs.atomic import write_safetensors
from ..configs.errors import BadInput
from .conditioning import Condition, as_conditioning
from .shapes import Latents, Timesteps

# Not diffusers' own file name: its loader would fill the absent attentions with random numbers, with a mere log.
WEIGHTS_NAME = "null_text_unet.safetensors"


class NullTextAttention(nn.Module):
    """Takes the place of a cross-attention and returns the constant E, broadcast to [B, tokens, C].

    Args:
        E: [1, 1, C].
        train: E is a Parameter if true, else a buffer, fixed as in the paper's released code.
    """

    E: Tensor

    def __init__(self, E: Float[Tensor, "1 1 width"], *, train: bool = False) -> None:
        super().__init__()
        if train:
            self.E = nn.Parameter(E)
        else:
            self.register_buffer("E", E)

    def forward(
        self, hidden_states: Float[Tensor, "batch token width"], *args: Any, **kwargs: Any
    ) -> Float[Tensor, "batch token width"]:
        """hidden_states [B, tokens, C] -> E of the same shape; the text, if any, is ignored."""
        return self.E.to(hidden_states.dtype).expand_as(hidden_states)


def is_null_text(unet: nn.Module) -> bool:
    """Whether a network has had its cross-attentions replaced."""
    return any(isinstance(module, NullTextAttention) for module in unet.modules())


@torch.no_grad()
def null_text_features(unet: Any, told: Condition, x_t: Latents, t: Timesteps) -> dict[str, Tensor]:
    """E for every block: the mean over samples and positions of its cross-attention's output.

    Args:
        unet: a trained text-conditional UNet2DConditionModel.
        told: text-encoder output, optimised on the domain or plain, [1, tokens, width] or [B, ...]; with pooled text
            and sizes for SDXL.
        x_t: noisy latents of the domain [B, C, h, w], at timesteps t [B] drawn as in training.
    Returns:
        {block name: E [1, 1, C]} in float32.
    """
    features: dict[str, Tensor] = {}
    hooks = [
        block.attn2.register_forward_hook(
            lambda module, inputs, output, name=name: features.update(
                {name: output.float().mean((0, 1), keepdim=True)}
            )
        )
        for name, block in _text_blocks(unet).items()
    ]
    try:
        full = as_conditioning(told)
        text, pooled, sizes = (
            None if one is None else one.expand(len(x_t), *[-1] * (one.ndim - 1)).to(unet.device, unet.dtype)
            for one in (full.text, full.pooled, full.time_ids)
        )
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": sizes}
        unet(
            x_t.to(unet.device, unet.dtype),
            t.to(unet.device),
            encoder_hidden_states=text,
            added_cond_kwargs=added,
        )
    finally:
        for hook in hooks:
            hook.remove()
    return features


def make_null_text(unet: Any, features: Mapping[str, Tensor], *, train_embedding: bool = False) -> Any:
    """A copy of ``unet`` in which every text cross-attention returns its E.

    Args:
        unet: a text-conditional UNet2DConditionModel; it is left as it is.
        features: what ``null_text_features`` returned: E [1, 1, C] for every block.
        train_embedding: make E trainable.
    Raises:
        ValueError: E is missing or of the wrong width for a block, or meant for no block.
    """
    null_text = copy.deepcopy(unet)
    blocks = _text_blocks(null_text)
    if set(blocks) != set(features):
        wrong = sorted(set(blocks) ^ set(features))
        raise ValueError(f"Every cross-attention needs its E and no other does; they differ at {wrong}.")
    for name, block in blocks.items():
        width, weight, E = block.attn2.out_dim, block.attn2.to_q.weight, features[name]
        if E.shape != (1, 1, width):
            raise ValueError(f"E of {name} must have shape (1, 1, {width}), not {tuple(E.shape)}.")
        block.attn2 = NullTextAttention(E.detach().clone().to(weight), train=train_embedding)
        block.norm2 = nn.Identity()
    return null_text


def save_null_text(unet: Any, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write config.json and one safetensors file, as diffusers lays out a UNet folder.

    Args:
        unet: a null-text network.
        folder: made if it does not exist.
        dtype: of the stored numbers, e.g. torch.float16 to halve the file.
    Raises:
        ValueError: unet still reads text.
    """
    if not is_null_text(unet):
        raise ValueError(
            "save_null_text expects a network made by make_null_text; this one still reads text."
        )
    unet.save_config(folder)
    trained = any(name.endswith("attn2.E") for name, _ in unet.named_parameters())
    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in unet.state_dict().items()}
    write_safetensors(Path(folder) / WEIGHTS_NAME, state, {"format": "pt", "train_embedding": str(trained)})


def load_null_text(
    folder: Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Any:
    """Read what ``save_null_text`` wrote: every E and every weight must be there, and nothing else.

    Raises:
        BadInput: the folder is incomplete or unreadable.
    """
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(folder) / WEIGHTS_NAME, framework="pt", device="cpu") as file:
            train_embedding = (file.metadata() or {}).get("train_embedding") == "True"
            state = {name: file.get_tensor(name).to(device, dtype) for name in file.keys()}  # noqa: SIM118
        config: Any = UNet2DConditionModel.load_config(folder)
        unet = empty_null_text(config, train_embedding=train_embedding)
        unet.load_state_dict(state, strict=True, assign=True)
    except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise BadInput(f"{folder} is not a complete null-text UNet ({reason}); make it again.") from error
    return unet.eval()


def empty_null_text(config: Any, *, train_embedding: bool = False) -> Any:
    """A null-text network without numbers, on the device "meta", by the config of its UNet."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(config)
        empty = {name: torch.empty(1, 1, b.attn2.out_dim) for name, b in _text_blocks(unet).items()}
    return make_null_text(unet, empty, train_embedding=train_embedding)


def _text_blocks(unet: nn.Module) -> dict[str, Any]:
    """The transformer blocks that read text, by name."""
    from diffusers.models.attention import BasicTransformerBlock

    return {
        name: block
        for name, block in unet.named_modules()
        if isinstance(block, BasicTransformerBlock)
        and getattr(block.attn2, "is_cross_attention", False)
        and not isinstance(block.attn2, NullTextAttention)
    }
