"""Settings of every test: offline, and as many threads as the machine's other work leaves."""

from __future__ import annotations

import os

# Set before anything imports huggingface_hub or an OpenMP library, which read them once.
os.environ["HF_HUB_OFFLINE"] = "1"
# Workers of `pytest -n` each take one core: torch's threads of one would only wait for those of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from hypothesis import HealthCheck, settings

# The same examples every time, and no verdict by the clock: a busy machine is no bug.
settings.register_profile(
    "slipcast", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("slipcast")
