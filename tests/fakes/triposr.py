"""A tiny TripoSR in the real layout, whose planes are one known field whatever the picture: a ball of two colours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import yaml
from fakes.shap_e import CENTRE, RADIUS, YAW_DEG

CONFIG: dict[str, Any] = {
    "cond_image_size": 64,
    "image_tokenizer_cls": "tsr.models.tokenizers.image.DINOSingleImageTokenizer",
    "image_tokenizer": {},
    "tokenizer_cls": "tsr.models.tokenizers.triplane.Triplane1DTokenizer",
    "tokenizer": {"plane_size": 32, "num_channels": 32},
    "backbone_cls": "tsr.models.transformer.transformer_1d.Transformer1D",
    "backbone": {
        "in_channels": "${tokenizer.num_channels}",
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "cross_attention_dim": 64,
    },
    "post_processor_cls": "tsr.models.network_utils.TriplaneUpsampleNetwork",
    "post_processor": {"in_channels": 32, "out_channels": 5},
    "decoder_cls": "tsr.models.network_utils.NeRFMLP",
    "decoder": {"in_channels": 15, "n_neurons": 16, "n_hidden_layers": 3, "activation": "silu"},
    "renderer_cls": "tsr.models.nerf_renderer.TriplaneNeRFRenderer",
    "renderer": {
        "radius": 0.87,
        "feature_reduction": "concat",
        "density_activation": "exp",
        "density_bias": -1.0,
        "num_samples_per_ray": 128,
    },
}
_NEW_TO_OLD = (
    ("layers.", "encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)
_HIGH = 30.0  # silu(30 + u) is 30 + u


def network(seed: int = 0) -> Any:
    """Of random numbers."""
    from transformers import ViTConfig

    from slipcast.systems.lift.triposr_network import TripoSR

    config = {**CONFIG, "backbone": {**CONFIG["backbone"], "in_channels": 32}}
    torch.manual_seed(seed)
    vit = ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=96,
        image_size=32,
        patch_size=16,
    )
    made = TripoSR(config, vit).eval().requires_grad_(False)
    made.tokenizer["embeddings"].normal_()
    return made


def save(folder: Path, made: Any, *, old_names: bool = True) -> Path:
    """config.yaml and model.ckpt, with the names that transformers 4 gave, as in the released one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    weights = {}
    for name, value in made.state_dict().items():
        if old_names and name.startswith("image_tokenizer."):
            for new, old in _NEW_TO_OLD:
                name = name.replace(new, old)
        weights[name] = value
    torch.save(weights, folder / "model.ckpt")
    return folder


def save_ball(folder: Path) -> Path:
    """The ball of ``fakes.shap_e``, red on its right and green behind, in TripoSR's frame: front +X, right +Y."""
    made = network()
    made.backbone["proj_out"].weight.zero_()
    made.backbone["proj_out"].bias.zero_()
    upsample = made.post_processor["upsample"]
    upsample.weight.zero_()
    upsample.bias.zero_()
    side = CONFIG["tokenizer"]["plane_size"]
    for channel in range(3):
        upsample.weight[channel, channel] = 1.0
    quarter = (
        torch.tensor([-0.5, 0.5]) / side
    )  # from the middle of a token to those of the four pixels made of it
    upsample.weight[3, 0], upsample.weight[4, 0] = quarter[:, None].expand(2, 2), quarter.expand(2, 2)

    # Planes hold what only their own two coordinates say: xy two squares and two directions, xz the third square;
    # channels 3 and 4 are the squares' slopes down and across, so that a token is no step.
    line = (torch.arange(side) + 0.5) / side * 2 - 1
    second, first = torch.meshgrid(line, line, indexing="ij")  # rows are the later coordinate
    ours_x, ours_y = second - CENTRE[0], -first - CENTRE[1]
    cos, sin = math.cos(math.radians(YAW_DEG)), math.sin(math.radians(YAW_DEG))
    planes = made.tokenizer["embeddings"].zero_()
    planes[0, 0] = ours_x.square() + ours_y.square()
    planes[0, 1] = ours_x * cos + ours_y * sin
    planes[0, 2] = ours_y * cos - ours_x * sin
    planes[0, 3], planes[0, 4] = 2 * ours_x, -2 * ours_y
    planes[1, 0], planes[1, 3] = (second - CENTRE[2]).square(), 2 * (second - CENTRE[2])

    layers = made.decoder["layers"]
    for layer in layers[::2]:
        layer.weight.zero_()
        layer.bias.zero_()
    for unit, features in ((0, (0, 5)), (1, (1,)), (2, (2,))):
        layers[0].weight[unit, list(features)] = 1.0
        layers[0].bias[unit] = _HIGH
        for layer in layers[2:-1:2]:
            layer.weight[unit, unit] = 1.0
    steep = 300.0  # e^(300 R^2) is still a float32
    layers[-1].weight[0, 0], layers[-1].bias[0] = -steep, steep * (RADIUS**2 + _HIGH) + math.log(25) + 1
    for row, unit in ((1, 1), (2, 2)):
        layers[-1].weight[row, unit], layers[-1].bias[row] = 30.0, -30.0 * _HIGH
    return save(folder, made)
