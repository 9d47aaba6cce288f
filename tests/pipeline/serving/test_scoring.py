"""What the server answers is what refinement would compute itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.guidance_clients import Running, pictures, serving
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.guidance.distillation import sds_gradient, sds_loss
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.recipes import in_domain
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.serving.asked import asked_of
from slipcast.pipeline.serving.scoring import Scorer
from slipcast.systems.guided.branches import Ingredients

WEIGHTS = {"domain": 8.0, "text": 12.0}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    config = load_config("starter", ["dtype=float32"])
    return Scorer("a vase", config, ModelStore(config), Quiet())


@pytest.fixture
def running(scorer: Scorer) -> Iterator[Running]:
    with serving(scorer) as made:
        yield made


def _guided(scorer: Scorer, prompt: str, views: tuple[str, ...], weights: dict[str, float]) -> GuidedNoise:
    """The formula written out, of branches made here."""
    models = scorer._models
    made = Ingredients(base=models.base, prompt=prompt, domain=models.domain, framings=views)
    terms = [(made.in_domain, weights["domain"]), (made.text, weights["text"])]
    return GuidedNoise(in_domain(made.null, terms[0], terms[1:]))


def _score(running: Running, tensors: dict[str, Tensor], **header: Any) -> tuple[Any, Tensor]:
    with running.connected() as connection:
        told, made = running.ask(connection, tensors, ask="score", **header)
    assert told["ok"], told
    return told, made["gradient"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("refine.score=vsd", "learns from the renders of one object, and clients send any"),
        ("refine.heard_from={text: [front]}", "goes by five words for a view"),
        ("refine.encoder=taesd", "is refinement's own"),
    ],
)
def test_what_only_a_refinement_has_is_refused(scorer: Scorer, asked: str, said: str) -> None:
    config = load_config("starter", ["dtype=float32", asked])
    with pytest.raises(BadInput, match=rf"{asked.split('=')[0]}.* {said}.*to serve guidance"):
        Scorer("a vase", config, scorer._models, Quiet())


def test_the_gradient_is_that_of_the_same_process(scorer: Scorer, running: Running) -> None:
    """Pictures of another size than the base's, two prompts, a view each, weights of the client's own."""
    base, sent = scorer._models.base, pictures(3, side=40)
    t = torch.tensor([150, 400, 700])
    noise = torch.randn(3, *base.latent_shape, generator=torch.Generator().manual_seed(1))
    weights = {"domain": 2.0, "text": 3.0}
    told, gradient = _score(
        running,
        {"pictures": sent, "t": t, "noise": noise},
        prompts=["a vase", "a cup", "a vase"],
        azimuth_deg=[0.0, 180.0, 10.0],
        elevation_deg=[10.0, 10.0, 80.0],
        weights=weights,
        weighting="one_minus_alpha_bar",
        clamp=0.4,
    )
    own = sent.clone().requires_grad_()
    latents = base.encode(torch.nn.functional.interpolate(own, (128, 128), mode="bilinear"))
    grad = torch.zeros_like(latents)
    for rows, prompt, views in (
        ([0, 2], "a vase", ("front view", "view from above")),
        ([1], "a cup", ("back view",)),
    ):
        guided = _guided(scorer, prompt, views, weights)
        z = latents[rows].detach()
        grad[rows] = sds_gradient(guided, z, t[rows], noise[rows], weighting="one_minus_alpha_bar", clamp=0.4)
    latents.backward(grad)
    assert own.grad is not None and gradient.shape == sent.shape
    assert float((gradient - own.grad).norm()) < 1e-6 * float(own.grad.norm())
    assert float(own.grad.abs().max()) > 1e-3
    assert (
        told["loss"] == pytest.approx(0.5 * float(grad.square().sum()), rel=1e-5) and told["t"] == t.tolist()
    )


def test_latents_need_no_encoder_and_norms_are_those_of_the_terms(scorer: Scorer, running: Running) -> None:
    base = scorer._models.base
    z, noise = torch.randn(2, 2, *base.latent_shape, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([300, 500])
    told, gradient = _score(
        running, {"latents": z, "t": t, "noise": noise}, views=["front view", "front view"], norms=True
    )
    guided = _guided(scorer, "a vase", ("front view",), WEIGHTS)
    own = z.clone().requires_grad_()
    sds_loss(guided, own, t, noise).backward()
    assert own.grad is not None
    torch.testing.assert_close(gradient, own.grad, atol=1e-6, rtol=1e-5)
    eps = guided.branches(guided.schedule.add_noise(z, noise, t), t)
    for name, weight in WEIGHTS.items():
        delta = weight * (eps[name] - eps["null"])
        assert told["norms"][f"{name} - null"] == pytest.approx(
            delta.flatten(1).norm(dim=1).mean().item(), rel=1e-4
        )
    assert told["norms"]["gradient"] == pytest.approx(gradient.flatten(1).norm(dim=1).mean().item(), rel=1e-4)


def test_seed_and_step_say_what_is_drawn(scorer: Scorer, running: Running) -> None:
    sent = {"pictures": pictures(4, side=16)}
    asked: dict[str, Any] = {"t_range": [0.3, 0.4]}
    one, same, later, other = (
        _score(running, sent, seed=seed, step=step, **asked)
        for seed, step in ((1, 7), (1, 7), (1, 8), (2, 7))
    )
    assert torch.equal(one[1], same[1]) and one[0]["t"] == same[0]["t"]
    assert not torch.equal(one[1], later[1]) and not torch.equal(one[1], other[1])
    assert all(300 <= t <= 400 for told, _ in (one, later, other) for t in told["t"])


def test_what_is_served_is_told(scorer: Scorer) -> None:
    told = scorer.told()
    assert (told["recipe"], told["weights"], told["prompt"]) == ("in_domain", WEIGHTS, "a vase")
    assert told["models"]["base"]["licence"] == "Apache-2.0" and told["latent_shape"] == [16, 16, 16]
    assert (told["size"], told["timesteps"], told["score"]) == (128, 1000, "sds")
    json.dumps(told, allow_nan=False)


FOUR = torch.zeros(1, 3, 8, 8)
BAD: list[tuple[dict[str, Any], dict[str, Tensor], str]] = [
    ({}, {}, r"pictures \[B, 3, H, W\] or latents \[B, C, h, w\], one of the two"),
    ({}, {"pictures": FOUR, "latents": FOUR}, "one of the two"),
    ({"weigths": {}}, {"pictures": FOUR}, "a request has no 'weigths'; it may have ask, azimuth_deg"),
    ({}, {"pictures": FOUR, "mask": FOUR}, "a request has no 'mask'"),
    (
        {},
        {"pictures": FOUR[0]},
        r"pictures expects float32 \[1 to 64, 3, height, width\].*not float32 \[3, 8, 8\]",
    ),
    ({}, {"pictures": torch.zeros(65, 3, 1, 1)}, r"not float32 \[65, 3, 1, 1\]"),
    ({}, {"pictures": torch.zeros(1, 3, 1, 2049)}, "sides of 2048 at most"),
    ({}, {"pictures": torch.zeros(1, 3, 8, 8, dtype=torch.int64)}, "not int64"),
    ({}, {"pictures": FOUR + float("nan")}, "pictures holds NaN or infinity"),
    ({}, {"pictures": FOUR, "t": torch.zeros(2, dtype=torch.int64)}, r"t expects 1 timesteps, int64 \[1\]"),
    ({}, {"pictures": FOUR, "noise": torch.zeros(2, 4, 8, 8)}, "noise expects 1 samples"),
    ({"prompts": "a vase"}, {"pictures": FOUR}, "prompts expects a list of 1 texts, one a view"),
    ({"prompts": ["?!"]}, {"pictures": FOUR}, "holds no letters"),
    ({"views": ["front"], "azimuth_deg": [0]}, {"pictures": FOUR}, "not both"),
    ({"azimuth_deg": [0.0]}, {"pictures": FOUR}, "azimuth_deg and elevation_deg expect 1 numbers each"),
    ({"azimuth_deg": [0], "elevation_deg": ["x"]}, {"pictures": FOUR}, "an angle expects a finite number"),
    ({"t_range": [0.5, 0.2]}, {"pictures": FOUR}, "0 <= low <= high <= 1, not 0.5 and 0.2"),
    ({"t_range": 0.5}, {"pictures": FOUR}, "t_range expects two noise fractions"),
    ({"seed": -1}, {"pictures": FOUR}, "seed expects a whole number"),
    (
        {"weighting": "fantasia3d"},
        {"pictures": FOUR},
        "weighting is one of sigma, one_minus_alpha_bar, uniform",
    ),
    ({"clamp": 0}, {"pictures": FOUR}, "clamp expects a number above 0"),
    ({"weights": {"text": True}}, {"pictures": FOUR}, "the weight 'text' expects a finite number, not True"),
]


@pytest.mark.parametrize(("header", "tensors", "said"), BAD)
def test_a_request_that_cannot_be_used_is_told_in_a_sentence(
    header: dict[str, Any], tensors: dict[str, Tensor], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        asked_of(header, tensors, channels=4)
    assert "\n" not in str(caught.value)


def test_what_only_the_models_know_is_told_too(scorer: Scorer) -> None:
    z = torch.zeros(1, *scorer._models.base.latent_shape)

    def refused(said: str, tensors: dict[str, Tensor], **header: Any) -> None:
        with pytest.raises(BadInput, match=said):
            scorer.score(asked_of(header, {"latents": z, **tensors}, scorer.channels))

    refused("no weight of the recipe in_domain 'txt'; did you mean text", {}, weights={"txt": 1})
    refused(r"t expects timesteps from 0 to 999, not \[1000\]", {"t": torch.tensor([1000])})
    refused(r"noise expects the latents' shape", {"noise": torch.zeros(1, 16, 8, 8)})
    scorer_without = object.__new__(Scorer)
    vars(scorer_without).update(vars(scorer) | {"_prompt": ""})
    with pytest.raises(BadInput, match="there is no prompt, neither in the request nor at the server"):
        scorer_without.score(asked_of({}, {"latents": z}, scorer.channels))


@pytest.mark.slow
def test_the_command_says_when_it_is_ready_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    token = tmp_path / "token"
    program = [sys.executable, "-m", "slipcast.pipeline.cli.app", "guidance", "serve"]
    words = [
        "a vase",
        "refine.recipe=cfg",
        "--port",
        "0",
        "--token-file",
        str(token),
        "--json",
        "--size",
        "64",
    ]
    with subprocess.Popen(
        [*program, *words], stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert (
                ready["event"] == "ready" and ready["recipe"] == "cfg" and ready["latent_shape"] == [16, 8, 8]
            )
            assert ready["token_file"] == str(token) and ready["pid"] == process.pid
            running = Running(int(ready["address"].rpartition(":")[2]), token.read_text().strip(), [])
            told, gradient = _score(running, {"pictures": pictures(1, side=32)}, prompts=["a cup"])
            assert told["loss"] > 0 and gradient.shape == (1, 3, 32, 32)
            process.send_signal(signal.SIGINT)
            *_, ended = process.stdout.read().splitlines()
            assert json.loads(ended) == {"event": "ended", "answered": 1}
            assert process.wait(120) == 0 and not token.exists()
        finally:
            process.kill()
