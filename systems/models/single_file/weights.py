"""Which weights of a file go where: every name is read, known to be of no use here, or a reason to refuse the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ....configs.errors import BadInput
from ....configs.names import shown_key
from .header import Header, read_header
from .names import first_downsampling, open_clip_names, unet_name, vae_name
from .original import UNET, VAE, Encoder, Original

# Averages kept for training, the schedule (which is checked), and halves of CLIP that draw nothing.
_NO_USE = re.compile(
    r"model_ema\..*|first_stage_model\.(loss|model_ema)\..*"
    r"|betas|alphas_cumprod(_prev)?|(sqrt|log)_[a-z_]+|posterior_[a-z_0-9]+|lvlb_weights|logvar|scale_factor"
    r"|denoiser\.sigmas|global_step|v_pred|ztsnr"
    r"|.*\.position_ids|.*logit_scale|.*\.attn_mask"
    r"|cond_stage_model\.((transformer|model)\.)?text_projection(\.weight)?"
    r"|conditioner\.embedders\.0\.(transformer\.)?text_projection(\.weight)?"
)


@dataclass(frozen=True)
class Weight:
    """Where a weight comes from.

    Attributes:
        key: in the file.
        third: which third of its rows, where queries, keys and values are one matrix there.
        turned: transposed there.
        shape: what it has here; that of a linear layer where the file has a convolution of 1 x 1.
    """

    key: str
    shape: tuple[int, ...]
    third: int | None = None
    turned: bool = False

    def of(self, tensor: Tensor) -> Tensor:
        """The weight, out of what stands in the file, float32."""
        tensor = tensor if self.third is None else tensor.chunk(3)[self.third]
        return (tensor.T if self.turned else tensor).reshape(self.shape).float().contiguous()


Parts = dict[str, dict[str, Weight]]
"""{part in diffusers' layout: {name there: where it is}}; text encoders' names are without ``text_model.``."""


def placed(header: Header, original: Original) -> Parts:
    """Every weight of a checkpoint in its place.

    Raises: BadInput for names that belong nowhere.
    """
    parts: Parts = {"unet": {}, "vae": {}} | {encoder.part: {} for encoder in original.encoders}
    parts["unet"], parts["vae"] = unet_weights(header), vae_weights(header, VAE)
    for encoder in original.encoders:
        parts[encoder.part] = dict(_encoder_weights(header, encoder))
    read = {weight.key for part in parts.values() for weight in part.values()}
    unread = {
        f"{encoder.prefix}{name}"
        for encoder in original.encoders
        if encoder.without_last
        for name in header.under(encoder.prefix)
        if name.startswith(f"transformer.resblocks.{_last_layer(header, encoder)}.")
    }
    odd = [key for key in header.shapes if key not in read | unread and not _NO_USE.fullmatch(key)]
    if odd:
        raise BadInput(
            f"{header.path} looks like {original.name}, but {len(odd)} of its {len(header.shapes)} weights belong to "
            f"nothing in that, such as {shown_key(odd[0])}; give a checkpoint of the plain model"
        )
    return parts


def unet_weights(header: Header) -> dict[str, Weight]:
    """The UNet's, by diffusers' names; empty without one."""
    shapes = header.under(UNET)
    layers = first_downsampling(shapes) if "input_blocks.0.0.weight" in shapes else 0
    return {
        name: Weight(UNET + old, shape) for old, shape in shapes.items() if (name := unet_name(old, layers))
    }


def network_weights(path: Path) -> dict[str, Weight]:
    """{diffusers' name: where it is} of the network of a checkpoint."""
    return unet_weights(read_header(path))


def vae_weights(header: Header, prefix: str) -> dict[str, Weight]:
    """The autoencoder's, by diffusers' names."""
    shapes = header.under(prefix)
    levels = len({old.split(".")[2] for old in shapes if old.startswith("encoder.down.")})
    return {
        name: Weight(prefix + old, shape[:2] if ".attentions." in name else shape)
        for old, shape in shapes.items()
        if (name := vae_name(old, levels))
    }


def _encoder_weights(header: Header, encoder: Encoder) -> Iterator[tuple[str, Weight]]:
    last = _last_layer(header, encoder) if encoder.without_last else None
    for old, shape in header.under(encoder.prefix).items():
        key = encoder.prefix + old
        if not encoder.open_clip:
            name = old.removeprefix("text_model.")
            if name.startswith(("embeddings.token", "embeddings.position_embedding", "encoder.", "final_")):
                yield name, Weight(key, shape)
        elif old == "text_projection":
            if encoder.projected:
                yield "text_projection.weight", Weight(key, shape[::-1], turned=True)
        elif not old.startswith(f"transformer.resblocks.{last}."):
            names = open_clip_names(old)
            for third, name in enumerate(names):
                joint = len(names) == 3
                yield (
                    name,
                    Weight(key, (shape[0] // 3, *shape[1:]) if joint else shape, third if joint else None),
                )


def _last_layer(header: Header, encoder: Encoder) -> int:
    names = header.under(f"{encoder.prefix}transformer.resblocks.")
    return max((int(name.split(".")[0]) for name in names), default=-1)


def shapes_of(part: Mapping[str, Weight]) -> dict[str, Any]:
    """{name: shape here}."""
    return {name: weight.shape for name, weight in part.items()}
