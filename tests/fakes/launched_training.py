"""A domain's training as ``accelerate launch`` runs it: ``launched_training.py BASE PICTURES OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

from slipcast.pipeline.domains.settings import Settings


def settings(base: str, pictures: str, accumulate: int = 1) -> Settings:
    """Four pictures a step, however they are shared."""
    return Settings(
        pictures=pictures, name="reds", base=base, licence="CC0-1.0", steps=4, batch=4, workers=1,
        learning_rate=1e-3, feature_steps=1, samples=0, sample_steps=2, words=("pot",), evaluate_every=2,
        accumulate=accumulate, precision="float32",
    )  # fmt: skip


if __name__ == "__main__":
    from slipcast.pipeline.domains.training import Means, train_domain
    from slipcast.pipeline.run.progress import Quiet

    base, pictures, out = sys.argv[1:]
    learned = train_domain(settings(base, pictures), Means("cpu"), Quiet(), out=Path(out))
    print("finished", learned.finished)
