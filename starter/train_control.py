"""Train the starter's canny ControlNet: the prior stays frozen, and a copy of its encoder learns to follow edges.

ControlNet (arxiv.org/abs/2302.05543, section 3.1): the copy reads the edges beside x_t, and what it adds inside the
prior's UNet goes through convolutions that begin at zero. The loss is the prior's own, half of the captions are empty
(section 3.3): where text does not say what to draw, only the edges do. Edges are found in the training pictures
themselves, background included, since that is what a user's picture gives; Canny's thresholds vary, since a user's
edges will be more or fewer than ours.

One thing differs: there the edges' own last convolution begins at zero too. Edges are sparse and a short training would
never hear them over x_t, so here it begins such that both are equally loud; the zeros behind still keep the prior as it
was at the start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from ..configs.errors import BadInput
from ..guidance.algebra import Branch
from ..guidance.conditioning import Conditioning, Control
from ..guidance.evaluation import GuidedNoise
from ..guidance.recipes import cfg
from ..guidance.sampling import sample
from ..guidance.training import draw_example
from ..systems.images.control_maps import canny, edge_f1
from ..systems.models.base import load_base
from ..systems.models.precision import quiet_libraries, ready
from ..systems.training.loop import Budget, began_elsewhere, outcome, train
from .batches import Pictures, composite, open_pictures, random_backgrounds
from .generator.objects import PORCELAIN
from .train_prior import NOISE_SHIFT

EDGE_WIDTHS = (16, 32, 64, 96)  # three halvings, from 128 pixels to 16 latents
CAPTIONS_DROPPED = 0.45  # beyond the tenth that is empty anyway
LOW, HIGH = 100, 200  # Canny's thresholds in ``edges.canny``; in training, half to twice as much


@dataclass
class ControlTask:
    """Denoising of captioned pictures by the frozen prior with control; see ``training.Task``."""

    shards: Path
    prior: Path

    def modules(self) -> dict[str, nn.Module]:
        """The ControlNet alone: a copy of the prior's encoder, and the edges' convolutions, seeded."""
        torch.manual_seed(0)
        with quiet_libraries():
            unet = UNet2DConditionModel.from_pretrained(self.prior / "unet", torch_dtype=torch.float32)
            control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=EDGE_WIDTHS)
        generator = torch.Generator().manual_seed(0)
        pictures, _ = Pictures(self.shards, most=512).draw(16, generator)
        _make_audible(control, random_edges(pictures, generator))
        return {"control": control}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open pictures and prior in this process; attention as plain matrix products, as in the other trainings."""
        self._control: Any = modules["control"]
        self._device = device
        self._pictures, self._base = open_pictures(self.shards, device), load_base(self.prior, device=device)
        self._unet = self._base.pipeline.unet
        with quiet_libraries():
            self._unet.to(self._control.dtype)
        for network in (self._unet, self._control):
            network.set_attn_processor(AttnProcessor())  # pyright: ignore

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of v, which the prior predicts, at shifted noise levels."""
        pictures, captions = self._pictures.draw(batch, generator)
        edges = random_edges(pictures.cpu(), generator)
        dropped = torch.rand(batch, generator=generator) < CAPTIONS_DROPPED
        captions = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        latents, prior = self._base.encode(pictures.to(self._device) / 2 + 0.5), self._base.predictor
        example = draw_example(latents, prior.schedule, prior.prediction_type, generator, shift=NOISE_SHIFT)
        noisy, edges = (
            x.to(self._device, self._unet.dtype, memory_format=torch.channels_last)
            for x in (example.x, edges)
        )
        t, text = example.t, self._base.encode_text(captions).to(self._unet.dtype)
        down, middle = self._control(noisy, t, text, edges, return_dict=False)
        v = self._unet(
            noisy, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        return example.loss(v)


@torch.no_grad()
def _make_audible(control: Any, edges: Tensor) -> None:
    """Begin the last convolution over the edges such that it says as much as the one over noise."""
    embedding = control.controlnet_cond_embedding
    nn.init.kaiming_normal_(embedding.conv_out.weight)
    noise = torch.randn(
        len(edges), control.config.in_channels, 16, 16, generator=torch.Generator().manual_seed(0)
    )
    embedding.conv_out.weight *= control.conv_in(noise).std() / embedding(edges).std()


def random_edges(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Edges [B, 3, S, S] of pictures [B, 3, S, S] in [-1, 1], with thresholds halved to doubled for each."""
    factors = 2 ** (2 * torch.rand(len(pictures), generator=generator) - 1)
    return edges_of(pictures / 2 + 0.5, factors.tolist())


def edges_of(pictures: Tensor, factors: Sequence[float]) -> Tensor:
    """Edges [B, 3, S, S] of pictures [B, 3, S, S] in [0, 1]; a factor on both of Canny's thresholds for each."""
    rows = zip(pictures.permute(0, 2, 3, 1).numpy(), factors, strict=True)
    found = np.stack([canny(row, factor * LOW, factor * HIGH) for row, factor in rows])
    return torch.from_numpy(found)[:, None].repeat(1, 3, 1, 1)


def train_control(shards: Path, prior: Path, work: Path, out: Path, budget: Budget) -> dict[str, Any]:
    """Train (or go on training) and write a folder that ``ControlNetModel.from_pretrained`` reads, float16.

    Beside the network lies control.json; its content is returned. A control belongs to its prior: other weights there
    make a new start.
    """
    base = load_base(prior, name="starter")
    began_elsewhere(work, base.network_identity)
    control = train(ControlTask(shards, prior), work, budget, label="control canny")["control"]
    assert isinstance(control, ControlNetModel)
    control.half().save_pretrained(out)
    card = {
        "kind": "canny",
        "base": base.name,
        "base_identity": base.network_identity,
        "licence": "Apache-2.0",
        "training": outcome(work, budget),
    }
    (out / "control.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


@torch.no_grad()
def evaluate_control(
    control: Path, prior: Path, shards: Path, *, count: int = 64, steps: int = 25, weight: float = 4.0
) -> dict[str, dict[str, float]]:
    """How well pictures keep to the edges of objects that nobody was trained on, with control and without.

    Both have the same captions and noise, and classifier-free guidance around the uncontrolled empty prompt.

    Args: control, prior: folders; shards: unseen objects, of which porcelain is left out: the prior does not know it;
        count: pictures at most; steps, weight: of sampling and guidance.
    Returns: under 'with' and 'without' the mean |canny(picture) - edges| per pixel as 'distance', and as 'f1' the mean
        over pictures with a tolerance of one pixel.
    """
    base = load_base(prior, name="starter")
    with quiet_libraries():
        network = ready(ControlNetModel.from_pretrained(control), "cpu", base.dtype)
    pictures, captions = canonical_pictures(shards, count)
    wanted, null = edges_of(pictures, [1.0] * len(captions)), base.encode_text([""])
    noise = torch.randn(len(captions), *base.latent_shape, generator=torch.Generator().manual_seed(0))
    text = Conditioning(text=base.encode_text(captions))
    scores = {}
    for name, told in (("with", text.following(Control(network, wanted))), ("without", text)):
        guidance = cfg(Branch("null", base.predictor, null), Branch("text", base.predictor, told), weight)
        latents = sample(GuidedNoise(guidance), base.pipeline.scheduler, noise, steps=steps)
        made = edges_of(base.decode(latents), [1.0] * len(captions))
        f1 = [edge_f1(a.numpy(), b.numpy()) for a, b in zip(made[:, 0], wanted[:, 0], strict=True)]
        scores[name] = {"distance": float((made - wanted).abs().mean()), "f1": float(np.mean(f1))}
    return scores


def canonical_pictures(shards: Path, count: int) -> tuple[Tensor, list[str]]:
    """The first picture of each object that is not porcelain, at most ``count``: [N, 3, S, S] in [0, 1], and captions.

    Raises: BadInput when all objects are porcelain.
    """
    source, rng = Pictures(shards), np.random.default_rng(0)
    porcelain = source.info["materials"].index(PORCELAIN)
    owners = np.flatnonzero(source.arrays["material"] != porcelain)[:count]
    if not owners.size:
        raise BadInput(f"{shards} holds porcelain only; give pictures of what the prior knows")
    rows = owners * source.info["recipe"]["views"]
    backgrounds, slopes = random_backgrounds(rng, len(rows))
    captions = [
        source.wording(int(row), background, rng) for row, background in zip(rows, backgrounds, strict=True)
    ]
    return torch.from_numpy(composite(source.rgba[rows], backgrounds, slopes)) / 2 + 0.5, captions
