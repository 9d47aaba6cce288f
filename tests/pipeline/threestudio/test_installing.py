"""One file in a clone: written over an older one of ours, and over nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from fakes import threestudio_api
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.threestudio import installing
from slipcast.pipeline.threestudio.installing import NAME, install, installed_text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return threestudio_api.write_clone(tmp_path / "clone")


def test_the_file_is_written_and_an_older_one_replaced(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(clone.rglob("*"))
    path = install(clone)
    assert path == clone / "custom" / NAME and path.read_text() == installed_text()
    assert sorted(clone.rglob("*")) == sorted([*before, path])
    assert install(clone) == path
    text = installing.installed_text()
    older = installing._MARK + installing._hash("an older one\n") + "\nan older one\n"
    path.write_text(older)
    assert install(clone).read_text() == text


def test_what_is_somebody_elses_or_was_changed_stays(clone: Path) -> None:
    path = clone / "custom" / NAME
    path.write_text("mine = 1\n")
    with pytest.raises(BadInput, match=r"is not slipcast's; move it away, or replace it with --force"):
        install(clone)
    assert path.read_text() == "mine = 1\n"
    install(clone, force=True)
    path.write_text(path.read_text() + "# tuned\n")
    with pytest.raises(BadInput, match=r"was changed by hand since it was installed"):
        install(clone)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="is not slipcast's"):
        install(clone)


def test_another_folder_is_refused(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no clone of threestudio: there should be launch.py"):
        install(tmp_path)
    (clone / "threestudio" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    with pytest.raises(BadInput, match=r"is threestudio 0.1.0, which loads no custom/"):
        install(clone)


def test_the_command_says_what_to_write(clone: Path) -> None:
    result = CliRunner().invoke(app, ["threestudio", "install", str(clone)])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(clone / "custom" / NAME)
    told = json.loads(CliRunner().invoke(app, ["threestudio", "install", str(clone), "--json"]).stdout)
    assert told["yaml"] in result.stdout
    system = yaml.safe_load(told["yaml"])["system"]
    assert system["guidance_type"] == "slipcast-multi-guidance" and system["prompt_processor"] == {
        "prompt": "???"
    }
    refused = CliRunner().invoke(app, ["threestudio", "install", str(clone / "nowhere")])
    assert refused.exit_code == 2
