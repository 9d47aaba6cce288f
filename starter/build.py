"""The recipe of the starter models: data, codec, prior, domain, control, LoRA, image-to-3D, judge. Every step resumes.

``slipcast starter build --preset cpu`` makes everything from nothing; what is finished is kept, so that more minutes
later go on training from the last checkpoints. ``--from-shipped`` goes on from the package's own weights instead, on
objects that they have not seen.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..configs.errors import BadInput
from ..systems.models.shipped import HASHES, check_hashes, write_hashes
from ..systems.training.loop import Budget

WORKERS = 2  # processes that make data
_SHORT_WARMUP = 30  # of trainings that take a few hundred steps
SHARES = {
    "codec": 0.05, "prior": 0.43, "domain": 0.1, "control": 0.12, "lora": 0.04, "lift": 0.2, "judge": 0.06,
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


_SETS = {
    "prior": DataSet("prior", 5120, 8, 0),
    "domain": DataSet("domain", 1280, 8, 0),
    "judge": DataSet("judge", 1536, 6, 1001),
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


SHIPPED = Path(__file__).resolve().parent / "weights"
GO_ON = Preset(
    60.0,
    {
        "prior": DataSet("prior", 2560, 8, 0, skip=5120),
        "domain": DataSet("domain", 1280, 8, 0, skip=1280),
        "test": _SETS["test"],
    },
    (96, 192),
    Budget(batch=32, workers=2, learning_rate=7e-4),
)
"""Further training of the shipped models: objects after those of the cpu preset, a calmer rate."""


def build(
    preset: str = "cpu", *, minutes: float | None = None, out: Path | None = None, from_shipped: bool = False
) -> Path:
    """Make data and models under ``out`` (default: ./starter-build) and return the folder of the weights.

    The weights in use are those inside the package; copy ``out/weights`` over them, or name its folders in a config.

    Args:
        from_shipped: train the package's prior and image-to-3D network further and grow domain and control from the
            new prior; codec and judge stay as they are, so that figures can be compared.
    Raises:
        BadInput: an unknown preset, the gpu preset without CUDA or from shipped weights.
    """
    if preset not in PRESETS:
        raise BadInput(f"the preset is one of {', '.join(PRESETS)}, not {preset!r}")
    if from_shipped and preset != "cpu":
        raise BadInput("the shipped networks have the sizes of the cpu preset; leave --preset out")
    chosen = PRESETS[preset]
    if chosen.budget.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BadInput("the gpu preset needs a CUDA GPU and a CUDA build of torch; use --preset cpu here")
    out = (out or Path("starter-build")).resolve()
    steps = list(SHARES)
    if from_shipped:
        chosen, steps = GO_ON, ["prior", "domain", "control", "lora", "lift"]
        begin_from_shipped(out)
    total = (minutes if minutes is not None else chosen.minutes) / sum(SHARES[step] for step in steps)
    for name, data in chosen.sets.items():
        make_data(out / "data" / name, data, workers=WORKERS)
    reports: dict[str, Any] = {}
    # What is written now is not what was listed before.
    (out / "weights" / HASHES).unlink(missing_ok=True)
    for step in steps:
        reports[step] = STEPS[step](out, chosen, replace(chosen.budget, minutes=total * SHARES[step]))
        forget_paths(out / "weights")
        (out / "report.json").write_text(json.dumps(reports, indent=2))
    write_hashes(out / "weights")
    return out / "weights"


def begin_from_shipped(out: Path) -> None:
    """Lay the package's codec and judge into a build folder, and its prior and lift as checkpoints to go on from."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from ..systems.lift.starter import LiftNetwork
    from ..systems.models.precision import quiet_libraries
    from ..systems.training.shard import begin_from

    for model in ("prior", "lift", "judge"):
        check_hashes(SHIPPED / model)
    for source, target in (("prior/vae", "codec"), ("judge", "weights/judge")):
        shutil.copytree(SHIPPED / source, out / target, dirs_exist_ok=True)
    with quiet_libraries():
        unet, lift = (
            UNet2DConditionModel.from_pretrained(SHIPPED / "prior/unet"),
            LiftNetwork.from_pretrained(SHIPPED / "lift"),
        )
        text_encoder = CLIPTextModel.from_pretrained(SHIPPED / "prior/text_encoder")
    begin_from({"unet": unet, "text_encoder": text_encoder}, out / "train/prior")
    begin_from({"lift": lift}, out / "train/lift")


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
    from .train_codec import train_codec

    folders = (out / "data/prior", out / "data/domain")
    psnr = train_codec(
        folders, out / "train/codec", out / "codec", replace(budget, batch=min(budget.batch, 128))
    )
    return {"psnr_db": psnr}


def _prior(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_prior import train_prior

    train_prior(
        out / "data/prior", out / "codec", out / "train/prior", out / "weights/prior", budget, preset.widths
    )
    return _last(out / "train/prior")


def _domain(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from ..systems.domain.learning import DomainRecipe, train_domain
    from ..systems.models.base import load_base
    from .batches import Pictures

    base = load_base(out / "weights/prior", name="starter")
    recipe = DomainRecipe(name="blue and white porcelain", prompt="a blue and white porcelain")
    calmer = replace(budget, learning_rate=0.4 * budget.learning_rate)
    work = out / "train/domain"
    return train_domain(base, Pictures(out / "data/domain"), recipe, work, out / "weights/domain", calmer)[
        "training"
    ]


def _control(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_control import evaluate_control, train_control

    prior, control = out / "weights/prior", out / "weights/control-canny"
    budget = replace(budget, warmup_steps=_SHORT_WARMUP)
    card = train_control(out / "data/prior", prior, out / "train/control", control, budget)
    return card["training"] | {"edges": evaluate_control(control, prior, out / "data/test")}


def _lora(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .train_lora import train_lora

    work, lora = out / "train/lora", out / "weights/porcelain-lora"
    budget = replace(budget, warmup_steps=_SHORT_WARMUP, learning_rate=2 * budget.learning_rate)
    return train_lora(out / "data/domain", out / "weights/prior", work, lora, budget)["training"]


def _lift(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .generator.families import POTTERY
    from .train_lift import evaluate_lift, train_lift

    folders = (out / "data/prior", out / "data/domain")
    network = train_lift(
        folders, out / "train/lift", out / "weights/lift", replace(budget, batch=budget.batch // 2)
    )
    return _last(out / "train/lift") | {"iou": evaluate_lift(network, out / "data/test", POTTERY)}


def _judge(out: Path, preset: Preset, budget: Budget) -> dict[str, Any]:
    from .judge import evaluate_judge, train_judge

    judge = train_judge(out / "data/judge", out / "codec", out / "train/judge", out / "weights/judge", budget)
    return _last(out / "train/judge") | {"accuracy": evaluate_judge(judge, out / "data/test")}


STEPS = {
    "codec": _codec,
    "prior": _prior,
    "domain": _domain,
    "control": _control,
    "lora": _lora,
    "lift": _lift,
    "judge": _judge,
}


def _last(work: Path) -> dict[str, Any]:
    return json.loads((work / "log.jsonl").read_text().splitlines()[-1])
