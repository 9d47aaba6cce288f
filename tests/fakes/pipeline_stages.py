"""Six stages that write a line each, and a log of which of them ran."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.make import MakeResult, make
from slipcast.pipeline.run.stage import Stage, StageContext
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.models.uses import GENERAL, Uses

PROMPT = "a blue vase"


class FakeModels:
    """Identities only; ``revision`` stands for a hash of weights."""

    def __init__(self, revision: str = "1") -> None:
        self.revision = revision

    def identities(self, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {
            role: {"id": f"fake-{role}", "revision": self.revision, "licence": "CC0"}
            for role in roles
            if role not in ("vae", "model", "loras", "embeddings", "image_prompt") and "." not in role
        }

    def uses(self) -> Uses:
        return GENERAL


class Workshop:
    """A run folder with fake stages. ``ran`` lists the stages that ran, ``hooks`` what they do on the way."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.ran: list[str] = []
        self.hooks: dict[str, Callable[[StageContext], None]] = {}
        self.models = FakeModels()
        self.stages = tuple(self._fake(stage) for stage in STAGES)

    def _fake(self, stage: Stage) -> Stage:
        needs = tuple(f"{name}/{name}.txt" for name in stage.follows)
        return replace(stage, function=self._stage, needs=needs, gives=(f"{stage.name}.txt",))

    def _stage(self, ctx: StageContext) -> dict[str, Any]:
        self.ran.append(ctx.stage)
        if ctx.stage in self.hooks:
            self.hooks[ctx.stage](ctx)
        read = [path.read_text() for path in ctx.inputs.values()]
        drawn = int(ctx.generator("draw").initial_seed())
        # What is made depends on the settings, the inputs and the generator, as in a real stage.
        text = f"{ctx.stage} {ctx.prompt} {drawn} {getattr(ctx.config, ctx.stage)} {read}"
        (ctx.folder / f"{ctx.stage}.txt").write_text(text)
        if ctx.stage == "export":
            (ctx.folder / "asset.glb").write_bytes(text.encode())
            return {"glb": "asset.glb"}
        return {"length": len(text)}

    def make(self, config: MakeConfig | None = None, prompt: str = PROMPT, **options: Any) -> MakeResult:
        """``make`` with the fakes; ``ran`` starts empty."""
        self.ran.clear()
        options = {"out": self.out, "stages": self.stages} | options
        options["open_models"] = lambda config: self.models  # whatever the command line says of models
        return make(prompt, config or MakeConfig(), **options)

    def stage(self, name: str) -> Stage:
        """A stage of the table, by name."""
        return next(stage for stage in self.stages if stage.name == name)


def files_of(run: Path) -> dict[str, bytes]:
    """Everything the stages made, without the records, which hold times."""
    paths = (path for path in run.rglob("*") if path.is_file())
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in paths
        if path.suffix in (".txt", ".glb", ".safetensors")
    }
