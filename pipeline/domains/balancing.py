"""Weights of guidance, measured: domain and text share what plain guidance would do (paper 1, norm balance).

Kept in the domain's card, where every command that draws with it finds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.atomic import write_json
from ...configs.errors import BadInput
from ...configs.schema import MakeConfig
from ...systems.domain.model import Domain, read_card
from ...systems.domain.places import CARD, find_domain
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Ingredients
from ...systems.models.uses import PICTURE, REFINE, Uses
from ..run.models import open_models
from ..run.progress import Progress

if TYPE_CHECKING:
    from .preparing import Prepared

TOTAL = 7.0
"""w_0: the weight that plain guidance would have (paper 1)."""


def measured(
    made: Sequence[Ingredients],
    total: float,
    uses: Uses,
    console: Progress,
) -> dict[str, float]:
    """{"domain", "text"}: the mean of the balanced weights over several prompts.

    Raises: BadInput where a difference has no length: a domain that says what its base says.
    """
    base: Any = made[0].base
    scheduler = base.sampler(uses.scheduler)
    advance = console.task("measuring weights", len(made))
    found: list[dict[str, float]] = []
    for one in made:
        try:
            found.append(balanced(one, total, scheduler, base.latent_shape, device=base.device))
        except ValueError as error:
            raise BadInput(f"the weights cannot be balanced: {error}") from error
        advance()
    return {name: round(sum(one[name] for one in found) / len(found), 3) for name in found[0]}


def for_card(picture: Mapping[str, float], uses: Uses) -> dict[str, dict[str, float]]:
    """What a card keeps of balanced weights: those of a picture, and refinement's of the domain.

    Refinement's text weighs several times a picture's; the domain keeps its proportion to it. A base's own weight is of
    some other domain, and can be many times too strong: an emoji's teapot got sides of every colour.
    """
    text = uses.weights.get(REFINE, {}).get("text")
    if not picture.get("text") or "domain" not in picture or text is None:
        return {PICTURE: dict(picture)}
    return {PICTURE: dict(picture), REFINE: {"domain": round(text * picture["domain"] / picture["text"], 3)}}


def ingredients(prepared: Prepared, network: Any, prompt: str) -> Ingredients:
    """The branches of a picture: the base, and the network as the domain or the model beside it."""
    base, settings = prepared.base, prepared.settings
    predictor = prepared.task(prepared.learned).predicting(network)
    if settings.method == "null-text":
        domain = Domain(settings.name, {}, network, predictor, base.unconditional, "in training")
        return Ingredients(base, prompt, domain=domain)
    return Ingredients(base, prompt, model=replace(base, name=settings.name, predictor=predictor))


def balanced_for(
    prepared: Prepared, network: Any, prompts: Sequence[str], console: Progress
) -> dict[str, float]:
    """A picture's weights of a domain in training; empty, and told, where they cannot be measured."""
    made = [ingredients(prepared, network, prompt) for prompt in prompts]
    try:
        return measured(made, TOTAL, prepared.store.uses(), console)
    except BadInput as error:
        console.notice(f"{error}; the weights of its base are used")
        return {}


def balance_domain(
    name: str,
    console: Progress,
    *,
    prompts: Sequence[str] = (),
    total: float = TOTAL,
    base: str | None = None,
    device: str = "auto",
) -> tuple[Path, dict[str, float]]:
    """Measure the weights of a domain anew and keep them in its card; (its folder, a picture's weights).

    Args:
        prompts: measured over these; over the words of its training where there are none.
        base: the one that its card names if None.
    Raises: BadInput for a base that is not its own, or weights that cannot be measured.
    """
    folder = find_domain(name)
    card = read_card(folder)
    recipe = card.get("recipe") if isinstance(card.get("recipe"), dict) else {}
    wanted = base or card.get("base")
    if not isinstance(wanted, str):
        raise BadInput(f"the card of {name!r} names no base; give --base")
    words = [f"a {word}" for word in (recipe or {}).get("words", ())]
    store = open_models(MakeConfig(base=wanted, domain=str(folder), device=device))
    made = [
        Ingredients(store.base, prompt, domain=store.domain)
        for prompt in (prompts or words or [f"a {card['name']}"])
    ]
    uses = store.uses()
    weights, kept = measured(made, total, uses, console), card.get("weights") or {}
    found = {role: {**kept.get(role, {}), **told} for role, told in for_card(weights, uses).items()}
    write_json(folder / CARD, card | {"weights": {**kept, **found}})
    return folder, weights
