"""Blender as a program: how it is found, watched and ended. Scripts stand for it, so none is needed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes.blender_programs import fake, says

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.stopping import Stopped
from slipcast.pipeline.blender import process as process_module
from slipcast.pipeline.blender.process import Blender, find_blender, run_script
from slipcast.pipeline.run.signals import stop_on_signals

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the stand-ins for Blender are scripts with a shebang"
)


# Finding


@pytest.mark.parametrize("version", ["4.2.0", "4.2.23 LTS", "4.5.3 LTS", "5.0.1", "5.9.0 Alpha", "5.2"])
def test_supported_versions_are_found(tmp_path: Path, version: str) -> None:
    program = says(tmp_path / "blender", version)
    found = find_blender(program)
    assert found.program == program and not found.is_python
    assert list(found.version[:2]) == [int(part) for part in version.split()[0].split(".")[:2]]


@pytest.mark.parametrize("version", ["4.1.1", "3.6.23 LTS", "2.79b", "6.0.0"])
def test_other_versions_are_refused_with_what_works(tmp_path: Path, version: str) -> None:
    with pytest.raises(BadInput, match=r"not supported: .*4\.2 LTS to 5\.x.*other formats") as caught:
        find_blender(says(tmp_path / "blender", version))
    assert str(tmp_path / "blender") in str(caught.value) and "GLB" in str(caught.value)


def test_the_order_is_argument_variable_own_bpy_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = says(tmp_path / "named", "4.2.1")
    variable = says(tmp_path / "variable", "4.3.0")
    on_path = says(tmp_path / "bin" / "blender", "4.5.0")
    both = {"SLIPCAST_BLENDER": str(variable), "PATH": str(on_path.parent)}
    alone = {"PATH": str(on_path.parent)}
    monkeypatch.setattr(process_module.util, "find_spec", lambda name: None)
    assert find_blender(named, both).program == named
    assert find_blender(None, both).program == variable
    assert find_blender(None, alone).program == on_path
    monkeypatch.setattr(process_module.util, "find_spec", lambda name: object())
    monkeypatch.setattr(
        process_module, "_ask_python", lambda p: Blender(Path(sys.executable), True, (4, 2, 0))
    )
    assert find_blender(None, alone).is_python
    assert find_blender(None, both).program == variable


def test_a_named_one_that_is_wrong_is_never_passed_over(tmp_path: Path) -> None:
    fallback = {"PATH": str(says(tmp_path / "bin" / "blender", "4.5.0").parent)}
    with pytest.raises(BadInput, match=r"--blender expects a Blender.*nowhere"):
        find_blender(tmp_path / "nowhere", fallback)
    with pytest.raises(BadInput, match=r"SLIPCAST_BLENDER expects a Blender"):
        find_blender(None, fallback | {"SLIPCAST_BLENDER": str(tmp_path / "nowhere")})


def test_none_at_all_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput) as caught:
        find_blender(None, {"PATH": str(tmp_path)})
    for part in ('pip install "slipcast[blender]"', "--blender PATH", "other formats are written"):
        assert part in str(caught.value)


def test_a_bpy_that_does_not_load_leaves_the_way_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = says(tmp_path / "bin" / "blender", "4.5.0")
    broken = fake(tmp_path / "python", "print('libGL.so.1: cannot open', file=sys.stderr); sys.exit(1)")
    monkeypatch.setattr(process_module.util, "find_spec", lambda name: object())
    monkeypatch.setattr(process_module.sys, "executable", str(broken))
    with pytest.raises(BadInput, match=r"libGL\.so\.1: cannot open.*pip install"):
        find_blender(None, {"PATH": str(tmp_path / "empty")})
    assert find_blender(None, {"PATH": str(on_path.parent)}).program == on_path


def test_a_program_that_is_no_blender_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no Blender.*'GIMP 3\.0'"):
        find_blender(fake(tmp_path / "gimp", "print('GIMP 3.0')"))
    (tmp_path / "text").write_text("no program")
    with pytest.raises(BadInput, match="cannot be run"):
        find_blender(tmp_path / "text")


def test_a_python_without_bpy_is_refused_by_its_own_words(tmp_path: Path) -> None:
    body = "print('Python 3.11.7') if '--version' in sys.argv else sys.exit('No module named bpy')"
    with pytest.raises(BadInput, match="No module named bpy"):
        find_blender(fake(tmp_path / "python", body))


def test_an_applications_folder_will_do(tmp_path: Path) -> None:
    program = says(tmp_path / "Blender.app" / "Contents" / "MacOS" / "Blender", "4.5.0")
    assert find_blender(tmp_path / "Blender.app").program == program


# Running


def started(tmp_path: Path, body: str, **options: object) -> dict[str, object]:
    """Run a script in a fake Blender (4.2) whose body sees the paths of job and result as its last arguments."""
    program = fake(tmp_path / "blender", "job, reply = sys.argv[-2:]\n" + body)
    folder = tmp_path / "work"
    folder.mkdir()
    return run_script(Blender(program, False, (4, 2, 0)), "x.py", {"a": 1}, folder, **options)  # type: ignore[arg-type]


def test_a_script_gets_its_job_and_tells_progress(tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    body = (
        "print('noise')\nprint('slipcast-progress [0.5, \"half\"]', flush=True)\n"
        "open(reply, 'w').write(json.dumps({'got': json.load(open(job)), 'arguments': sys.argv[1:-2]}))"
    )
    result = started(tmp_path, body, on_progress=lambda part, doing: seen.append((part, doing)))
    assert result["got"] == {"a": 1} and seen == [(0.5, "half")]
    arguments = result["arguments"]
    assert isinstance(arguments, list) and arguments[-1] == "--" and "--factory-startup" in arguments
    assert arguments.index("--python-exit-code") < arguments.index("--python")


def test_the_progress_mark_is_one_and_the_same() -> None:
    text = (process_module.SCRIPTS / "job.py").read_text(encoding="utf-8")
    assert f'PROGRESS_MARK = "{process_module.PROGRESS_MARK}"' in text


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"was ended by SIGSEGV while baking.*'all was well'"),
        ("raise RuntimeError('no such node')", r"exit code 1\) while baking.*'RuntimeError: no such node'"),
        ("pass", r"ended without a result while baking.*'all was well'"),
        ("sys.exit('Error: out of memory\\nBlender quit')", r"exit code 1.*'Error: out of memory'"),
    ],
)
def test_a_crash_is_one_sentence_with_the_last_line(tmp_path: Path, body: str, how: str) -> None:
    head = "print('slipcast-progress [0.1, \"baking\"]')\nprint('all was well', flush=True)\n"
    with pytest.raises(SlipcastError, match=how) as caught:
        started(tmp_path, head + body)
    assert "\n" not in str(caught.value) and "other formats" in str(caught.value)
    assert "all was well" in caught.value.__notes__[0]


def test_a_half_written_result_of_a_crash_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(SlipcastError, match="exit code 3"):
        started(tmp_path, "open(reply, 'w').write('{}'); sys.exit(3)")


def test_a_blender_that_hangs_is_ended(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(SlipcastError, match=r"longer than 1 s and was ended.*'hanging'"):
        started(tmp_path, "print('hanging', flush=True); time.sleep(60)", timeout_s=1)
    assert time.monotonic() - start < 20


def test_ctrl_c_ends_blender_and_what_it_started(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    body = f"child = os.fork()\nopen({str(ids)!r}, 'a').write(f'{{os.getpid()}} ')\ntime.sleep(60)"

    def press() -> None:
        while not ids.is_file() or len(ids.read_text().split()) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        threading.Thread(target=press, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            started(tmp_path, body)
    finally:
        signal.signal(signal.SIGINT, before)
    for pid in ids.read_text().split():
        assert _gone(int(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_only_asks_for_a_stop_ends_blender_too(tmp_path: Path, number: int) -> None:
    ids = tmp_path / "ids"

    def press() -> None:
        while not ids.is_file() or not ids.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=press, daemon=True).start()
    with stop_on_signals(), pytest.raises(Stopped):
        started(tmp_path, f"open({str(ids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    assert _gone(int(ids.read_text()))


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True  # ended; whoever inherits it has not looked yet
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False
