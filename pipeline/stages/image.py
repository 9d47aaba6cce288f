"""Stage 10-image: the prompt becomes a picture of one subject, guided into the domain."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from ...configs.atomic import read_json_object, write_bytes, write_json
from ...configs.errors import SlipcastError
from ...configs.picture import OF_MODELS, PictureConfig
from ...configs.schema import MakeConfig
from ...systems.guided.branches import framed
from ...systems.guided.ranking import evidence
from ...systems.guided.recipes import recipe_named
from ...systems.guided.settled import since, until
from ...systems.images.foreground import cut_out, squared
from ...systems.types import SubjectImage
from ..drawing.pictures import draw, steps
from ..drawing.plan import Plan, plan_pictures
from ..run.stage import StageContext
from .facts import ImageFacts
from .own_pictures import take_pictures


def run(ctx: StageContext) -> ImageFacts:
    """Draw candidates, cut them out, rank them, keep the best as image.png (RGBA, square); or take the user's own."""
    if ctx.config.image.picture:
        return take_pictures(ctx)
    if ctx.config.image.pick is not None:
        return pick_picture(ctx, ctx.config.image.pick)
    plan, latents, pictures = candidates_of(ctx)
    made = plan.made
    targets = [made.text] if made.domain is None else [made.in_domain, made.text]
    gains = evidence(made.null, targets, latents, ctx.generator("rank"))
    # By the text alone: every candidate is in the domain already, and the domain's evidence prefers the busiest glaze.
    text = gains[made.text.name]
    scores = text / text.abs().mean()
    subjects = [_subject(picture) for picture in pictures]
    order = sorted(
        range(len(pictures)), key=lambda i: float(scores[i]) - framing_fault(subjects[i]), reverse=True
    )
    best = subjects[order[0]]
    if best is None:
        raise SlipcastError(
            f"none of the {len(pictures)} pictures of {ctx.prompt!r} shows a subject before a plain background; "
            "try another --seed or image.candidates"
        )
    squared(best).save(ctx.folder / "image.png")
    if ctx.config.lift.keep > 1:
        _keep(ctx, order, subjects, gains)
    facts: dict[str, Any] = {
        "prompt": framed(made.prompt, *made.framings),
        "chosen": order[0],
        "ranking": order,
        **{f"{name}_evidence": [round(float(g), 5) for g in gain] for name, gain in gains.items()},
        "coverage": round(float(best.alpha.mean()), 4),
    }
    write_json(ctx.folder / "image.json", facts)
    return cast(ImageFacts, facts)


def pick_picture(ctx: StageContext, number: int) -> ImageFacts:
    """Keep candidate ``number``, whatever its rank.

    It is taken out of candidates.png, where it has 8 bits a channel, so that drawings made before, of a run that left
    the choice open (``batch.reuse`` puts them here), give the very bytes that drawing all of them again would.
    """
    count, row = ctx.config.image.candidates, ctx.folder / "candidates.png"
    drawn = ctx.folder / "image.json"
    if drawn.is_file() and row.is_file():
        asked = str(read_json_object(drawn, "what the pictures were asked for")["prompt"])
    else:
        made = candidates_of(ctx)[0].made
        asked = framed(made.prompt, *made.framings)
    with Image.open(row) as opened:
        width = opened.width // count
        picture = opened.convert("RGB").crop((number * width, 0, (number + 1) * width, opened.height))
    subject = _subject(np.asarray(picture, np.float32) / 255)
    if subject is None:
        raise SlipcastError(
            f"candidate {number} of {ctx.prompt!r} shows no subject before a plain background; pick another one"
        )
    squared(subject).save(ctx.folder / "image.png")
    facts: ImageFacts = {
        "prompt": asked,
        "chosen": number,
        "drawn": count,
        "coverage": round(float(subject.alpha.mean()), 4),
    }
    write_json(ctx.folder / "image.json", facts)
    return facts


def candidates_of(ctx: StageContext) -> tuple[Plan, torch.Tensor, np.ndarray]:
    """Draw all candidates; candidates.png, a row of them, grows as they are drawn.

    Returns: how they were planned, latents [B, C, h, w], pictures [B, H, W, 3] in [0, 1].
    """
    plan = plan_pictures(picture_of(ctx.config, ctx.prompt, ctx.seed), ctx.progress, ctx.models)
    advance = ctx.progress.task("drawing pictures", steps(plan))
    latents, pictures = list[torch.Tensor](), list[np.ndarray]()
    for batch in draw(plan, lambda: advance()):
        latents.append(batch.latents)
        pictures += list(batch.pictures.permute(0, 2, 3, 1).cpu().numpy())
        held = io.BytesIO()
        Image.fromarray(_row(pictures)).save(held, "PNG")
        write_bytes(ctx.folder / "candidates.png", held.getvalue())  # whole at any moment, for who looks on
    return plan, torch.cat(latents), np.stack(pictures)


def _keep(
    ctx: StageContext,
    order: Sequence[int],
    subjects: Sequence[SubjectImage | None],
    gains: Mapping[str, torch.Tensor],
) -> None:
    """Write the best lift.keep candidates, kept-1.png the best of them, and what the lift is to rank them by."""
    told = []
    for number in order[: ctx.config.lift.keep]:
        subject = subjects[number]
        if subject is not None:
            told.append({"candidate": number, **{name: float(gain[number]) for name, gain in gains.items()}})
            squared(subject).save(ctx.folder / f"kept-{len(told)}.png")
    write_json(ctx.folder / "kept.json", {"elevation_deg": ctx.config.image.elevation_deg, "kept": told})


def picture_of(config: MakeConfig, prompt: str, seed: int) -> PictureConfig:
    """What ``slipcast image`` would be told to draw the candidates of a run."""
    image = config.image
    shared = {
        name: getattr(image, name)
        for name in (
            "recipe", "weights", "negative", "wanted", "unwanted", "conditions", "balance", "control", "control_scale",
            "control_start", "control_end", "control_branches",
            "edit", "strength", "mask", "size", "steps", "scheduler", "view", "background",
        )
    }  # fmt: skip
    models = {name: getattr(config, name) for name in OF_MODELS}
    if "model" not in recipe_named(image.recipe).reads:
        models["model"] = None
    return PictureConfig(
        prompt=prompt,
        as_make=True,
        until=until(image),
        since=since(image),
        guidance_rescale=image.guidance_rescale,
        seed=seed,
        count=image.candidates,
        **models,
        **shared,
    )


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


def _row(pictures: Sequence[np.ndarray]) -> np.ndarray:
    return (np.concatenate(pictures, 1) * 255 + 0.5).astype(np.uint8)
