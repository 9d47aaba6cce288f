"""Settings of every test: offline, and as many threads as the machine's other work leaves."""

from __future__ import annotations

import os

# Set before anything imports huggingface_hub or an OpenMP library, which read them once.
os.environ["HF_HUB_OFFLINE"] = "1"
# Workers of `pytest -n` each take one core: torch's threads of one would only wait for those of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import sys

import pytest
from fakes.shapes import CheckedRooms
from hypothesis import HealthCheck, settings

sys.meta_path.insert(0, CheckedRooms())

# The same examples every time, and no verdict by the clock: a busy machine is no bug.
settings.register_profile(
    "slipcast", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("slipcast")


@pytest.fixture
def own_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that signatures name are not checked: what the function itself says of a wrong one is to be seen."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test first: a worker that begins one of them last would keep all others waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


_PROMISED = tuple(filter(None, os.environ.get("SLIPCAST_EXTRAS", "").split(",")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where extras are said to be installed (``SLIPCAST_EXTRAS=dev,eval``), a test that skips for want of one fails."""
    return _unexcused((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for whole files."""
    return _unexcused((yield))


def _unexcused(report):
    reason = str(report.longrepr)
    if report.skipped and any(f"extra [{name}]" in reason for name in _PROMISED):
        report.outcome, report.longrepr = "failed", f"skipped although the extra is installed: {reason}"
    return report
