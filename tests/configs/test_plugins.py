"""Other packages add to our tables by entry points: tried with a small package, installed for one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from slipcast.configs.errors import BadInput
from slipcast.configs.plugins import KINDS, entries, look_up, version_of

MODULE = """
from slipcast.pipeline.exporters.table import Format
from slipcast.systems.lift.table import Lift
from slipcast.systems.refine.trainable import FIELDS

def ball(picture, settings, source, device):
    return lambda points: (80.0 * (points.norm(dim=1) < 0.5), points.abs())

LIFT = Lift(ball, source="nothing in particular")
field = FIELDS["voxels"]

def write_xyz(asset, path):
    path.write_text("".join(f"{x} {y} {z}\\n" for x, y, z in asset.mesh.vertices))

XYZ = Format(lambda: write_xyz)
number = 3
"""
OFFERS = """
[slipcast.lifts]
ball = potter:LIFT
broken = potter:gone

[slipcast.fields]
theirs = potter:field
number = potter:number

[slipcast.exporters]
xyz = potter:XYZ
"""


def install(folder: Path, offers: str = OFFERS, *, name: str = "potter", module: str = MODULE) -> Path:
    """What an installer leaves behind: the module and its metadata."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(module)
    told = folder / f"{name}-1.2.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (told / "entry_points.txt").write_text(textwrap.dedent(offers))
    return folder


@pytest.fixture
def potter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "potter", raising=False)
    return folder


def test_no_package_offers_anything_of_itself() -> None:
    assert {kind: entries(kind) for kind in KINDS} == {kind: {} for kind in KINDS}


def test_another_process_knows_a_package_that_is_installed(tmp_path: Path) -> None:
    """Down to the settings: a lift, a field and a format of another package may be asked for."""
    code = """
        import sys
        from slipcast.configs.loading import load_config
        config = load_config("starter", ["refine.field=theirs", "export.formats=[glb, xyz]", "lift_model=ball"])
        assert "potter" not in sys.modules, "nothing of it is imported before it is used"
        from slipcast.pipeline.exporters.table import check_formats, format_named, main_files
        check_formats(config.export.formats)
        assert ".xyz" in main_files() and format_named("xyz").load().__name__ == "write_xyz"
        from slipcast.systems.refine.trainable import FIELDS, trainable_field
        assert trainable_field("theirs") is FIELDS["voxels"]
        from slipcast.pipeline.run.models import ModelStore
        assert ModelStore(config).lift == "ball"
    """
    site = install(tmp_path / "site")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, env=os.environ | {"PYTHONPATH": path}
    )


def test_what_a_lift_of_another_package_reads_and_who_made_it_are_its_identity(
    potter: Path, tmp_path: Path
) -> None:
    from slipcast.configs.loading import load_config
    from slipcast.pipeline.run.models import ModelStore

    source = tmp_path / "weights.bin"
    with pytest.raises(BadInput, match=r"lift_model=ball needs lift.source, nothing in particular"):
        ModelStore(load_config("starter", ["lift_model=ball"])).identities(["lift_model"])
    store = ModelStore(load_config("starter", ["lift_model=ball", f"lift.source={source}"]))
    with pytest.raises(BadInput, match="is not there; give nothing in particular"):
        store.identities(["lift_model"])
    revisions = []
    for content in (b"1", b"22"):
        source.write_bytes(content)
        told = store.identities(["lift_model"])["lift_model"]
        assert told["id"] == "ball" and told["revision"].startswith("potter 1.2 ")
        revisions.append(told["revision"])
    assert revisions[0] != revisions[1] and version_of("lifts", "mesh") == ""


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        (
            "lifts",
            "broken",
            r"the lift 'broken' of potter 1.2 cannot be loaded from potter:gone \(AttributeError",
        ),
        ("lifts", "bal", "there is no lift 'bal'; did you mean ball"),
        ("fields", "number", "the field 'number' of potter 1.2 .* should be a function, not a int"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(potter: Path, kind: str, name: str, sentence: str) -> None:
    from slipcast.systems.lift.table import LIFTS
    from slipcast.systems.refine.trainable import FIELDS

    with pytest.raises(BadInput, match=sentence) as caught:
        look_up(kind, name, {"lifts": LIFTS, "fields": FIELDS}[kind])
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_is_the_packages_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path, "[slipcast.fields]\nsick = sick:field\n", name="sick", module="raise OSError('no disk')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadInput, match=r"sick 1.2 cannot be loaded .*OSError: no disk.*uninstall sick"):
        look_up("fields", "sick", {"voxels": print})


def test_names_of_ours_and_names_given_twice_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipcast.systems.lift.table import LIFTS, lift_named

    install(tmp_path / "one", "[slipcast.lifts]\nmesh = one:LIFT\n", name="one")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    with pytest.raises(BadInput, match=r"the lift 'mesh' of one 1.2 has the name of one of slipcast's own"):
        lift_named("mesh")
    shutil.rmtree(tmp_path / "one" / "one-1.2.dist-info")  # as an installer puts a package in another's place
    install(tmp_path / "one", "[slipcast.lifts]\nx = one:LIFT\n", name="one")
    assert list(entries("lifts", LIFTS)) == ["x"]
    install(tmp_path / "two", "[slipcast.lifts]\nx = two:LIFT\n", name="two")
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    with pytest.raises(BadInput, match=r"several lifts named 'x', from one 1.2 and two 1.2"):
        lift_named("x")
