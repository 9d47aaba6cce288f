"""What a guidance will do before it does it: terms, unique branches, their coefficients, network calls per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...guidance.algebra import Branch, Guidance


def explain(guidance: Guidance, times: Sequence[float], formula: str) -> dict[str, Any]:
    """The plan as data.

    Args:
        times: t / T of the sampler's steps, the noisiest first.
        formula: the recipe in words.
    Returns: base, terms (positive, negative, weight and transform at three times), coefficients of each unique branch
        at three times, and per step the network forwards and their rows for one picture; one network per predictor.
    """
    shown = sorted({times[0], times[len(times) // 2], times[-1]}, reverse=True)
    terms = [
        {
            "positive": term.positive.name,
            "negative": term.negative.name,
            "weight": {f"{t:.2f}": round(term.weight_at(t), 4) for t in shown},
            "transform": None if term.transform is None else type(term.transform).__name__,
        }
        for term in guidance.terms
    ]
    rows = {f"{t:.2f}": guidance.coefficients(t) for t in shown}
    coefficients = {
        branch.name: {t: round(row.get(branch, 0.0), 4) for t, row in rows.items()}
        for branch in guidance.branches
    }
    plans = [guidance.needed([t]) for t in times]
    return {
        "formula": formula,
        "base": guidance.base.name,
        "terms": terms,
        "coefficients": coefficients,
        "networks": {branch.name: branch.predictor.name for branch in guidance.branches},
        "steps": len(times),
        "forwards": [_networks(plan) for plan in plans],
        "rows": [len(plan) for plan in plans],
    }


def _networks(branches: Sequence[Branch]) -> int:
    return len({id(branch.predictor) for branch in branches})


def as_text(plan: dict[str, Any]) -> str:
    """The plan for people to read."""
    lines = [f"eps_hat = {plan['formula']}", "", f"base   {plan['base']}"]
    for term in plan["terms"]:
        weights = ", ".join(f"{w:g} at t={t}" for t, w in term["weight"].items())
        constant = len(set(term["weight"].values())) == 1
        told = f"{next(iter(term['weight'].values())):g}" if constant else weights
        across = f", {term['transform']}" if term["transform"] else ""
        lines.append(f"term   {term['positive']} - {term['negative']}, weight {told}{across}")
    times = list(next(iter(plan["coefficients"].values())))
    width = max(len(name) for name in [*plan["coefficients"], "branch"]) + 2
    lines += ["", f"{'branch':{width}}{'network':20}" + "".join(f"{'t=' + t:>10}" for t in times)]
    for name, row in plan["coefficients"].items():
        numbers = "".join(f"{row[t]:10.2f}" for t in times)
        lines.append(f"{name:{width}}{plan['networks'][name][:19]:20}{numbers}")
    sums = "".join(f"{sum(row[t] for row in plan['coefficients'].values()):10.2f}" for t in times)
    lines.append(f"{'sum':{width}}{'':20}{sums}")
    lines += ["", f"{plan['steps']} steps: {_calls(plan['forwards'], plan['rows'])}"]
    return "\n".join(lines)


def _calls(forwards: Sequence[int], rows: Sequence[int]) -> str:
    kinds = dict.fromkeys(zip(forwards, rows, strict=True))
    count = {kind: sum(1 for pair in zip(forwards, rows, strict=True) if pair == kind) for kind in kinds}
    return ", then ".join(
        f"{n} with {_many(f, 'network call')} ({_many(r, 'branch', 'branches')})"
        for (f, r), n in count.items()
    )


def _many(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
