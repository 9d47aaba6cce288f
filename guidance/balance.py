"""Initial weights for several guidances, from how long their differences are (arxiv.org/abs/2312.08195).

    w_i = rho_i * w_0 * N_ref / N_i,   sum_i rho_i = 1      so that      sum_i w_i N_i = w_0 N_ref

w_0 is the scale that plain CFG would use (7 for Stable Diffusion), rho_i each guidance's share (equal by
default). The paper's text leaves open whose norm N is. We take the norm of the DIFFERENCE (``delta``): each
guidance then moves the prediction as far as its share of plain CFG would. ``eps`` takes the norm of the
predictions, which are all about as long, so that the rule hardly does anything. N is the mean over prompts
and timesteps, and then the ratio is taken: a ratio of means does not blow up where one difference happens
to be small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .algebra import Branch, Guidance, Term
from .evaluation import GuidedNoise
from .shapes import Latents, Timesteps


def balanced_weights(
    reference_norm: float,
    norms: Sequence[float],
    *,
    total: float = 7.0,
    shares: Sequence[float] | None = None,
) -> list[float]:
    """w_i = rho_i * total * reference_norm / norms_i.

    Raises:
        ValueError: a norm is not positive, or the shares do not fit the norms and sum to 1.
    """
    shares = [1 / max(len(norms), 1)] * len(norms) if shares is None else shares
    if len(shares) != len(norms) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"Expected {len(norms)} shares that sum to 1, got {list(shares)}.")
    if min(norms) <= 0 or reference_norm <= 0:
        raise ValueError(
            f"Norms must be positive, got {reference_norm} and {list(norms)}: two branches agree."
        )
    return [share * total * reference_norm / norm for share, norm in zip(shares, norms, strict=True)]


def balance(
    base: Branch,
    reference: Branch,
    targets: Sequence[Branch],
    samples: Iterable[tuple[Latents, Timesteps]],
    *,
    total: float = 7.0,
    shares: Sequence[float] | None = None,
    norm: str = "delta",
) -> list[float]:
    """Measure the norms and return one weight per target, for ``around(base, *zip(targets, weights))``.

    Args:
        base: the prior's null text.
        reference: the prior under a prompt; N_ref is the length of its CFG difference (``delta``), or that of
            the base's prediction (``eps``).
        samples: pairs (x_t [B, C, h, w], t [B]) over prompts and timesteps.
        norm: ``delta`` or ``eps``, see above.
    Raises:
        ValueError: norm is neither, or there are no samples.
    """
    if norm not in ("delta", "eps"):
        raise ValueError(f"norm is 'delta' or 'eps', not {norm!r}.")
    guided = GuidedNoise(Guidance(base, [Term(b, base, 1.0) for b in (reference, *targets)]))
    measured = (reference if norm == "delta" else base, *targets)
    lengths: list[list[float]] = [[] for _ in measured]
    for x_t, t in samples:
        eps = _by_branch(guided, x_t, t)
        for found, branch in zip(lengths, measured, strict=True):
            what = eps[branch] - eps[base] if norm == "delta" else eps[branch]
            found += what.flatten(1).norm(dim=1).tolist()
    if not lengths[0]:
        raise ValueError("Balancing needs at least one (x_t, t) pair.")
    reference_norm, *norms = (sum(found) / len(found) for found in lengths)
    return balanced_weights(reference_norm, norms, total=total, shares=shares)


def _by_branch(guided: GuidedNoise, x_t: Latents, t: Timesteps) -> dict[Branch, Latents]:
    by_name = guided.branches(x_t, t)
    return {branch: by_name[branch.name] for branch in guided.guidance.branches}
