"""A model of the renders of one object, for variational score distillation (ProlificDreamer, arxiv.org/abs/2305.16213).

    grad = w(t) (eps_hat(x_t, t) - eps_phi(x_t, t, c, y))
    phi: least |eps_phi(a z + s eps, t, c, y) - eps|^2       z: the object's renders; a step of Adam now and then

eps_hat is any guidance (``distillation``). eps_phi is the frozen prior, told the prompt y and the camera c, with a LoRA
at its attention that learns the renders: the object goes to what guidance finds likely, and away from what it is.
No second network: the LoRA works in the prior's own while this model is asked, and nobody else ever hears it
(``low_rank``). It begins as the prior, to which matrices B = 0 and a camera that says nothing add nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..configs.errors import BadInput, SlipcastError
from .conditioning import Condition
from .control_residuals import home_of
from .low_rank import put_in, take_out
from .networks import AdaptedPredictor, NetworkPredictor
from .noise import named_generator
from .shapes import Answered, Cameras, Latents, Timesteps
from .training import draw_example

_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
_TIMES = ("time_embedding", "time_text_embed")  # of UNets; of Stable Diffusion 3 and Flux
_NEURONS = 64  # between a camera and what it adds to the time
_BETAS = (0.9, 0.99)
# Below the smallest number of float16 gradients would be lost; Adam does not mind how large they are.
_SCALES = {torch.float16: 2.0**10}
_NUMBERS = itertools.count()  # adapters of one process never share a name


class RenderModel:
    """eps_phi: a prior with a LoRA of its own, which ``learn`` teaches and ``close`` takes out again.

    Args:
        prior: a denoiser whose network has attention layers; it stays as it is. LoRAs that it works with go on.
        rank: of the LoRA's matrices; its factor is 1 (alpha = rank).
        rate: Adam's step size.
        cameras: how many numbers describe a view.
        seed: of the matrices A, normal with deviation 1 / rank.
        device: where latents are.
    Raises:
        BadInput: the prior has no network with such layers.
    """

    def __init__(
        self,
        prior: NetworkPredictor,
        *,
        rank: int,
        rate: float,
        cameras: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self._network: nn.Module = getattr(prior, "network", nn.Module())
        layers = attention_layers(self._network)
        if not layers:
            raise BadInput(
                f"variational score distillation puts a LoRA at attention layers, and {prior.name!r} has none; "
                "choose another score or another base"
            )
        shapes: dict[str, list[tuple[int, ...]]] = {
            name: [(rank, layer.in_features), (layer.out_features, rank)] for name, layer in layers.items()
        }
        times = next((name for name in _TIMES if hasattr(self._network, name)), None)
        self.hears_cameras = times is not None
        if times is not None:
            width = _last_linear(self._network.get_submodule(times)).out_features
            shapes[times] = [(_NEURONS, cameras), (_NEURONS,), (width, _NEURONS), (width,)]
        self._parts: dict[str, _LoRA | _Camera] = {
            name: _Camera() if name == times else _LoRA() for name in shapes
        }
        self._shapes = shapes
        generator = named_generator(seed, "render model")
        drawn = [one for many in shapes.values() for one in _drawn(many, rank, generator)]
        # One vector, so that Adam, checkpoints and whatever comes back to them see one array.
        self.weights = torch.cat([one.flatten() for one in drawn]).to(device).requires_grad_()
        self._adam = torch.optim.Adam([self.weights], lr=rate, betas=_BETAS)
        self._adam.state[self.weights] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(self.weights),
            "exp_avg_sq": torch.zeros_like(self.weights),
        }
        self._name = f"renders_{next(_NUMBERS)}"
        put_in(self._network, self._name, self._parts)
        plain, strengths = prior, dict[str, float]()
        if isinstance(prior, AdaptedPredictor):
            plain, strengths = prior.plain, prior.strengths
        self._adapted = AdaptedPredictor(
            plain, {**strengths, self._name: 1.0}, name=f"{prior.name} of the renders"
        )

    def state(self) -> Mapping[str, Tensor]:
        """All that learning changes, by name; put these back in place, and it goes on as from there.

        12 bytes a weight.
        """
        return {"weights": self.weights, **self._adam.state[self.weights]}

    @torch.no_grad()
    def predict(self, x_t: Latents, t: Timesteps, condition: Condition, cameras: Cameras) -> Answered:
        """eps_phi [B, C, h, w].

        Args:
            x_t: noisy latents [B, C, h, w], and their timesteps t [B].
            condition: y, as of ``predictors.NoisePredictor``.
            cameras: c [B, numbers]; not read where ``hears_cameras`` is False.
        Raises:
            SlipcastError: it is NaN or infinite.
        """
        self._seat(cameras)
        (eps,) = self._adapted.predict(x_t, t, [condition])
        if not bool(eps.isfinite().all()):
            raise SlipcastError(
                f"The LoRA of the renders returned NaN or infinity at timestep {t.tolist()}; "
                "lower its learning rate (refine.vsd_lr)."
            )
        return eps

    def learn(
        self, latents: Latents, condition: Condition, cameras: Cameras, generator: torch.Generator
    ) -> float:
        """One step of Adam on the diffusion loss of some renders, at uniform timesteps; the loss before the step.

        Args:
            latents: clean latents of the renders [B, C, h, w]; no gradient reaches them, nor the prior.
            condition, cameras: of these renders, as for ``predict``.
            generator: of timesteps and noise.
        Raises:
            SlipcastError: the loss is NaN or infinite; nothing was learned then.
        """
        model = self._adapted
        example = draw_example(latents.detach(), model.schedule, model.prediction_type, generator)
        with torch.enable_grad():
            self._seat(cameras)
            loss = model.loss(example, condition)
            scale = _SCALES.get(home_of(self._network)[1], 1.0)
            (gradient,) = torch.autograd.grad(loss * scale, self.weights)
        value = loss.item()
        if not (math.isfinite(value) and bool(gradient.isfinite().all())):
            raise SlipcastError(
                "The LoRA of the renders has a loss that is NaN or infinite; lower its learning rate (refine.vsd_lr)."
            )
        self.weights.grad = gradient / scale
        self._adam.step()
        self.weights.grad = None
        return value

    def close(self) -> None:
        """Take the LoRA out of the prior's network."""
        take_out(self._network, self._name, self._parts)

    def _seat(self, cameras: Tensor) -> None:
        """Hand every part its matrices as they are now, and the views that it is about."""
        sizes = [math.prod(shape) for many in self._shapes.values() for shape in many]
        flat = iter(self.weights.split(sizes))
        for name, part in self._parts.items():
            part.matrices = tuple(next(flat).view(shape) for shape in self._shapes[name])
            part.cameras = cameras.to(self.weights)


def attention_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Queries, keys, values and outputs of all attention in a network, by dotted name."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and name.endswith(tuple(f".{one}" for one in _LAYERS))
    }


class _LoRA(nn.Module):
    """What an attention layer is added: B A x. The matrices are no part of the network that it is put in."""

    matrices: tuple[Tensor, ...] = ()
    cameras: Tensor | None = None

    def forward(self, layer: nn.Module, x: Tensor, y: Tensor, strength: float) -> Tensor:
        down, up = self.matrices
        return y + strength * F.linear(F.linear(x.to(down.dtype), down), up).to(y.dtype)


class _Camera(nn.Module):
    """What the time [B, width] is added: a camera through one layer of neurons."""

    matrices: tuple[Tensor, ...] = ()
    cameras: Tensor | None = None

    def forward(self, layer: nn.Module, x: Tensor, y: Tensor, strength: float) -> Tensor:
        hidden, bias, out, last = self.matrices
        assert self.cameras is not None
        told = F.linear(F.silu(F.linear(self.cameras, hidden, bias)), out, last)
        return y + strength * told.to(y.dtype)


def _drawn(shapes: list[tuple[int, ...]], rank: int, generator: torch.Generator) -> list[Tensor]:
    """First matrices of a part: random where they meet what comes in, zero where they meet what goes out."""
    (first, width), *rest = shapes
    deviation = 1 / rank if not rest[1:] else width**-0.5
    return [torch.randn(first, width, generator=generator) * deviation, *map(torch.zeros, rest)]


def _last_linear(module: nn.Module) -> nn.Linear:
    return [one for one in module.modules() if isinstance(one, nn.Linear)][-1]
