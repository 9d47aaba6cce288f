"""slipcast's guidance in unmodified threestudio, asked of ``slipcast guidance serve``.

    guidance_type: slipcast-multi-guidance
    guidance: {address: "127.0.0.1:7790", guidance_scale: 100., max_step_percent: [0, 0.98, 0.5, 10000]}

threestudio runs this file in its own Python, 3.8 to 3.10, where slipcast is not installed: it needs torch alone, no
weights, and no memory of the GPU beside what is rendered.
"""

# pyright: reportAttributeAccessIssue=false
import contextlib
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import threestudio  # pyright: ignore[reportMissingImports]
import torch
from threestudio.utils.base import BaseObject  # pyright: ignore[reportMissingImports]
from threestudio.utils.misc import C, get_rank  # pyright: ignore[reportMissingImports]

from ..serving.wire import DEFAULT_PORT, Gone, WireError, receive, send, token_path

_WEIGHTINGS = {"sds": "one_minus_alpha_bar"}


@threestudio.register("slipcast-multi-guidance")
class SlipcastMultiGuidance(BaseObject):
    """Score distillation of the recipe, models and LoRAs that the server holds."""

    @dataclass
    class Config(BaseObject.Config):
        """Fields that are ``Any`` take a number or threestudio's schedules, such as [0, 0.98, 0.5, 10000].

        Attributes:
            address: of the server, HOST:PORT.
            token_file: as the server told it; empty is where it lies by default.
            prompt: in the place of the prompt processor's.
            views: whose words say which side is seen: slipcast, threestudio (the prompt processor's) or none.
            weights: of the recipe's terms, by name, as slipcast counts: 1 is the plain model.
            guidance_scale: of the term text, as threestudio counts: its 100 is slipcast's 101.
            min_step_percent, max_step_percent: noise fractions that timesteps are drawn between.
            grad_clip: largest size of one entry of the latents' gradient.
            weighting_strategy: sds (1 - alpha_bar), uniform or sigma.
            seed: of timesteps and noise, beside step and rank.
            timeout_s: how long an answer may take.
        """

        address: str = f"127.0.0.1:{DEFAULT_PORT}"
        token_file: str = ""
        prompt: str = ""
        views: str = "slipcast"
        weights: dict = field(default_factory=dict)
        guidance_scale: Any = None
        min_step_percent: Any = 0.02
        max_step_percent: Any = 0.98
        grad_clip: Any = None
        weighting_strategy: str = "sds"
        seed: int = 0
        timeout_s: float = 600.0

    cfg: Config

    def configure(self) -> None:
        """The server is asked at the first step, so that an export needs none."""
        if self.cfg.views not in ("slipcast", "threestudio", "none"):
            raise ValueError(f"views is slipcast, threestudio or none, not {self.cfg.views!r}")
        if self.cfg.guidance_scale is not None and "text" in self.cfg.weights:
            raise ValueError("guidance_scale and weights.text say two things of the term text; leave one out")
        self._server = _Server(self.cfg.address, self.cfg.token_file, self.cfg.timeout_s)
        self._served: Optional[Dict[str, Any]] = None
        self.update_step(0, 0)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """What the schedules say at a step."""

        def now(value: Any) -> float:
            return float(C(value, epoch, global_step))

        self._step = global_step
        self.set_min_max_steps(now(self.cfg.min_step_percent), now(self.cfg.max_step_percent))
        self._clip = None if self.cfg.grad_clip is None else now(self.cfg.grad_clip)
        self._weights = {str(name): now(value) for name, value in self.cfg.weights.items()}
        if self.cfg.guidance_scale is not None:
            # threestudio adds s (text - null) to the text, slipcast w (text - null) to null.
            self._weights["text"] = now(self.cfg.guidance_scale) + 1.0

    def set_min_max_steps(self, min_step_percent: float = 0.02, max_step_percent: float = 0.98) -> None:
        """The noise fractions that timesteps are drawn between; some systems set them themselves."""
        self._t_range = [float(min_step_percent), float(max_step_percent)]

    def __call__(
        self,
        rgb: torch.Tensor,
        prompt_utils: Any = None,
        elevation: Optional[torch.Tensor] = None,
        azimuth: Optional[torch.Tensor] = None,
        camera_distances: Optional[torch.Tensor] = None,
        rgb_as_latents: bool = False,
        guidance_eval: bool = False,
        **kwargs: Any,
    ) -> Dict[str, Any]:
        """Renders [B, H, W, C] -> {"loss_sds"} and scalars to log; the loss's gradient is the server's, over B.

        Args:
            elevation, azimuth: of the cameras, degrees [B].
        """
        if guidance_eval:
            raise ValueError("slipcast-multi-guidance draws no evaluation; set system.freq.guidance_eval=0")
        sent = rgb.permute(0, 3, 1, 2).float()
        if rgb_as_latents:
            sent = torch.nn.functional.interpolate(
                sent, tuple(self._told()["latent_shape"][1:]), mode="bilinear", align_corners=False
            )
        request = {
            "ask": "score",
            "seed": self.cfg.seed + get_rank(),
            "step": self._step,
            "t_range": self._t_range,
            "weights": self._weights,
            "weighting": _WEIGHTINGS.get(self.cfg.weighting_strategy, self.cfg.weighting_strategy),
            "clamp": self._clip,
            "norms": True,
        }
        request.update(self._words(prompt_utils, elevation, azimuth, camera_distances, len(sent)))
        told, tensors = self._server.ask(request, {"latents" if rgb_as_latents else "pictures": sent})
        direction = tensors["gradient"].to(sent) / len(sent)
        # As 0.5 (z - target)^2 with a target that is held, but without its rounding: z - (z - grad) loses small ones.
        inner = (sent * direction).sum()
        out = {"loss_sds": inner - inner.detach() + told["loss"] / len(sent)}
        norms = dict(told["norms"])
        out["grad_norm"] = norms.pop("gradient")
        out.update({"norm_" + re.sub(r"\W+", "_", name): value for name, value in norms.items()})
        steps = self._told()["timesteps"]
        out["min_step"], out["max_step"] = (int(steps * end) for end in self._t_range)
        return out

    def _told(self) -> Dict[str, Any]:
        if self._served is None:
            told: Dict[str, Any] = self._server.ask({"ask": "hello"}, {})[0]
            threestudio.info(f"slipcast guides with {told['recipe']} of {told['models']['base']['id']}")
            self._served = told
        return self._served

    def _words(
        self, prompt_utils: Any, elevation: Any, azimuth: Any, distances: Any, count: int
    ) -> Dict[str, List[Any]]:
        """What each view is told: its prompt, and its angles where slipcast chooses the words."""
        prompt = self.cfg.prompt or getattr(prompt_utils, "prompt", "")
        if self.cfg.views == "threestudio":
            if self.cfg.prompt or not hasattr(prompt_utils, "directions"):
                raise ValueError(
                    "views: threestudio takes its words from a prompt processor of threestudio's own"
                )
            chosen = [0] * count
            for number, direction in enumerate(prompt_utils.directions):
                holds = direction.condition(elevation, azimuth, distances).tolist()
                chosen = [number if yes else one for yes, one in zip(holds, chosen)]
            return {"prompts": [prompt_utils.prompts_vd[one] for one in chosen]}
        words: Dict[str, List[Any]] = {"prompts": [prompt] * count} if prompt else {}
        if self.cfg.views == "slipcast" and azimuth is not None and elevation is not None:
            # Azimuths agree although the worlds do not: in threestudio's the front is +x, in slipcast's -y, and one is
            # the other turned about z. Both count from the front, against the clock seen from above.
            words["azimuth_deg"], words["elevation_deg"] = azimuth.tolist(), elevation.tolist()
        return words


@dataclass
class Said:
    """What slipcast-prompt-processor gives a guidance: no embeddings, the text alone."""

    prompt: str


@threestudio.register("slipcast-prompt-processor")
class SlipcastPromptProcessor(BaseObject):
    """Holds the prompt and loads no text encoder, since the server has its own."""

    @dataclass
    class Config(BaseObject.Config):
        """The prompt; empty is the server's own."""

        prompt: str = ""

    cfg: Config

    def __call__(self) -> Said:
        """What systems hand on to the guidance."""
        return Said(self.cfg.prompt)


class _Server:
    """The connection, made when first needed, and made anew once where it broke."""

    def __init__(self, address: str, token_file: str, timeout_s: float) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"address expects HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT}, not {address!r}")
        self._host, self._port, self._timeout_s = host, int(port), timeout_s
        self._token_file = Path(token_file).expanduser() if token_file else token_path(int(port))
        self._connection: Optional[socket.socket] = None
        self._token = ""

    def ask(self, request: Dict[str, Any], tensors: Dict[str, torch.Tensor]) -> Any:
        """(answer, its tensors). RuntimeError with the server's sentence where it refuses, or is not there."""
        while True:
            fresh = self._connection is None
            connection = self._connect()
            with contextlib.suppress(OSError):  # it may have said why before it hung up
                send(connection, dict(request, token=self._token), tensors)
            try:
                answer, made = receive(connection, idle_s=self._timeout_s)
            except WireError as error:
                self._close()
                if fresh or not isinstance(error, Gone):
                    raise RuntimeError(f"slipcast's guidance server at port {self._port}: {error}") from error
                continue
            if answer.get("ok"):
                return answer, made
            self._close()
            raise RuntimeError(f"slipcast's guidance server says: {answer.get('error')}")

    def _connect(self) -> socket.socket:
        if self._connection is None:
            try:
                self._token = self._token_file.read_text(encoding="utf-8").strip()
                self._connection = socket.create_connection((self._host, self._port), timeout=30.0)
            except OSError as error:
                raise RuntimeError(
                    f"slipcast's guidance server is not at {self._host}:{self._port} ({error}); start "
                    f"`slipcast guidance serve --port {self._port}`, and give its token_file if it told one of its own"
                ) from error
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
