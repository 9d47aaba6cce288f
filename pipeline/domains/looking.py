"""Pictures of a domain while it is learned: a grid for people, a Frechet distance to held-out pictures, recognition.

A domain is drawn by itself, which the Frechet distance is of, and with words that its pictures need not show, by
in-domain guidance (paper 1, Eq. 6) at the weights that balance it as far as it has come. A whole model or a LoRA guides
the base as paper 2 says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...configs.atomic import write_bytes
from ...configs.errors import BadInput
from ...guidance.sampling import sample, seeded_noise
from ...systems.evaluation.alignment import recognised
from ...systems.evaluation.extractors import Extractor, Features, extractor_named, features_of
from ...systems.evaluation.frechet import frechet_of_features
from ...systems.evaluation.imagenet import load_network
from ...systems.guided.recipes import guided_noise_for
from ...systems.images.framing import frame_of, read_framed
from ...systems.models.uses import PICTURE
from ..run.progress import Progress
from .balancing import balanced_for, ingredients
from .preparing import Prepared

ACROSS = 4
_ALONE, _GUIDED = 1.0, 1.5  # a domain by itself; a model as domain guidance has it (paper 2)
_BATCH = 8


@dataclass(frozen=True)
class Judges:
    """Networks of others that look at pictures, as far as they are here."""

    extractor: Extractor | None
    features: Features | None
    real: np.ndarray | None
    imagenet: Any | None


def judges(prepared: Prepared, console: Progress) -> Judges:
    """What ``--extractor`` names, and what it sees in held-out pictures; nothing, told in a notice, without it."""
    settings, nobody = prepared.settings, Judges(None, None, None, None)
    if settings.extractor in (None, "none") or settings.samples == 0:
        return nobody
    extractor = extractor_named(settings.extractor)
    try:
        features, imagenet = extractor.load(str(prepared.base.device)), load_network("lite0")
    except BadInput as error:
        console.notice(f"no Frechet distance and no recognition: {error}")
        return nobody
    framing = prepared.held_out.framing
    real = [
        _image(
            read_framed(
                one.path,
                frame_of(one.size, framing.square, framing.aspect, framing.cell),
                framing.aspect,
            )
            .permute(1, 2, 0)
            .numpy()
        )
        for one in prepared.held_out.pictures
    ]
    return Judges(extractor, features, features_of(real, extractor, features), imagenet)


def look(prepared: Prepared, network: Any, seen_by: Judges, where: Path, console: Progress) -> dict[str, Any]:
    """Draw, judge, and write the grid to ``where``; figures by name, None where nobody could judge.

    Args: network: ready to be used, on the base's device.
    """
    settings, base = prepared.settings, prepared.base
    words = list(settings.words) if base.family.reads == "text" else []
    free = max(ACROSS, settings.samples) if seen_by.features is not None else ACROSS
    advance = console.task("drawing samples", free + ACROSS * len(words))
    own = own_prompts(prepared)
    made: list[list[Image.Image]] = [[]]
    for number, prompt in enumerate(own):
        made[0] += draw(prepared, network, prompt, range(number, free, len(own)), advance)
    weights = None
    if words and settings.method == "null-text":
        weights = balanced_for(prepared, network, [f"a {words[0]}"], console) or None
    made += [draw(prepared, network, f"a {word}", range(ACROSS), advance, shared=weights) for word in words]
    write_grid([row[:ACROSS] for row in made], where)
    figures: dict[str, Any] = {"frechet": None, "recognised": None, "samples": free}
    if seen_by.features is not None and seen_by.extractor is not None and seen_by.real is not None:
        found = features_of(made[0], seen_by.extractor, seen_by.features)
        figures["frechet"] = frechet_of_features(seen_by.real, found)
        if words:
            pictures = [picture for row in made[1:] for picture in row]
            texts = [word for word in words for _ in range(ACROSS)]
            figures["recognised"] = recognised(seen_by.imagenet, pictures, texts)
    return figures


def own_prompts(prepared: Prepared) -> list[str]:
    """What pictures like the domain's own are asked for by: nothing, its prompt, or some of its words or classes."""
    settings, told = prepared.settings, prepared.method.told
    if told == "nothing":
        return [""]
    if told == "prompt":
        return [settings.said if prepared.base.family.reads == "text" else ""]
    places = np.linspace(0, len(prepared.classes) - 1, min(len(prepared.classes), _BATCH)).round().astype(int)
    of_text = prepared.base.family.reads == "text"
    return [prepared.classes[place] if of_text else str(place) for place in sorted(set(places.tolist()))]


def draw(
    prepared: Prepared,
    network: Any,
    prompt: str,
    seeds: Sequence[int],
    advance: Callable[[int], None] = lambda n: None,
    *,
    shared: Mapping[str, float] | None = None,
) -> list[Image.Image]:
    """Pictures of a prompt, the empty one for nothing in particular; one for each seed.

    Args: shared: the weights of domain and text, where both are heard; those of the base's card if None.
    """
    base, settings = prepared.base, prepared.settings
    uses = prepared.store.uses()
    if settings.method == "null-text" and prompt:
        recipe, weights = "in_domain", dict(shared or uses.weights.get(PICTURE, {}))
    else:
        alone = settings.method == "null-text" or settings.distil_guidance  # or has its guidance inside
        recipe, weights = "rectified", {"model": _ALONE if alone else _GUIDED}
    noise_fn = guided_noise_for(recipe, ingredients(prepared, network, prompt), weights)
    scheduler = base.sampler(uses.scheduler)
    side = (settings.size or base.picture_size) // base.pixels_per_latent
    made: list[Image.Image] = []
    for start in range(0, len(seeds), _BATCH):
        some = seeds[start : start + _BATCH]
        noise, generators = seeded_noise(some, (base.latent_shape[0], side, side), device=base.device)
        latents = sample(noise_fn, scheduler, noise, steps=settings.sample_steps, generator=generators)
        made += [_image(one) for one in base.decode(latents).permute(0, 2, 3, 1).cpu().numpy()]
        advance(len(some))
    return made


def write_grid(rows: Sequence[Sequence[Image.Image]], where: Path) -> None:
    """Pictures of one size in rows, as one PNG."""
    import io

    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * width, y * height))
    held = io.BytesIO()
    sheet.save(held, "PNG")
    where.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(where, held.getvalue())


def _image(rgb: np.ndarray) -> Image.Image:
    """Of [H, W, 3] in [0, 1]."""
    return Image.fromarray((rgb * 255 + 0.5).clip(0, 255).astype(np.uint8))
