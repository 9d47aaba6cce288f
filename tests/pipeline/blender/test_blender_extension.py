"""The extension, installed in Blender itself and used. Needs one: SLIPCAST_BLENDER=PATH, or a bpy to import."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blender_programs import fake

from slipcast.pipeline.blender.addon import write_extension
from slipcast.pipeline.blender.process import Blender, run_script
from slipcast.systems.types import Mesh

pytestmark = pytest.mark.blender

_SLIPCAST = """
from pathlib import Path
assert sys.argv[1] == 'make' and '--json' in sys.argv and sys.argv[-2] == '--'
out, seed = (sys.argv[sys.argv.index(option) + 1] for option in ('--out', '--seed'))
prompt = sys.argv[-1]
def say(line): print(line, file=sys.stderr, flush=True); time.sleep(0.15)
signal.signal(signal.SIGINT, lambda *_: (say('slipcast: stopped'), sys.exit(130)))
for line in ('image ...', 'image: 1.0 s', 'refine ...', 'refine: distilling 5/10, about 3 s left'): say(line)
if 'slow' in prompt: time.sleep(60)
if 'broken' in prompt: say('slipcast: the model is missing'); sys.exit(1)
run = Path(out, f"{prompt.replace(' ', '-')}-{seed}")
run.mkdir(parents=True)
(run / 'manifest.json').write_text(json.dumps({'prompt': prompt, 'seed': int(seed), 'stages': {}}))
print(json.dumps({'run': str(run), 'glb': None}))
"""


@pytest.fixture(scope="module")
def pressed(
    ball: Path,
    box: tuple[Path, dict[str, Any], Path],
    blender: Blender,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What happened when the extension was installed in Blender and its buttons were pressed."""
    folder = tmp_path_factory.mktemp("extension")
    shutil.copytree(ball, folder / "runs" / ball.name)
    other = folder / "runs" / "a-box-0"
    (other / "50-export").mkdir(parents=True)
    (other / "50-export" / "a-box.blend").write_bytes(box[0].read_bytes())
    stages = {
        "export": {"status": "finished", "folder": "50-export", "facts": {"files": {"blend": "a-box.blend"}}}
    }
    told = {"prompt": "a box", "seed": 2**40, "stages": stages}
    (other / "manifest.json").write_text(json.dumps(told))
    job = {
        "zip": str(write_extension(folder)),
        "runs": str(other.parent),
        "command": str(fake(folder / "slipcast", _SLIPCAST)),
        "blend_run": "a-box-0",
        "glb_run": "a-ball-3",
    }
    for number, name in enumerate(("broken.glb", "sent-0.glb", "sent-1.blend")):
        sent = folder / "sent" / name
        sent.parent.mkdir(exist_ok=True)
        whole = box[0] if name.endswith("blend") else ball / "50-export" / "a-ball.glb"
        sent.write_bytes(b"glTF, but not whole" if name == "broken.glb" else whole.read_bytes())
        os.utime(sent, (number, number))
    job["sent"] = str(folder / "sent")
    (folder / "work").mkdir()
    script = Path(__file__).parents[2] / "fakes" / "inside_blender.py"
    return run_script(blender, str(script), job, folder / "work", timeout_s=200)


def test_the_extension_lists_and_imports_at_the_cursor(pressed: dict[str, Any], ball: Path) -> None:
    assert {name: line[:2] for name, line in pressed["listed"].items()} == {
        "a-box-0": ["a box", str(2**40)],
        "a-ball-3": ["a ball", "3"],
    }
    box, imported = pressed["blend_run"], pressed["glb_run"]
    assert np.allclose(box["low"], [-0.5, -1.5, 0], atol=1e-5) and np.allclose(
        box["high"], [0.5, 1, 3], atol=1e-5
    )
    assert (
        box["faces"] == 24
        and box["material"] == "box"
        and box["textures"] == ["box_basecolor", "box_normal", "box_orm"]
    )
    mesh = Mesh.load(ball / "40-mesh" / "mesh.safetensors")
    assert np.allclose(imported["low"], mesh.vertices.min(0), atol=1e-5)  # upright again, front along -Y
    assert np.allclose(imported["high"], mesh.vertices.max(0), atol=1e-5)
    assert imported["faces"] == len(mesh.faces)
    for told in (box, imported):
        assert (
            told["outcome"] == ["FINISHED"] and told["selected"] and told["in_scene"] and not told["is_asset"]
        )


def test_what_is_sent_is_imported_once_and_a_broken_file_told_once(pressed: dict[str, Any]) -> None:
    watched = pressed["watched"]
    off, edited, missing, *looks = watched["looks"]
    assert watched["timer"] and off == edited == [0, ""]
    assert missing == [0, "waits: the watched folder is not there yet"]
    broken, glb, blend, nothing, mended, again = looks
    assert broken[0] == 0 and broken[1].startswith("broken.glb cannot be imported (")
    assert broken[1].endswith("it is tried again when it changes")
    assert glb[0] == 1 and glb[1].endswith(" from sent-0.glb")
    assert blend[0] == 1 and blend[1].endswith(" from sent-1.blend") and nothing == [0, blend[1]]
    assert mended[0] == 1 and mended[1].endswith(" from broken.glb") and again == [0, mended[1]]


def test_the_extension_makes_in_the_background(pressed: dict[str, Any]) -> None:
    made = pressed["made"]
    assert made["blocked_s"] < 0.5 < made["seconds"] and made["timer"]  # the button returned at once
    assert made["status"] == "done" and made["fraction"] == 1 and made["chosen"] == "a-quick-vase-7"
    assert sorted(made["fractions"]) == made["fractions"] and 0.4 < max(made["fractions"]) < 0.6
    assert "refine: distilling 5/10, about 3 s left" in made["lines"]
    assert pressed["failed"]["status"] == "the model is missing" and pressed["failed"]["fraction"] == 0


def test_the_extension_cancels_and_cleans_up(pressed: dict[str, Any]) -> None:
    cancelled = pressed["cancelled"]
    assert cancelled["status"].startswith("stopped") and cancelled["seconds"] < 40
    assert cancelled["exit_code"] == 130  # it was asked to stop, and could save what it had
    assert not pressed["still_looks"]
    assert pressed["stopped_at_unregister"] and not pressed["state_left"] and pressed["left_behind"] == []


def test_blenders_own_validator_accepts_the_extension(blender: Blender, tmp_path: Path) -> None:
    path = write_extension(tmp_path)
    script = tmp_path / "validate.py"
    script.write_text(
        "import bpy, sys, json, subprocess\nfrom pathlib import Path\n"
        "job = json.load(open(sys.argv[-2]))\n"
        "(tool,) = Path(bpy.utils.system_resource('SCRIPTS')).glob('addons_core/bl_pkg/cli/blender_ext.py')\n"
        "done = subprocess.run([job['python'], str(tool), 'validate', job['zip']], capture_output=True, text=True)\n"
        "open(sys.argv[-1], 'w').write(json.dumps([done.returncode, done.stdout + done.stderr]))\n"
    )
    (tmp_path / "work").mkdir()
    job = {"zip": str(path), "python": sys.executable}
    code, said = run_script(blender, str(script), job, tmp_path / "work")
    assert code == 0, said
