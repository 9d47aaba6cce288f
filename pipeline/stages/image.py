"""Stage 10-image: the prompt becomes a picture of one subject, guided into the domain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from ...configs.atomic import write_json
from ...configs.errors import SlipcastError
from ...guidance.sampling import sample
from ...systems.guided.in_domain import DOMAIN, TEXT, Weights, evidence, in_domain_noise
from ...systems.images.foreground import cut_out
from ...systems.types import SubjectImage
from ..run.prompt_syntax import unread_syntax
from ..run.stage import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Draw candidates, cut them out, rank them, keep the best as image.png (RGBA)."""
    settings, base, domain = ctx.config.image, ctx.models.base, ctx.models.domain
    for word, near in base.unknown_words(ctx.prompt).items():
        hint = f"; known and near: {', '.join(near)}" if near else ""
        ctx.progress.notice(f"the base model {base.name!r} does not know the word {word!r}{hint}")
    for sentence in unread_syntax(ctx.prompt):
        ctx.progress.notice(sentence)
    prompt = ", ".join(part for part in (ctx.prompt, settings.view, settings.background) if part)
    weights = Weights(settings.domain_weight, settings.text_weight, settings.domain_until)
    guided = in_domain_noise(base, domain, [prompt], weights)
    noise = torch.cat(
        [torch.randn(1, *base.latent_shape, generator=ctx.generator(i)) for i in range(settings.candidates)]
    )
    noise = noise.to(base.device)
    advance = ctx.progress.task("drawing pictures", settings.steps)
    latents = sample(
        guided, base.pipeline.scheduler, noise, steps=settings.steps, callback=lambda *_: advance()
    )
    pictures = base.decode(latents).permute(0, 2, 3, 1).cpu().numpy()
    Image.fromarray(_row(pictures)).save(ctx.folder / "candidates.png")

    ranked = in_domain_noise(base, domain, [prompt], Weights(1.0, 1.0))
    gains = evidence(ranked, latents, ctx.generator("rank"))
    # By the text alone: every candidate is in the domain already, and the domain's evidence prefers the busiest paint.
    scores = gains[TEXT] / gains[TEXT].abs().mean()
    subjects = [_subject(picture) for picture in pictures]
    order = sorted(
        range(len(pictures)), key=lambda i: float(scores[i]) - framing_fault(subjects[i]), reverse=True
    )
    best = subjects[order[0]]
    if best is None:
        raise SlipcastError(
            f"none of the {len(pictures)} pictures of {ctx.prompt!r} shows a subject before a plain ground; "
            "try another --seed or image.candidates"
        )
    best.save(ctx.folder / "image.png")
    facts = {
        "prompt": prompt,
        "chosen": order[0],
        "ranking": order,
        "text_evidence": [round(float(g), 5) for g in gains[TEXT]],
        "domain_evidence": [round(float(g), 5) for g in gains[DOMAIN]],
        "coverage": round(float(best.alpha.mean()), 4),
    }
    write_json(ctx.folder / "image.json", facts)
    return facts


def framing_fault(subject: SubjectImage | None) -> float:
    """What to take off a candidate's score: nothing found, cut off by the border, or far too small or large."""
    if subject is None:
        return 1000.0
    border = np.concatenate([subject.alpha[0], subject.alpha[-1], subject.alpha[:, 0], subject.alpha[:, -1]])
    coverage = float(subject.alpha.mean())
    return (
        10.0 * float((border > 0.5).mean())
        + 20.0 * max(0.0, 0.04 - coverage)
        + 20.0 * max(0.0, coverage - 0.6)
    )


def _subject(picture: np.ndarray) -> SubjectImage | None:
    try:
        return cut_out(picture)
    except SlipcastError:
        return None  # ranked last; the stage fails only when no candidate shows a subject


def _row(pictures: np.ndarray) -> np.ndarray:
    return (np.concatenate(list(pictures), 1) * 255 + 0.5).astype(np.uint8)
