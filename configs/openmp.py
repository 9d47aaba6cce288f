"""How the threads of torch wait for their next operation.

With GNU OpenMP, which torch brings on Linux, they spin, by default for some milliseconds, and so keep a core from what
comes between two operations: a second thread of our own kernels came to nothing on two cores. Where they give up after
some tens of microseconds, a step of refinement takes a fifth less, its networks' part included
(``benchmarks.refine_step``).
"""

from __future__ import annotations

from collections.abc import MutableMapping

_SPINS = "10000"
_SAID = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_briefly(environment: MutableMapping[str, str]) -> None:
    """Say so in an environment, for torch to read when it is loaded; what the user says there stays."""
    if not any(name in environment for name in _SAID):
        environment["GOMP_SPINCOUNT"] = _SPINS
