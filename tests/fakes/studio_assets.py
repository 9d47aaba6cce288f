"""A studio that makes everything in moments: ``studio_assets.py serve RUNS PORT``, and the programs that it starts.

Server, queue, ledger and pages are the real ones. Stages leave what their pages show (``batch_work`` says which prompts
take their time or go wrong): pictures of plain colours, and a GLB of a box. So do ``work RUNS``, ``sketch FOLDER`` for
the tuning page and ``domain train|resume`` for a domain.
"""

from __future__ import annotations

import colorsys
import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

ME = [sys.executable, __file__]
_SIDE = 96


def colour(number: int) -> tuple[int, int, int]:
    """Another one for every number."""
    red, green, blue = colorsys.hsv_to_rgb((number * 0.27) % 1, 0.55, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def plain(number: int, path: Path, across: int = 1) -> None:
    """A row of plain squares."""
    from PIL import Image

    row = Image.new("RGB", (_SIDE * across, _SIDE))
    for place in range(across):
        row.paste(colour(number + place), (_SIDE * place, 0, _SIDE * (place + 1), _SIDE))
    path.parent.mkdir(parents=True, exist_ok=True)
    row.save(path)


def box() -> Any:
    """A box, half a metre wide."""
    import numpy as np
    import trimesh

    from slipcast.systems.types import Mesh

    made = trimesh.creation.box((0.5, 0.5, 0.5))
    made.unmerge_vertices()
    return Mesh(
        vertices=np.asarray(made.vertices, np.float32),
        faces=np.asarray(made.faces, np.int32),
        normals=np.asarray(made.vertex_normals, np.float32),
    )


def make_job(task: Any, console: Any, shelf: Any) -> dict[str, Any]:
    """As a worker makes a job, with stages that leave what pages show."""
    from fakes import batch_work

    from slipcast.configs.errors import BadInput
    from slipcast.pipeline.stages import table

    if "refuse" in task.prompt:
        raise BadInput("this cannot be made of anything")
    batch_work.without_torch()
    table.all_stages = lambda: tuple(replace(stage, function=_stage) for stage in table.STAGES)
    return batch_work.REAL(task, console, batch_work.Shelf())


def _stage(ctx: Any) -> dict[str, Any]:
    from fakes import batch_work
    from fakes.report_runs import FACTS

    told = batch_work._stage(ctx)
    if ctx.stage == "image":
        count, pick = ctx.config.image.candidates, ctx.config.image.pick
        plain(ctx.seed, ctx.folder / "candidates.png", count)
        plain(ctx.seed + (pick or 0), ctx.folder / "image.png")
        return FACTS["image"] | {"chosen": pick or 0, "ranking": list(range(count))}
    if ctx.stage == "mesh":
        plain(ctx.seed, ctx.folder / "basecolor.png")
        return FACTS["mesh"]
    if ctx.stage == "export":
        from slipcast.pipeline.assets.asset import Asset
        from slipcast.pipeline.exporters.glb import write_glb

        write_glb(Asset(box(), "box", {"prompt": ctx.prompt}), ctx.folder / "box.glb")
        plain(ctx.seed, ctx.folder / "turntable.gif")
        return FACTS["export"] | {"files": {"glb": "box.glb"}, "glb": "box.glb"}
    return told


def sketch(folder: Path) -> None:
    """Answer the tuning page: the greater a weight, the longer its term's push."""
    for line in sys.stdin:
        asked = json.loads(line)
        values, key = asked["values"], asked["key"]
        weights = {"domain": 2.0, "text": 4.0}
        for name in weights:
            weights[name] = values.get("overrides", {}).get(f"image.{name}_weight", weights[name])
        if "fail" in values["prompt"]:
            print(json.dumps({"key": key, "error": "it would not"}), flush=True)
            continue
        plain(int(10 * weights["domain"]), folder / f"{key}.png")
        norms = {
            f"{name} - null": [weight * (step + 1) for step in range(5)] for name, weight in weights.items()
        }
        told = {"weights": weights, "strength": 1.0, "norms": norms, "notes": [], "seconds": 0.1}
        (folder / f"{key}.json").write_text(json.dumps(told))
        print(json.dumps({"key": key}), flush=True)


def train(words: list[str]) -> None:
    """A training that writes down what ``slipcast domain`` does; a step takes a twentieth of a second."""
    from slipcast.systems.domain.places import domains_folder

    options = dict(
        word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word
    )
    name = options.get("name") or words[-1]
    place = domains_folder() / name
    work = place.with_name(f"{name}.training")
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    if "fail" in name:
        sys.exit(print("slipcast: the base is not here", file=sys.stderr) or 1)
    if words[0] == "train":
        settings = {
            "name": name, "base": options["base"], "licence": options["licence"], "method": "null-text",
            "words": ["vase"], "steps": int(options["steps"]),
        }  # fmt: skip
        (work / "1").mkdir(parents=True)
        told = {"settings": settings, "stretches": [{"steps": settings["steps"]}]}
        (work / "settings.json").write_text(json.dumps(told))
        (work / "evaluations.json").write_text("[]")
    settings = json.loads((work / "settings.json").read_text())["settings"]
    evaluations = json.loads((work / "evaluations.json").read_text())
    steps = settings["steps"]
    for step in range(evaluations[-1]["step"] if evaluations else 0, steps + 1):
        if step % 5 == 0 and not any(one["step"] == step for one in evaluations):
            sheet = f"samples/1-{step:06}.png"
            plain(step, work / sheet, 4)
            loss = 0.5 - 0.2 * step / steps
            evaluations.append(
                {"stretch": 1, "step": step, "losses": [loss], "samples_file": sheet, "frechet": 90 - step}
            )
            (work / "evaluations.json").write_text(json.dumps(evaluations))
            print(f"note: step {step}: held-out loss {loss:.4f}", file=sys.stderr, flush=True)
            if "dull" in name and step:
                print("note: it is not learning: nothing changes", file=sys.stderr, flush=True)
        with open(work / "1" / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "loss": 0.6 - 0.2 * step / steps}) + "\n")
        if stopped:
            print(
                f"note: stopped after step {step}; `slipcast domain resume {name}` goes on", file=sys.stderr
            )
            print("slipcast: stopped", file=sys.stderr)
            sys.exit(143)
        time.sleep(0.05)
    place.mkdir()
    card = {
        "name": name,
        "base": settings["base"],
        "licence": settings["licence"],
        "prompt_template": "{prompt}",
    }
    training = {"steps": steps, "held_out_gain": 0.4, "learning": True, "frechet": None, "recognised": None}
    (place / "domain.json").write_text(json.dumps(card | {"training": training}))
    print(place)


def main(words: list[str]) -> None:
    """One of the programs."""
    what, *more = words
    if what == "serve":
        from slipcast.pipeline.cli.app import main as slipcast
        from slipcast.pipeline.studio import keeper, sketches, trainings

        keeper.PROGRAM, sketches.PROGRAM, trainings.PROGRAM = (*ME, "work"), (*ME, "sketch"), tuple(ME)
        words = ["studio", "--no-open", "--workers", "1", "--runs", more[0], "--port", more[1]]
        sys.argv = ["slipcast", *words]
        slipcast()
    elif what == "work":
        from slipcast.pipeline.batch.verdicts import Limits
        from slipcast.pipeline.studio.working import work_off

        work_off(Path(more[0]), 1, work=make_job, limits=Limits(backoff_s=0.1))
    elif what == "sketch":
        sketch(Path(more[0]))
    else:
        train(more)


if __name__ == "__main__":
    main(sys.argv[1:])
