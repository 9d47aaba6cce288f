"""Stage 20-lift: the picture becomes a first radiance field; of several candidates, the one that lifts best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object, write_bytes
from ...configs.errors import BadInput, SlipcastError
from ...systems.field.voxels import FrozenGrid
from ...systems.images.files import read_subject
from ...systems.lift.gridding import as_grid
from ...systems.lift.looks import Looks, best_of, looks_of
from ...systems.lift.table import LiftTask, lift_named
from ..run.stage import StageContext
from .facts import LiftedCandidate, LiftFacts


@dataclass(frozen=True)
class Candidate:
    """One object's pictures, the front first, and what the image stage found in them, by name of the measure."""

    pictures: Sequence[Path]
    number: int | None = None
    evidence: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Lifted:
    """What became of a candidate."""

    candidate: Candidate
    grid: FrozenGrid
    looks: Looks

    @property
    def measures(self) -> dict[str, float]:
        """What it is ranked by, the larger the better."""
        return {**(self.candidate.evidence or {}), "likeness": self.looks.likeness}

    @property
    def told(self) -> LiftedCandidate:
        """For the record."""
        return {
            "candidate": self.candidate.number,
            "overlap": round(self.looks.overlap, 4),
            "colour_error": round(self.looks.colour_error, 4),
            "faults": list(self.looks.faults),
        }


def run(ctx: StageContext) -> LiftFacts:
    """Write field.safetensors: occupancy and colour, front (-Y) towards the picture's camera.

    With ``lift.keep`` above 1 also picture.png, the candidate's that was chosen, which later stages are held to.
    """
    candidates, elevation_rad = candidates_of(ctx)
    advance = ctx.progress.task("lifting the picture", len(candidates))
    lifted: list[Lifted] = []
    for place, candidate in enumerate(candidates, start=1):
        folder = ctx.folder if len(candidates) == 1 else ctx.folder / f"kept-{place}"
        folder.mkdir(exist_ok=True)
        try:
            grid = _lift(ctx, candidate, elevation_rad, folder)
        except SlipcastError as error:
            if isinstance(error, BadInput) or (place == len(candidates) and not lifted):
                raise
            ctx.progress.notice(f"candidate {candidate.number} is left out: {error}")
        else:
            looks = looks_of(grid, read_subject(candidate.pictures[0]), elevation_rad)
            lifted.append(Lifted(candidate, grid, looks))
        advance()
    sound = [one for one in lifted if not one.looks.faults] or lifted
    chosen = sound[best_of([one.measures for one in sound])[0]]
    for fault in chosen.looks.faults:
        ctx.progress.notice(f"{fault}; another --seed or lift.seed, or lift.keep=3, may do better")
    chosen.grid.save(ctx.folder / "field.safetensors")
    facts: LiftFacts = {"solid_fraction": round(float((chosen.grid.occupancy > 0.5).float().mean()), 5)}
    if chosen.candidate.number is not None:
        write_bytes(ctx.folder / "picture.png", chosen.candidate.pictures[0].read_bytes())
        facts["chosen"] = chosen.candidate.number
        facts["lifted"] = [one.told for one in lifted]
    return facts


def candidates_of(ctx: StageContext) -> tuple[list[Candidate], float]:
    """What is to be lifted, and the elevation of its pictures' camera in radians.

    Raises: SlipcastError where kept.json is not what the image stage wrote.
    """
    if "image/kept.json" not in ctx.inputs:
        return [Candidate(pictures_of(ctx))], math.radians(ctx.config.image.elevation_deg)
    where = ctx.inputs["image/kept.json"]
    told: Any = read_json_object(where, "the candidates' file")
    try:
        elevation_rad = math.radians(told["elevation_deg"])
        found = [
            Candidate(
                [ctx.inputs[f"image/kept-{place}.png"]],
                one["candidate"],
                {name: float(value) for name, value in one.items() if name != "candidate"},
            )
            for place, one in enumerate(told["kept"], start=1)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SlipcastError(
            f"{where} is damaged ({error}); make the stage image again with --from image"
        ) from error
    return found, elevation_rad


def pictures_of(ctx: StageContext) -> list[Path]:
    """The pictures of the object, the front first."""
    front = ctx.inputs["image/image.png"]
    further = sorted(
        (path for name, path in ctx.inputs.items() if name.startswith("image/image-")),
        key=lambda path: int(path.stem.rpartition("-")[2]),
    )
    return [front, *further]


def chosen_picture(ctx: StageContext) -> Path:
    """The picture that later stages are held to: the one that the lift chose, or the only one."""
    return ctx.inputs.get("lift/picture.png") or ctx.inputs["image/image.png"]


def _lift(ctx: StageContext, candidate: Candidate, elevation_rad: float, folder: Path) -> FrozenGrid:
    settings, models = ctx.config.lift, ctx.models
    lift, pictures = lift_named(models.lift), [read_subject(path) for path in candidate.pictures]
    if len(pictures) > 1 and not lift.several:
        ctx.progress.notice(
            f"the lift {models.lift} looks at the first of the {len(pictures)} pictures alone"
        )
    task = LiftTask(
        pictures,
        settings,
        models.folder("lift_model"),
        device=models.device,
        folder=folder,
        generator=ctx.generator(f"noise {settings.seed}"),
        notice=ctx.progress.notice,
        elevation_rad=elevation_rad,
    )
    return as_grid(lift.function(task), settings.resolution)
