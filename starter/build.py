"""The recipe of the starter models: data, codec, prior, domain, control, LoRA, image-to-3D. Every step resumes.

``slipcast starter build --preset cpu`` makes everything from nothing; what is finished is kept, so that more minutes
later go on training from the last checkpoints. ``--from-shipped`` goes on from the package's own weights instead, on
objects that they have not seen; with ``--only``, those of some steps alone. The judge is frozen, so that figures can be
compared: a build copies the shipped one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..configs.errors import BadInput
from ..configs.names import unknown_name
from ..systems.evaluation.imagenet import load_network
from ..systems.models.shipped import HASHES, write_hashes
from ..systems.training.loop import Budget
from .beginning import EARLIER, EARLIER_CODEC, begin_from, keep_the_rest

WORKERS = 2  # processes that make data
_SHORT_WARMUP = 30  # of trainings that take a few hundred steps
SHARES = {
    "codec": 0.2, "prior": 0.38, "domain": 0.1, "control": 0.1, "lora": 0.04, "lift": 0.18, "judge": 0.0,
}  # fmt: skip
"""How the training minutes are split; making the data comes on top (about 12 minutes on two cores)."""


@dataclass(frozen=True)
class DataSet:
    """One set of shards."""

    split: str
    objects: int
    views: int
    seed: int
    skip: int = 0


@dataclass(frozen=True)
class Preset:
    """Sizes of data and networks, and the common part of all budgets."""

    minutes: float
    sets: dict[str, DataSet]
    widths: tuple[int, ...]
    budget: Budget
    feature_steps: int = 100


_SETS = {
    "prior": DataSet("prior", 5120, 8, 0),
    "domain": DataSet("domain", 1280, 8, 0),
    "test": DataSet("judge", 320, 4, 2002),
}
PRESETS = {
    "cpu": Preset(90.0, _SETS, (96, 192), Budget(batch=32, workers=2, learning_rate=1e-3)),
    "gpu": Preset(
        25.0,
        _SETS | {"prior": DataSet("prior", 10240, 8, 0), "domain": DataSet("domain", 2560, 8, 0)},
        (160, 320),
        Budget(batch=256, workers=1, learning_rate=1e-3, device="cuda"),
    ),
}


ALONE = ("codec", "domain", "lift")
"""Steps that can go on by themselves, for nothing grows from them: the codec's decoder, the domain, the lift."""
SHIPPED = Path(__file__).resolve().parent / "weights"
GO_ON = Preset(
    60.0,
    {
        "prior": DataSet("prior", 2560, 8, 0, skip=8064),
        "domain": DataSet("domain", 1280, 8, 0, skip=3456),
        "test": _SETS["test"],
    },
    (96, 192),
    Budget(batch=32, workers=2, learning_rate=7e-4),
)
"""Further training of the shipped models: objects after those that they saw (starter/README.md), a calmer rate."""


def build(
    preset: str = "cpu",
    *,
    minutes: float | None = None,
    out: Path | None = None,
    from_shipped: bool = False,
    only: Sequence[str] = (),
) -> Path:
    """Make data and models under ``out`` (default: ./starter-build) and return the folder of the weights.

    The weights in use are those inside the package; copy ``out/weights`` over them, or name its folders in a config.

    Args:
        from_shipped: train the package's prior and image-to-3D network further and grow domain and control from the
            new prior; codec and judge stay as they are, so that figures can be compared.
        only: with it, those of ``ALONE`` to train further, each from its own weights; all else stays as it is.
    Raises:
        BadInput: an unknown preset or step, the gpu preset without CUDA or from shipped weights, ``only`` without
            them, no network to train a codec with (the extra ``eval``).
    """
    if preset not in PRESETS:
        raise BadInput(f"the preset is one of {', '.join(PRESETS)}, not {preset!r}")
    if from_shipped and preset != "cpu":
        raise BadInput("the shipped networks have the sizes of the cpu preset; leave --preset out")
    if only and not from_shipped:
        raise BadInput("--only trains some of the shipped models further; give --from-shipped as well")
    for step in only:
        if step not in ALONE:
            raise unknown_name("step that can go on by itself", step, ALONE)
    chosen = PRESETS[preset]
    if chosen.budget.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadInput("the gpu preset needs a CUDA GPU and a CUDA build of torch; use --preset cpu here")
    out = (out or Path("starter-build")).resolve()
    steps = list(SHARES)
    if from_shipped:
        chosen, steps = GO_ON, [step for step in SHARES if (step in only if only else step != "codec")]
        begin_from(SHIPPED, out, steps)
        if only:
            keep_the_rest(SHIPPED, out, steps)
    if "codec" in steps:
        load_network("lite0")  # better missed now than after the data
    total = (minutes if minutes is not None else chosen.minutes) / sum(SHARES[step] for step in steps)
    for name, data in chosen.sets.items():
        make_data(out / "data" / name, data, workers=WORKERS)
    reports: dict[str, Any] = {}
    # What is written now is not what was listed before.
    (out / "weights" / HASHES).unlink(missing_ok=True)
    for step in steps:
        if step in STEPS:
            reports[step] = STEPS[step](out, chosen, replace(chosen.budget, minutes=total * SHARES[step]))
        if step in FIGURES:
            reports[step] = reports.get(step, {}) | FIGURES[step](out)
        forget_paths(out / "weights")
        (out / "report.json").write_text(json.dumps(reports, indent=2))
    write_hashes(out / "weights")
    return out / "weights"


def forget_paths(weights: Path) -> None:
    """Take out of every config.json where on this machine a network was loaded from."""
    for path in weights.rglob("config.json"):
        kept = {key: value for key, value in json.loads(path.read_text()).items() if key != "_name_or_path"}
        path.write_text(json.dumps(kept, indent=2) + "\n")


def make_data(folder: Path, data: DataSet, *, workers: int) -> None:
    """Make what is missing of one data set, with a progress bar."""
    from .dataset import build_with_progress

    build_with_progress(
        folder,
        split=data.split,
        count=data.objects,
        views=data.views,
        seed=data.seed,
        skip=data.skip,
        workers=workers,
    )


def _codec(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_codec import CodecTask, train_codec

    earlier, networks = out / EARLIER_CODEC, out / EARLIER
    task = CodecTask(
        (out / "data/prior", out / "data/domain"),
        earlier if earlier.exists() else None,
        networks if (networks / "domain").exists() else None,
    )
    smaller = replace(budget, batch=max(1, budget.batch // 2))
    told = train_codec(task, out / "train/codec", out / "codec", smaller)
    if (out / "weights/prior/vae").exists():  # a prior that is not trained after it has it, too
        shutil.copytree(out / "codec", out / "weights/prior/vae", dirs_exist_ok=True)
    return told


def _prior(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_prior import train_prior

    train_prior(
        out / "data/prior", out / "codec", out / "train/prior", out / "weights/prior", budget, preset.widths
    )
    return _last(out / "train/prior")


def _domain(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from ..systems.domain.learning import DomainRecipe, train_domain
    from ..systems.models.base import load_base
    from .batches import open_pictures

    base = load_base(out / "weights/prior", name="starter", device=budget.device)
    name = "blue and white porcelain"
    recipe = DomainRecipe(name=name, prompt=f"a {name}", feature_steps=preset.feature_steps)
    calmer = replace(budget, learning_rate=0.4 * budget.learning_rate)
    work = out / "train/domain"
    pictures = open_pictures(out / "data/domain", budget.device)
    return train_domain(base, pictures, recipe, work, out / "weights/domain", calmer)["training"]


def _control(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_control import train_control

    prior, control = out / "weights/prior", out / "weights/control-canny"
    budget = replace(budget, warmup_steps=_SHORT_WARMUP)
    return train_control(out / "data/prior", prior, out / "train/control", control, budget)["training"]


def _edges(out: Path) -> dict[str, Any]:
    from .train_control import evaluate_control

    return {
        "edges": evaluate_control(out / "weights/control-canny", out / "weights/prior", out / "data/test")
    }


def _lora(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_lora import train_lora

    work, lora = out / "train/lora", out / "weights/porcelain-lora"
    budget = replace(budget, warmup_steps=_SHORT_WARMUP, learning_rate=2 * budget.learning_rate)
    return train_lora(out / "data/domain", out / "weights/prior", work, lora, budget)["training"]


def _lift(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_lift import train_lift

    folders = (out / "data/prior", out / "data/domain")
    train_lift(
        folders, out / "train/lift", out / "weights/lift", replace(budget, batch=max(1, budget.batch // 2))
    )
    return _last(out / "train/lift")


def _solids(out: Path) -> dict[str, Any]:
    from ..systems.lift.starter import load_lift
    from .generator.families import POTTERY
    from .train_lift import evaluate_lift

    return {"iou": evaluate_lift(load_lift(out / "weights/lift"), out / "data/test", POTTERY)}


def _accuracy(out: Path) -> dict[str, Any]:
    from .judge import Judge, evaluate_judge

    shutil.copytree(SHIPPED / "judge", out / "weights/judge", dirs_exist_ok=True)
    return {
        "accuracy": evaluate_judge(Judge.from_pretrained(out / "weights/judge").eval(), out / "data/test")
    }


STEPS = {
    "codec": _codec,
    "prior": _prior,
    "domain": _domain,
    "control": _control,
    "lora": _lora,
    "lift": _lift,
}
"""Trainings: (build folder, preset, budget) -> how it ended. All but the codec's write below ``weights``."""
FIGURES = {"control": _edges, "lift": _solids, "judge": _accuracy}
"""What is measured afterwards on objects that nothing was trained on."""


def _last(work: Path) -> dict[str, Any]:
    return json.loads((work / "log.jsonl").read_text().splitlines()[-1])
