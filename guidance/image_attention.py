"""Pictures beside the text in a UNet's cross-attention: IP-Adapter (arxiv.org/abs/2308.06721).

    attention(x) = W_out [ softmax(q K^T / sqrt(d)) V + sum_i s_i softmax(q K_i^T / sqrt(d)) V_i ]      q = W_q x

K and V are made of the text, K_i and V_i of picture i, by matrices of the adapter's own; s_i is its scale. A UNet that
is told of no picture computes what it always did, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .conditioning import ImagePrompt


class TextAndImages(NamedTuple):
    """What takes the place of the text on its way through a UNet; diffusers hands on any tuple.

    Attributes:
        text: of all conditions, one after the other [conditions * B, tokens, width].
        images: what each condition is shown.
    """

    text: Tensor
    images: Sequence[Sequence[ImagePrompt]]


def cross_attentions(unet: Any) -> dict[str, Any]:
    """{name: layer} of a UNet's attentions over text, in the order in which adapters' files count them."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return {name: unet.get_submodule(name) for name in names if name.endswith("attn2")}


def open_eyes(unet: Any) -> None:
    """Let a UNet take ``TextAndImages`` for text; it may be called again."""
    for name, layer in cross_attentions(unet).items():
        if not isinstance(layer.processor, _Seeing):
            layer.set_processor(_Seeing(name, layer.processor))


class _Seeing:
    """A layer's attention; diffusers calls this a processor."""

    def __init__(self, name: str, plain: Any) -> None:
        self.name, self.plain = name, plain

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | TextAndImages | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if not isinstance(encoder_hidden_states, TextAndImages):
            return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        text, images = encoder_hidden_states
        query = _heads(attn.to_q(hidden_states), attn.heads)
        said = F.scaled_dot_product_attention(
            query, _heads(attn.to_k(text), attn.heads), _heads(attn.to_v(text), attn.heads)
        )
        parts = [
            self._with_images(attn, q, part, seen)
            for q, part, seen in zip(query.chunk(len(images)), said.chunk(len(images)), images, strict=True)
        ]
        joined = torch.cat(parts).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](joined))

    def _with_images(self, attn: Any, query: Tensor, said: Tensor, images: Sequence[ImagePrompt]) -> Tensor:
        """What one condition's text says [B, heads, places, width], and its pictures."""
        for one in images:
            key, value = (
                _heads(many[self.name].to(query).expand(len(query), -1, -1), attn.heads)
                for many in (one.keys, one.values)
            )
            said = said + one.scale * F.scaled_dot_product_attention(query, key, value)
        return said


def _heads(x: Tensor, heads: int) -> Tensor:
    """[B, places, width] -> [B, heads, places, width / heads]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
