"""Train the starter's codec: pictures that look right after the round trip, in a latent space that is easy to model.

Loss: mean absolute error and perceptual distance (early features of EfficientNet-Lite0, ``imagenet``), which keeps
edges and paint sharp where the first alone would blur them. Latents are standardised, by their batch in training and
by the training pictures afterwards, and disturbed by noise of up to ``NOISE`` before they are decoded: a diffusion
model's are never quite on the data either.

    python -m slipcast.starter.train_codec --data DIR --work DIR --out DIR --minutes 720

trains on the shards in DIR/prior and DIR/domain (``dataset``), going on where it was stopped; ``starter build`` does
the same as one of its steps. ``--earlier CODEC`` trains that codec's decoder alone, on latents that are disturbed more,
and gives a ``patch_codec`` the layers for it. With ``--networks WEIGHTS`` as well, half of the batches are redrawn by
the prior and the domain in that folder: what those leave blurred or speckled is what their decoder should mend.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..guidance.algebra import Branch, Guidance
from ..guidance.evaluation import GuidedNoise
from ..guidance.noise import generator_on, named_generator
from ..guidance.sampling import sample
from ..systems.domain.model import load_domain
from ..systems.evaluation.imagenet import load_network, perceptual_distance
from ..systems.models.base import load_base
from ..systems.models.learned_codec import LearnedCodec
from ..systems.models.patch_codec import PatchCodec
from ..systems.training.loop import Budget, outcome, train
from .batches import Pictures, open_pictures
from .latents import load_codec

PERCEPTUAL = 0.3
NOISE, DECODER_NOISE = 0.25, 0.4  # at most; the second where the latents stay as they are
SETTLING = 2048  # pictures over which latents are standardised for good
REDRAWN = 0.5  # share of the batches, where there are networks
STEPS = 12  # of a whole sampling
MOST_STEPS = 6  # the last ones of them, that a redrawn picture goes through


@dataclass
class CodecTask:
    """Round trips of pictures of the prior's and the domain's shards; see ``training.Task``.

    With ``earlier``, a codec's folder, only its decoder learns on: everything else lives in the latents that its
    encoder defines. With ``networks``, a folder with the prior and the domain that live there, it learns on what they
    make of pictures of theirs, too.
    """

    shards: tuple[Path, ...]
    earlier: Path | None = None
    networks: Path | None = None

    def modules(self) -> dict[str, nn.Module]:
        """The codec, seeded or from its folder."""
        if self.earlier is None:
            torch.manual_seed(0)
            return {"codec": LearnedCodec()}
        codec = load_codec(self.earlier).requires_grad_()
        if isinstance(codec, LearnedCodec):
            codec.encoder.requires_grad_(False)
        elif codec.detail is None:
            torch.manual_seed(0)
            codec = codec.with_detail()
        return {"codec": codec}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open the pictures and the network that compares them in this process."""
        self._codec: Any = modules["codec"]
        self._device, self._judge = device, load_network("lite0").to(device)
        self._encodes: Any = None if self.earlier is None else load_codec(self.earlier).to(device)
        self._redraws = None if self.networks is None else Redrawing(self.networks, device)
        self._pictures = [open_pictures(folder, device) for folder in self.shards]

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean absolute error and perceptual distance of one batch, a quarter of it porcelain."""
        apart = draw_apart(self._pictures, batch, generator)
        pictures = torch.cat(apart).to(self._device)
        if self._encodes is None:
            layers = self._codec.encoder.layers
            raw = layers(pictures.to(self._codec.dtype, memory_format=torch.channels_last)).float()
            latents = (raw - raw.mean((0, 2, 3), keepdim=True)) / raw.std((0, 2, 3), keepdim=True)
        else:
            latents = self._encodes.encode(pictures).latents
            if self._redraws is not None and torch.rand((), generator=generator) < REDRAWN:
                latents = self._redraws(latents.split([len(part) for part in apart]), generator)
        drawn = generator_on(self._device, generator)
        strength, noise = (
            draw(shape, generator=drawn, device=self._device)
            for draw, shape in ((torch.rand, (batch, 1, 1, 1)), (torch.randn, latents.shape))
        )
        most = NOISE if self.earlier is None else DECODER_NOISE
        disturbed = latents + most * strength * noise
        made = self._codec.decode(
            disturbed.to(self._codec.dtype, memory_format=torch.channels_last)
        ).sample.float()
        return (made - pictures).abs().mean() + PERCEPTUAL * perceptual_distance(self._judge, made, pictures)


class Redrawing:
    """The networks that fill a latent space, which draw latents again from noise: the prior and the domain, untold."""

    def __init__(self, weights: Path, device: str) -> None:
        base = load_base(weights / "prior", device=device)
        domain = load_domain(weights / "domain", base, device=device)
        self._scheduler = base.pipeline.scheduler
        untold = (
            ("prior", base.predictor, base.condition([""])),
            ("domain", domain.predictor, domain.condition),
        )
        self._networks = [GuidedNoise(Guidance(Branch(*one))) for one in untold]

    def __call__(self, latents: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """Latents of the prior's and of the domain's pictures [n, k, h, w] each, after a few steps of sampling."""
        steps = int(torch.randint(1, MOST_STEPS + 1, (), generator=generator))
        drawn = generator_on(str(latents[0].device), generator)
        redrawn = [
            sample(
                network,
                self._scheduler,
                torch.randn(part.shape, generator=drawn, device=part.device),
                steps=STEPS,
                start=part,
                strength=(steps + 0.5) / STEPS,
            )
            for network, part in zip(
                self._networks, latents, strict=False
            )  # of three pictures none is porcelain
        ]
        return torch.cat(redrawn)


def draw_apart(sources: list[Pictures], batch: int, generator: torch.Generator) -> list[Tensor]:
    """Pictures [n, 3, S, S] in [-1, 1] of each source; each after the first gives a quarter of the batch."""
    quarter = batch // 4
    counts = [batch - quarter * (len(sources) - 1), *[quarter] * (len(sources) - 1)]
    return [
        source.draw_pictures(count, generator) for source, count in zip(sources, counts, strict=True) if count
    ]


def draw_mixed(sources: list[Pictures], batch: int, generator: torch.Generator) -> Tensor:
    """Those pictures together, [B, 3, S, S]."""
    return torch.cat(draw_apart(sources, batch, generator))


def train_codec(task: CodecTask, work: Path, out: Path, budget: Budget) -> dict[str, Any]:
    """Train (or go on training) and write the codec, float16; how it ended, with the round trip's PSNR in dB."""
    codec = train(task, work, budget, label="codec")["codec"]
    assert isinstance(codec, LearnedCodec | PatchCodec)
    codec.requires_grad_(False).to(budget.device)  # pyright: ignore[reportArgumentType]
    sources = [open_pictures(folder, budget.device) for folder in task.shards]
    if task.earlier is None:
        assert isinstance(codec, LearnedCodec)
        count = min(SETTLING, sum(len(source) for source in sources))
        codec.settle(draw_mixed(sources, count, named_generator(0, "codec", "settle")).to(budget.device))
    else:  # in bf16, the training would have rounded what it must not change
        kept = load_codec(task.earlier)
        encoder = {name: value for name, value in kept.state_dict().items() if name.startswith("encoder.")}
        codec.load_state_dict(encoder or dict(kept.named_buffers()), strict=False)
    pictures = draw_mixed(sources, 128, named_generator(0, "codec", "test")).to(budget.device)
    error = torch.cat([(codec(part).clamp(-1, 1) - part).square() for part in pictures.split(32)]).mean()
    codec.cpu().half().save_pretrained(out)
    return outcome(work, budget) | {"psnr_db": float(10 * torch.log10(4 / error))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a codec alone, resuming."""
    parser = argparse.ArgumentParser(prog="python -m slipcast.starter.train_codec", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds the shards of prior and domain")
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="for the codec")
    parser.add_argument("--minutes", type=float, required=True, help="all calls together")
    parser.add_argument("--batch", type=int, default=16, help="pictures of each worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--earlier", type=Path, help="a codec whose encoder is kept")
    parser.add_argument(
        "--networks", type=Path, help="with it: holds prior and domain, which redraw pictures"
    )
    given = parser.parse_args(arguments)
    if given.networks and not given.earlier:
        parser.error("--networks live in the latents of an earlier codec; name it with --earlier")
    task = CodecTask((given.data / "prior", given.data / "domain"), given.earlier, given.networks)
    budget = Budget(
        minutes=given.minutes, batch=given.batch, workers=given.workers, device=given.device, ema_decay=0.998
    )
    print(train_codec(task, given.work, given.out, budget))


if __name__ == "__main__":
    main()
