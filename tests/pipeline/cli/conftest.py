"""The command line with stages that cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop

from slipcast.pipeline import make as make_module


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    fake = Workshop(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        make_module, "make", lambda prompt, config, **options: fake.make(config, prompt, **options)
    )
    return fake
