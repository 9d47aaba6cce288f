"""TripoSR's network: one picture -> three feature planes, which a small network reads as density and colour.

    picture -> ViT (DINO's) -> tokens;  learned plane tokens, which attend to them -> planes [3, C, P, P], twice as fine
    a point -> features where it falls on the planes xy, xz, yz -> density, rgb

The structure follows TripoSR (arXiv 2403.02151) and its config.yaml; parts are those of transformers and diffusers,
whose transformer block has the very names that the released weights carry, so that nothing but torch is installed.
Frame: +Z up, the picture's camera on +X, the box [-radius, radius]^3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViTConfig, ViTModel

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VIT_HEAD = 64  # width of a head of every ViT that DINO trained
_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}


class TripoSR(nn.Module):
    """The network that a config.yaml of TripoSR describes.

    Args:
        config: the file's content, references resolved.
        vit: ``vit_config`` of the weights, which the file leaves to the hub.
    Raises:
        KeyError, TypeError: the config lacks something, or says something else than numbers.
    """

    def __init__(self, config: Mapping[str, Any], vit: ViTConfig) -> None:
        super().__init__()
        tokens, backbone, decoder = config["tokenizer"], config["backbone"], config["decoder"]
        width = tokens["num_channels"]
        inner = backbone["num_attention_heads"] * backbone["attention_head_dim"]
        self.picture_size = int(config["cond_image_size"])
        self.radius = float(config["renderer"]["radius"])
        self.density_bias = float(config["renderer"].get("density_bias", -1.0))
        self.image_tokenizer = nn.ModuleDict({"model": ViTModel(vit)})
        self.tokenizer = nn.ParameterDict(
            {"embeddings": torch.zeros(3, width, tokens["plane_size"], tokens["plane_size"])}
        )
        blocks = [
            BasicTransformerBlock(
                inner,
                backbone["num_attention_heads"],
                backbone["attention_head_dim"],
                cross_attention_dim=backbone["cross_attention_dim"],
            )
            for _ in range(backbone["num_layers"])
        ]
        self.backbone = nn.ModuleDict(
            {
                "norm": nn.GroupNorm(backbone.get("norm_num_groups", 32), width, eps=1e-6),
                "proj_in": nn.Linear(width, inner),
                "transformer_blocks": nn.ModuleList(blocks),
                "proj_out": nn.Linear(inner, width),
            }
        )
        made = config["post_processor"]["out_channels"]
        self.post_processor = nn.ModuleDict({"upsample": nn.ConvTranspose2d(width, made, 2, stride=2)})
        hidden, activation = decoder["n_neurons"], _ACTIVATIONS[decoder.get("activation", "relu")]
        layers: list[nn.Module] = [nn.Linear(3 * made, hidden), activation()]
        for _ in range(decoder["n_hidden_layers"] - 1):
            layers += [nn.Linear(hidden, hidden), activation()]
        self.decoder = nn.ModuleDict({"layers": nn.Sequential(*layers, nn.Linear(hidden, 4))})

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, S, S] in [0, 1], S the ``picture_size`` -> planes [B, 3, C, 2P, 2P]."""
        mean, std = (pictures.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        seen = self.image_tokenizer["model"]((pictures - mean) / std, interpolate_pos_encoding=True)
        planes = self.tokenizer["embeddings"]
        start = (
            planes.flatten(2).transpose(0, 1).flatten(1)[None].expand(len(pictures), -1, -1)
        )  # [B, C, 3 P P]
        x = self.backbone["proj_in"](self.backbone["norm"](start).transpose(1, 2))
        for block in self.backbone["transformer_blocks"]:  # pyright: ignore[reportGeneralTypeIssues]
            x = block(x, encoder_hidden_states=seen.last_hidden_state)
        x = self.backbone["proj_out"](x).transpose(1, 2) + start
        x = x.unflatten(2, (3, *planes.shape[2:])).transpose(1, 2)  # [B, 3, C, P, P]
        return self.post_processor["upsample"](x.flatten(0, 1)).unflatten(0, (-1, 3))

    def query(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Planes [3, C, H, W] and points [N, 3] in [-1, 1]^3 -> what stands for density [N], rgb [N, 3].

        Its renderer takes that number times 1/128 of a ray's way through the box for the optical depth of one of 128
        samples: for a density per length it is to be divided by that way.
        """
        pairs = torch.stack([points[:, [0, 1]], points[:, [0, 2]], points[:, [1, 2]]])  # [3, N, 2]
        found = F.grid_sample(planes, pairs[:, None], mode="bilinear", align_corners=False)
        said = self.decoder["layers"](found[:, :, 0].permute(2, 0, 1).flatten(1))
        return (said[:, 0] + self.density_bias).exp(), said[:, 1:].sigmoid()


def vit_config(weights: Mapping[str, Tensor]) -> ViTConfig:
    """What the weights of a ViT, by the names of ``current_names``, say of its sizes."""
    prefix = "image_tokenizer.model."
    places = weights[f"{prefix}embeddings.position_embeddings"].shape
    patch = weights[f"{prefix}embeddings.patch_embeddings.projection.weight"].shape[-1]
    layers = {name.split(".")[3] for name in weights if name.startswith(f"{prefix}layers.")}
    return ViTConfig(
        hidden_size=places[2],
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, places[2] // _VIT_HEAD),
        intermediate_size=weights[f"{prefix}layers.0.mlp.fc1.weight"].shape[0],
        image_size=round((places[1] - 1) ** 0.5) * patch,
        patch_size=patch,
    )


_RENAMED = (
    ("encoder.layer.", "layers."),
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)


def current_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the names that transformers 5 gives a ViT's layers; the released ones have those of version 4."""
    found = {}
    for name, value in weights.items():
        if name.startswith("image_tokenizer."):
            for old, new in _RENAMED:
                name = name.replace(old, new)
        found[name] = value
    return found
