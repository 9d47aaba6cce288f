"""What the cells measure with: the base, pictures drawn under a guidance, distances, recognition, edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...configs.atomic import write_bytes
from ...guidance.conditioning import Control
from ...guidance.evaluation import GuidedNoise
from ...guidance.noise import named_generator
from ...guidance.sampling import sample, seeded_noise
from ...starter.judge import load_judge
from ...systems.evaluation.appearance import canny_discrepancy
from ...systems.evaluation.distances import NEIGHBOURS, coverage, interval
from ...systems.evaluation.extractors import extractor_named, features_of
from ...systems.evaluation.frechet import Reference, frechet_of_features
from ...systems.images.control_maps import canny
from ...systems.models.base import Base, load_base
from ...systems.models.known import WEIGHTS
from ..drawing.files import png
from ..run.finding import find_model
from ..run.progress import Reporter
from .scales import Scale, short_name

_BATCH = 24
Pictures = np.ndarray
"""uint8 [N, S, S, 3]"""


@dataclass(frozen=True)
class Bench:
    """Everything is opened when first asked for.

    Attributes:
        true: the file of the domain's own pictures that distances are to.
        clip: a CLIP network at hand, for the alignment.
    """

    scale: Scale
    true: Path
    console: Reporter
    device: str = "cpu"
    clip: str | None = None

    @cached_property
    def base(self) -> Base:
        """The scale's base."""
        return load_base(find_model("base", self.scale.base), name=self.scale.base, device=self.device)

    @cached_property
    def judge(self) -> Any:
        """The starter's, which names nouns alone here."""
        return load_judge(WEIGHTS / "judge").eval()

    @cached_property
    def truth(self) -> Pictures:
        """The domain's own pictures."""
        from .world import read_pictures

        return read_pictures(self.true)[0].permute(0, 2, 3, 1).numpy()

    @cached_property
    def networks(self) -> dict[str, Any]:
        """Extractors by name. BadInput, with the line for pip, for one that is not here."""
        return {name: extractor_named(name).load(self.device) for name in self.scale.extractors}

    @cached_property
    def true_features(self) -> dict[str, np.ndarray]:
        """What each extractor sees in the domain's own pictures."""
        return {name: self.features(name, self.truth) for name in self.networks}

    def features(self, name: str, pictures: Pictures) -> np.ndarray:
        """[N, D] of pictures."""
        advance = self.console.task(f"{name} looks at pictures", len(pictures))
        shown = [Image.fromarray(one) for one in pictures]
        return features_of(shown, extractor_named(name), self.networks[name], advance=advance)

    def draw(self, guided: GuidedNoise, count: int, seed: int) -> Pictures:
        """So many pictures of a guidance; the first k are the same whatever the count."""
        return self.draw_each(lambda some: guided, count, seed)

    def draw_each(
        self,
        guided: Callable[[range], GuidedNoise],
        count: int,
        seed: int,
        *,
        steps: int | None = None,
        base: Base | None = None,
    ) -> Pictures:
        """Pictures that are not all asked for by the same words: ``guided`` is told which come next."""
        base = base or self.base
        advance = self.console.task("drawing pictures", count)
        generator = named_generator(seed, "tables", "pictures")
        numbers = torch.randint(2**31, (count,), generator=generator).tolist()
        parts = []
        for start in range(0, count, _BATCH):
            some = range(start, min(start + _BATCH, count))
            noise, generators = seeded_noise(
                [numbers[i] for i in some], base.latent_shape, device=base.device
            )
            latents = sample(
                guided(some),
                base.sampler(self.scale.scheduler),
                noise,
                steps=steps or self.scale.sample_steps,
                generator=generators,
            )
            parts.append(as_bytes(base.decode(latents)))
            advance(len(some))
        return np.concatenate(parts)

    def distances(self, pictures: Pictures) -> dict[str, Any]:
        """Frechet distances to the domain's own pictures with bootstrap intervals, and how much of it is covered."""
        return self._distances(self.true_features, pictures)

    def between(self, true: Pictures, pictures: Pictures) -> dict[str, Any]:
        """The same to other true pictures."""
        return self._distances({name: self.features(name, true) for name in self.networks}, pictures)

    def _distances(self, true_features: Mapping[str, np.ndarray], pictures: Pictures) -> dict[str, Any]:
        found: dict[str, Any] = {"pictures": len(pictures)}
        directions, draws = self.scale.directions, self.scale.draws
        for name, true in true_features.items():
            made, short = self.features(name, pictures), short_name(name)

            distance = _distance(true, made, directions)
            found[f"fd_{short}"] = distance(np.arange(len(made)))
            if draws:
                found[f"fd_{short}_95"] = list(interval(distance, len(made), draws=draws))
            if min(len(true), len(made)) > NEIGHBOURS:
                told = coverage(true, made)
                found |= {f"coverage_{short}": told.coverage, f"precision_{short}": told.precision}
        return found

    def recognised(self, pictures: Mapping[str, Pictures]) -> dict[str, float]:
        """Share of pictures of each word that the judge calls by it: mean over all words, over known, over held-out.

        At a scale whose words are no nouns, the mean cosine of CLIP, where there is one.
        """
        if self.scale.base != "starter":
            return self._alignment(pictures)
        rates = {word: self.named({word: made}) for word, made in pictures.items()}
        groups = {"align": rates, "align_known": self.scale.known, "align_held_out": self.scale.held_out}
        return {name: float(np.mean([rates[word] for word in some])) for name, some in groups.items() if some}

    def named(self, pictures: Mapping[str, Pictures]) -> float:
        """Share of pictures of each noun that the judge calls by it, the mean over nouns."""
        rates = []
        for noun, made in pictures.items():
            shown = torch.from_numpy(made).permute(0, 3, 1, 2).float() / 255
            verdict = self.judge.judge(torch.nn.functional.interpolate(shown, size=(128, 128), mode="area"))
            rates.append(float(np.mean(np.array(self.judge.nouns)[verdict.noun] == noun)))
        return float(np.mean(rates))

    def _alignment(self, pictures: Mapping[str, Pictures]) -> dict[str, float]:
        from ...systems.evaluation.alignment import load_clip

        if self.clip is None:
            return {}
        score = load_clip(self.clip, self.device)
        cosines = [
            float(score([Image.fromarray(one) for one in made], [word] * len(made)).mean())
            for word, made in pictures.items()
        ]
        return {"align": float(np.mean(cosines))}

    def edges(self, count: int) -> tuple[Pictures, Tensor]:
        """Some of the domain's own pictures, and their edges [N, 3, S, S]."""
        chosen = self.truth[:: max(1, len(self.truth) // count)][:count]
        found = np.stack([canny(one.astype(np.float32) / 255) for one in chosen])
        return chosen, torch.from_numpy(found)[:, None].repeat(1, 3, 1, 1)

    @cached_property
    def edge_network(self) -> Any:
        """The ControlNet for edges that goes with the base."""
        from ...systems.models.controlnet import control_network

        return control_network("canny", self.base)

    def follow(self, edges: Tensor) -> Control:
        """Edges as a control."""
        return Control(self.edge_network, edges)


def as_bytes(pictures: Tensor) -> Pictures:
    """Of [N, 3, S, S] in [0, 1]."""
    return (pictures.permute(0, 2, 3, 1).cpu().numpy() * 255 + 0.5).clip(0, 255).astype(np.uint8)


def discrepancy(made: Pictures, wanted: Pictures) -> float:
    """Mean over pairs of pictures of how far their edges differ."""
    pairs = zip(made.astype(np.float32) / 255, wanted.astype(np.float32) / 255, strict=True)
    return float(np.mean([canny_discrepancy(one, other) for one, other in pairs]))


def strip(pictures: Sequence[np.ndarray], path: Path) -> None:
    """Pictures [S, S, 3] side by side, as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, png(np.concatenate(list(pictures), axis=1)))


def _distance(true: np.ndarray, made: np.ndarray, directions: int) -> Callable[[np.ndarray], float]:
    """Of some rows of the features that were made."""
    if not directions:
        return lambda rows: frechet_of_features(true, made[rows])
    reference = Reference.of(true, directions)
    return lambda rows: reference.distance(made[rows])
