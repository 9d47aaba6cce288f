"""Staged runs: a YAML file of prompts, settings, stages fed from files or passed over, and sweeps.

    prompt: a blue vase            # or prompts: [...]
    seed: 0
    config: starter                # preset or file
    refine.steps: 200              # any setting, dotted or in its group
    inputs: {lift: cup.glb}        # a mesh instead of the image-to-3D network; image: cup.png likewise
    skip: [refine]                 # stages that pass on what they get
    sweep: {seed: [0, 1, 2], image.domain_weight: [0, 2, 4]}   # every combination is a run

Paths are relative to the file. The first run of a prompt and seed has the folder that ``slipcast make`` gives it; runs
of other settings get one of their own beside it, and share its finished stages.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.atomic import explain_os_errors, fingerprint, write_bytes
from ...configs.errors import BadInput
from ...configs.loading import Layer, built, parse_override, preset_layers
from ...configs.names import settings_of, shown
from ...configs.paths import given_path
from ...configs.schema import MakeConfig
from ...configs.yaml_files import read_yaml
from ..run.progress import Quiet, Reporter
from ..run.prompts import check_prompt
from .jobs import with_picture
from .placing import Places, plain_path, run_key
from .reuse import made_elsewhere

if TYPE_CHECKING:
    from ..dry_run import DryRun

NAMES = ("prompt", "prompts", "seed", "config", "inputs", "skip", "sweep", "until")
COPY = "run.yaml"
"""The name that the file of a run has in the run's folder."""
_MOST_RUNS = 10_000
_PASSED_OVER: dict[str, dict[str, Any]] = {"refine": {"refine.steps": 0}, "paint": {"paint.steps": 0}}


@dataclass(frozen=True)
class StagedRun:
    """One run of a file: ``varied`` is what the sweep has set for it."""

    prompt: str
    seed: int
    config: MakeConfig
    folder: Path
    varied: dict[str, Any]
    picture: Path | None = None
    until: str | None = None


def read_staged(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    out: Path = Path("runs"),
    content: Mapping[Any, Any] | None = None,
) -> list[StagedRun]:
    """The runs of a file, in the order of its prompts and its sweep, the last key of which varies fastest.

    Args:
        overrides: ``key=value`` on top of the file; a key that is swept is refused.
        content: what the file says, where it says it in another language.
    Raises:
        BadInput: the file, or any of its runs, cannot be used.
    """
    path = given_path(path, "FILE")
    told, base = read_yaml(path) if content is None else dict(content), path.parent
    given = {name: told.pop(name) for name in NAMES if told.get(name) is not None}
    prompts = _prompts(given)
    sweep = _sweep(given.get("sweep", {}), str(path))
    on_top = [parse_override(one) for one in overrides]
    for name in (name for one in on_top for name in one):
        if name in sweep:
            raise BadInput(f"{name} is swept in {path}; take it out of sweep: or off the command line")
    inputs, picture = _inputs(given.get("inputs", {}), base)
    layers: list[Layer] = [
        *preset_layers(_text(given, "config", "starter"), beside=base),
        (str(path), told),
        (f"inputs in {path}", inputs),
        (f"skip in {path}", _skipped(given.get("skip", []))),
    ]
    count = len(prompts) * _product(len(values) for values in sweep.values())
    if count > _MOST_RUNS:
        raise BadInput(f"{path} asks for {count} runs; at most {_MOST_RUNS} fit one file")
    seed, places = given.get("seed", 0), Places(out)
    runs = []
    for prompt in prompts or [""]:
        for values in itertools.product(*sweep.values()):
            varied = dict(zip(sweep, values, strict=True))
            settings = {name: value for name, value in varied.items() if name not in ("seed", "prompt")}
            top = [("the command line", one) for one in on_top]
            config = built([*layers, (f"sweep in {path}", settings), *top])
            said = varied.get("prompt", prompt)
            if not said and picture is None:
                raise BadInput(f"{path} has no prompt; say what to make")
            run = _run(said, varied.get("seed", seed), config, places, picture)
            runs.append(replace(run, varied=varied, until=given.get("until")))
    return runs


def _run(prompt: Any, seed: Any, config: MakeConfig, places: Places, picture: Path | None) -> StagedRun:
    if not isinstance(prompt, str):
        raise BadInput(f"prompt expects text, not {shown(prompt)}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise BadInput(f"seed expects a whole number from 0 to 2^63 - 1, not {shown(seed)}")
    prompt = check_prompt(prompt) if prompt or picture is None else ""
    config = config if picture is None else with_picture(config, picture)
    key = run_key(fingerprint(asdict(config)), picture)
    return StagedRun(prompt, seed, config, places.folder(prompt, seed, config, key, picture), {}, picture)


def _prompts(given: Mapping[str, Any]) -> list[Any]:
    if "prompt" in given and "prompts" in given:
        raise BadInput("a file has prompt: or prompts:, not both")
    prompts = given.get("prompts", [given["prompt"]] if "prompt" in given else [])
    if not isinstance(prompts, list):
        raise BadInput(f"prompts: expects a list, not {shown(prompts)}")
    return prompts


def _sweep(given: Any, source: str) -> dict[str, list[Any]]:
    if not isinstance(given, dict):
        raise BadInput(f"sweep: in {source} expects {{key: [values]}}, not {shown(given)}")
    known = {"seed", "prompt", *settings_of(MakeConfig)}
    for name, values in given.items():
        if name not in known and not any(str(name).startswith(f"{key}.") for key in known):
            built([(f"sweep in {source}", {str(name): None})])  # says what is nearest
        if not isinstance(values, list) or not values:
            raise BadInput(f"{name} in sweep: expects a list of values, not {shown(values)}")
        if any(values[i] == values[j] for i in range(len(values)) for j in range(i)):
            raise BadInput(f"{name} in sweep: has a value twice ({shown(values)})")
    return {str(name): values for name, values in given.items()}


def _inputs(given: Any, base: Path) -> tuple[dict[str, Any], Path | None]:
    """(settings that make stages read these files, the picture)."""
    if not isinstance(given, dict) or not set(given) <= {"image", "lift"}:
        raise BadInput(f"inputs: takes image: a picture and lift: a mesh, not {shown(given)}")
    files: dict[str, Path] = {}
    for name, value in given.items():
        if not isinstance(value, str):
            raise BadInput(f"inputs: {name} expects a path, not {shown(value)}")
        files[name] = given_path(base / value, f"inputs: {name}")
        if not files[name].is_file():
            raise BadInput(f"there is no file {files[name]} (inputs: {name})")
    lift = {"lift_model": "mesh", "lift.source": str(files["lift"])} if "lift" in files else {}
    return lift, files.get("image")


def _skipped(given: Any) -> dict[str, Any]:
    """Settings that let stages pass on what they get."""
    ways = {name: way for name, way in _PASSED_OVER.items() if next(iter(way)) in settings_of(MakeConfig)}
    if not isinstance(given, list) or not set(map(str, given)) <= set(ways):
        raise BadInput(
            f"skip: takes a list of {' and '.join(ways)}, not {shown(given)}; the other stages are needed by those "
            "after them, or fed by inputs:"
        )
    return {key: value for name in given for key, value in ways[name].items()}


def _text(given: Mapping[str, Any], name: str, default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise BadInput(f"{name}: expects text, not {shown(value)}")
    return value


def _product(numbers: Iterator[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def run_staged(
    path: Path,
    runs: Sequence[StagedRun],
    *,
    out: Path = Path("runs"),
    from_stage: str | None = None,
    until_stage: str | None = None,
    console: Reporter | None = None,
    work: Callable[..., dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Make the runs of a file one after the other, their models loaded once, and put a copy of it into each.

    Returns:
        For each run {"prompt", "seed", "run", "varied"} and what ``work.make_job`` tells.
    Raises:
        SlipcastError: a run failed; those before it stay, and the same command goes on with it.
    """
    from .work import ModelShelf, Task, make_job

    work, console, shelf = work or make_job, console or Quiet(), ModelShelf()
    told = []
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            varied = ", ".join(f"{name}={value}" for name, value in run.varied.items())
            console.notice(f"run {number} of {len(runs)}: {run.folder}{varied and f' ({varied})'}")
        task = Task(
            key="",
            prompt=run.prompt,
            seed=run.seed,
            config=run.config,
            folder=run.folder,
            out=out,
            picture=run.picture,
            until=until_stage or run.until,
            from_stage=from_stage,
        )
        with explain_os_errors(run.folder, "copying the file of the run"):
            run.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(run.folder / COPY, path.read_bytes())
        made = work(task, console, shelf)
        told.append(
            {"prompt": run.prompt, "seed": run.seed, "run": str(run.folder), "varied": run.varied, **made}
        )
    return told


def foresee(
    run: StagedRun, *, out: Path = Path("runs"), from_stage: str | None = None, until_stage: str | None = None
) -> DryRun:
    """What would be made of a run; a stage shared with a run that is not made yet is told as one that runs."""
    from ..dry_run import dry_run

    plain = plain_path(out, run.prompt, run.seed, run.picture)
    return dry_run(
        run.prompt,
        run.config,
        out=out,
        seed=run.seed,
        resume=run.folder,
        from_stage=from_stage,
        until_stage=until_stage or run.until,
        elsewhere=lambda stage, key: next(made_elsewhere(stage, key, plain, run.folder), None),
    )
