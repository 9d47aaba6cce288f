"""Score distillation on request: what refinement asks of the guided denoiser at one step, for pictures of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput, SlipcastError
from ...configs.schema import MakeConfig, RefineConfig
from ...guidance.distillation import draw_timesteps, sds_gradient
from ...guidance.noise import named_generator
from ...systems.guided.recipes import recipe_named
from ...systems.guided.settled import settled
from ..run.progress import Progress
from ..run.prompt_syntax import notes_on
from ..run.stage import DRAWING_ROLES, StageContext
from ..stages.guided_views import guided_views
from .asked import Asked


class Scorer:
    """The models and the guidance of the settings ``refine``, loaded once.

    Args:
        prompt: of requests that bring none; may be empty.
        config: which models, recipe, weights and score.
        models: of that config (``pipeline.run.models``).
        size: pixels that pictures are brought to before they are encoded; the base's own if None.
    Raises:
        BadInput: settings that cannot be used, or a base whose autoencoder has no encoder.
    """

    def __init__(
        self, prompt: str, config: MakeConfig, models: Any, progress: Progress, *, size: int | None = None
    ) -> None:
        self._models = models
        models.identities(DRAWING_ROLES)  # first, so that a missing model is told in its own words
        config = settled(config, models.uses(), progress.notice)
        self._prompt, self._score = prompt, config.refine.score
        base = self._base = models.base
        if not hasattr(base.pipeline.vae, "encode"):
            raise BadInput(
                f"the autoencoder of the base {base.name!r} has no encoder, which pictures need; choose another base"
            )
        self.size = base.picture_size if size is None else size
        if self.size % base.cell:
            raise BadInput(f"--size must be a multiple of {base.cell} for {base.name!r}, not {self.size}")
        context = StageContext(prompt, config, Path(), {}, 0, "guidance", progress, models)
        for name, why in (
            ("view_negatives", "goes by azimuths, and clients send words"),
            ("heard_from", "goes by five words for a view, and clients send any"),
            ("encoder", "is refinement's own, and clients are served by the base's"),
        ):
            if getattr(config.refine, name) != getattr(RefineConfig(), name):
                raise BadInput(f"refine.{name} {why}; leave it out to serve guidance")
        self._views = guided_views(context, config.refine)
        if self._score == "vsd":
            raise BadInput(
                "refine.score=vsd learns from the renders of one object, and clients send any; choose another score to "
                "serve guidance"
            )
        if prompt:
            for sentence in notes_on(prompt, base, "front view"):
                progress.notice(sentence)

    @property
    def channels(self) -> int:
        """Of latents."""
        return self._base.latent_shape[0]

    def told(self) -> dict[str, Any]:
        """What is served, JSON-able."""
        group, predictor = self._views.group, self._base.predictor
        return {
            "slipcast": metadata.version("slipcast"),
            "prompt": self._prompt,
            "recipe": group.recipe,
            "formula": recipe_named(group.recipe).formula,
            "weights": dict(self._views.weights),
            "score": self._score,
            "models": self._models.identities((*DRAWING_ROLES, "refine.conditions")),
            "latent_space": predictor.latent_space,
            "latent_shape": [self.channels, *(self.size // self._base.pixels_per_latent for _ in range(2))],
            "size": self.size,
            "timesteps": len(predictor.schedule),
        }

    def score(self, asked: Asked) -> tuple[dict[str, Any], Tensor]:
        """How a batch should change.

        Returns:
            ({"loss", "t", "norms"}, the gradient of ``guidance.distillation.sds_loss`` with respect to what was sent,
            of its shape, float32 on the CPU). The loss is a sum over the batch; a norm is the mean over the views of a
            term's length, and "gradient" that of the latents' gradient.
        Raises:
            BadInput: a prompt is missing, or something does not fit the served models.
            SlipcastError: a network answered NaN or infinity.
        """
        prompts = asked.prompts or [self._prompt] * asked.batch
        if not all(prompts):
            raise BadInput("there is no prompt, neither in the request nor at the server; give one")
        sent, latents = self._encoded(asked)
        t, noise = self._drawn(asked, latents)
        norms: dict[str, list[float]] = {}
        z = latents.detach()
        grad = torch.empty_like(z)
        # A recipe is told one prompt; views of several are asked one prompt after the other.
        for prompt in dict.fromkeys(prompts):
            rows = [row for row, one in enumerate(prompts) if one == prompt]
            denoiser = self._views.at(asked.draw[1]).told(
                [asked.views[row] for row in rows], prompt=prompt, weights=asked.weights
            )
            if asked.norms:
                denoiser = denoiser.watched_by(_norms_into(norms))
            grad[rows] = sds_gradient(
                denoiser, z[rows], t[rows], noise[rows],
                weighting=asked.weighting, score=self._score, clamp=asked.clamp,
            )  # fmt: skip
        gradient = grad
        if sent is not latents:
            (gradient,) = torch.autograd.grad(latents, sent, grad)
        if not bool(gradient.isfinite().all()):
            raise SlipcastError(
                "the gradient holds NaN or infinity, although the latents' own does not; serve with dtype=float32"
            )
        lengths = {name: sum(many) / len(many) for name, many in norms.items()}
        precise = grad.double()  # squares of what float32 holds need not fit into it
        lengths["gradient"] = float(precise.flatten(1).norm(dim=1).mean())
        told = {"loss": float(0.5 * precise.square().sum()), "t": t.tolist(), "norms": lengths}
        return told, gradient.float().cpu()

    def _encoded(self, asked: Asked) -> tuple[Tensor, Tensor]:
        """(what was sent, its latents [B, C, h, w]), both where the networks are."""
        if asked.pictures is None:
            assert asked.latents is not None
            latents = asked.latents.to(self._base.device)
            return latents, latents
        sent = asked.pictures.to(self._base.device).requires_grad_()
        seen = sent
        if tuple(sent.shape[2:]) != (self.size, self.size):
            seen = torch.nn.functional.interpolate(
                sent, (self.size, self.size), mode="bilinear", align_corners=False
            )
        with torch.enable_grad():
            return sent, self._base.encode(seen)

    def _drawn(self, asked: Asked, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps [B] and noise [B, C, h, w], given or drawn on the CPU: (seed, step) mean the same everywhere."""
        schedule = self._base.predictor.schedule
        generator = named_generator(asked.draw[0], "guidance", asked.draw[1])
        drawn = draw_timesteps(asked.batch, asked.t_range, schedule, generator)
        noise = asked.noise
        if noise is None:
            noise = torch.randn(latents.shape, generator=generator)
        elif noise.shape != latents.shape:
            raise BadInput(f"noise expects the latents' shape {list(latents.shape)}, not {list(noise.shape)}")
        t = drawn if asked.t is None else asked.t
        if not bool(((t >= 0) & (t < len(schedule))).all()):
            raise BadInput(f"t expects timesteps from 0 to {len(schedule) - 1}, not {t.tolist()}")
        return t, noise


def _norms_into(norms: dict[str, list[float]]) -> Callable[[Mapping[str, Tensor]], None]:
    """What adds the length of each term's push, a number a sample, to lists by its name."""

    def watch(pushes: Mapping[str, Tensor]) -> None:
        for name, push in pushes.items():
            norms.setdefault(name, []).extend(push.double().flatten(1).norm(dim=1).tolist())

    return watch
