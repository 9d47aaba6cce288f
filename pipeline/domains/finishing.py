"""The end of a training: the best weights become a domain, its weights of guidance are measured, a page tells of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object, write_text
from ...systems.domain.held_out import Verdict, best_of, verdict
from ...systems.training.memory import Choice
from ..run.progress import Progress
from .balancing import balanced_for, for_card
from .page import training_page
from .preparing import Prepared, evaluating

REPORT = "report.html"
_UNTOLD = ("pictures", "name", "base", "licence", "captions")  # said elsewhere, or of this machine


def best_verdict(evaluations: list[dict[str, Any]]) -> Verdict:
    """How much better the best weights take held-out pictures than those at the start."""
    losses = [one["losses"] for one in evaluations]
    return verdict([losses[0], losses[best_of(losses)]]) if losses else Verdict(0.0, 0.0, False, 0)


def finish(
    domain: Path,
    prepared: Prepared,
    network: Any,
    evaluations: list[dict[str, Any]],
    told: Mapping[str, Any],
    choice: Choice,
    console: Progress,
) -> None:
    """Write the folder to share, whole or not at all, and the report of its training.

    What an extended training had made before is kept in the training's folder; what is finished already is left alone.
    """
    card, own = card_of(prepared, evaluations, told, choice), domain / prepared.method.card
    if own.is_file():
        before = read_json_object(own, "the card").get("training")
        if isinstance(before, dict) and before.get("steps") == card["training"]["steps"]:
            console.notice(f"{domain} is finished already; `slipcast domain extend {domain.name}` adds steps")
            return
    if prepared.settings.method == "null-text":
        ready = evaluating(prepared.base, network, prepared.settings.precision)
        prompts = [f"a {word}" for word in prepared.settings.words] or [prepared.settings.said]
        weights = balanced_for(prepared, ready, prompts, console)
        card["weights"] = for_card(weights, prepared.store.uses())
    half = domain.with_name(f".{domain.name}.half")
    shutil.rmtree(half, ignore_errors=True)  # ours: what a killed process left
    half.mkdir(parents=True)
    prepared.method.write(prepared.base, {prepared.base.family.network: network}, half, card)
    if domain.exists():
        domain.rename(prepared.work / f"earlier-{len(told['stretches']) - 1}")
    half.rename(domain)
    write_text(prepared.work / REPORT, training_page(prepared, card, evaluations))


def card_of(
    prepared: Prepared, evaluations: list[dict[str, Any]], told: Mapping[str, Any], choice: Choice
) -> dict[str, Any]:
    """What the domain says of itself: its base, its licence, how it was learned and how well."""
    settings, base, collection = prepared.settings, prepared.base, prepared.collection
    losses = [one["losses"] for one in evaluations]
    best, found = evaluations[best_of(losses)], best_verdict(evaluations)
    recipe = {name: value for name, value in asdict(settings).items() if name not in _UNTOLD}
    card: dict[str, Any] = {
        "name": settings.name,
        "prompt_template": "{prompt}",
        "base": settings.base,
        "base_identity": base.network_identity,
        "licence": settings.licence,
        "recipe": recipe,
        "pictures": {"count": len(collection.pictures), "identity": collection.identity},
        "training": {
            "steps": sum(one["steps"] for one in told["stretches"]),
            "batch": (settings.batch or 1),
            "best_step": best["step"],
            "held_out_gain": round(found.gain, 5),
            "held_out_error": round(found.error, 5),
            "learning": found.learning,
            "frechet": best["frechet"],
            "recognised": best["recognised"],
            "extractor": settings.extractor if best["frechet"] is not None else None,
            "samples": best["samples"],
            "memory_gb": round(choice.memory.total / 1e9, 2),
        },
    }
    if prepared.classes:
        card["classes"] = list(prepared.classes)
    if settings.distil_guidance:
        card["guidance_inside"] = settings.distil_guidance
    if settings.method != "null-text":
        card["kind"] = settings.method
    return card
