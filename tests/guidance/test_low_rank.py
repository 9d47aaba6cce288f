"""Adapters beside layers: the layer with its weight changed, written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slipcast.guidance.low_rank import LowRank, low_rank_bytes, put_in, switched_on, take_out

EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


LAYERS = {
    "linear": lambda bias: nn.Linear(6, 4, bias=bias),
    "conv": lambda bias: nn.Conv2d(6, 4, 3, stride=2, padding=2, dilation=2, bias=bias),
    "pointwise": lambda bias: nn.Conv2d(6, 4, 1, bias=bias),
}
GIVEN = {"linear": (5, 6), "conv": (2, 6, 9, 9), "pointwise": (2, 6, 3, 3)}


def network(kind: str, bias: bool) -> Any:
    torch.manual_seed(0)
    return nn.Sequential(LAYERS[kind](bias)).double()


def matrices(layer: nn.Module, rank: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """down, up and their product in the shape of the layer's weight."""
    weight: Tensor = layer.weight  # pyright: ignore[reportAssignmentType]
    down, up = drawn(rank, *weight.shape[1:]), drawn(weight.shape[0], rank, *(1,) * (weight.ndim - 2))
    return down, up, (up.flatten(1) @ down.flatten(1)).view_as(weight)


def with_weight(layer: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    """The answer of the layer with another weight, and without adapters."""
    with switched_on([layer], {}):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_law_lora_is_the_layer_with_a_product_added_to_its_weight(kind: str, bias: bool) -> None:
    net, x = network(kind, bias), drawn(*GIVEN[kind])
    down, up, product = matrices(net[0])
    put_in(net, "a", {"0": LowRank(down, up, scale=0.5)})
    plain = net(x)
    with switched_on([net], {"a": 0.7}):
        expected = with_weight(net[0], net[0].weight + 0.5 * 0.7 * product, x)
        torch.testing.assert_close(net(x), expected, **EXACT)
    torch.testing.assert_close(net(x), plain, rtol=0, atol=0)
    assert not torch.allclose(plain, expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_law_dora_gives_every_row_of_the_changed_weight_its_own_length(kind: str, bias: bool) -> None:
    net, x = network(kind, bias), drawn(*GIVEN[kind])
    down, up, product = matrices(net[0])
    magnitude = torch.rand(4, dtype=torch.float64) + 0.5
    put_in(net, "a", {"0": LowRank(down, up, scale=0.5, magnitude=magnitude)})
    for strength in (1.0, 0.3):  # lengths that are kept are those of the strength
        changed = net[0].weight + 0.5 * strength * product
        lengths = changed.flatten(1).norm(dim=1)
        rows = (magnitude / lengths).view(-1, *(1,) * (changed.ndim - 1))
        with switched_on([net], {"a": strength}):
            # Lengths are found in float32, as in PEFT.
            torch.testing.assert_close(net(x), with_weight(net[0], rows * changed, x), rtol=1e-5, atol=1e-5)


def test_several_adapters_change_the_answer_one_after_the_other() -> None:
    net, x = network("linear", True), drawn(5, 6)
    (down, up, product), (down2, up2, product2) = matrices(net[0]), matrices(net[0], 3)
    put_in(net, "a", {"0": LowRank(down, up)})
    put_in(net, "b", {"0": LowRank(down2, up2, scale=2.0)})
    with switched_on([net], {"a": 0.5, "b": -1.0}):
        expected = with_weight(net[0], net[0].weight + 0.5 * product - 2 * product2, x)
        torch.testing.assert_close(net(x), expected, **EXACT)
        with switched_on([net], {"b": 1.0}):
            torch.testing.assert_close(net(x), with_weight(net[0], net[0].weight + 2 * product2, x), **EXACT)
        torch.testing.assert_close(net(x), expected, **EXACT)
    with pytest.raises(ZeroDivisionError), switched_on([net], {"a": 1.0}):
        raise ZeroDivisionError
    torch.testing.assert_close(net(x), with_weight(net[0], net[0].weight, x), rtol=0, atol=0)


def test_adapters_weigh_their_matrices_and_take_the_layers_dtype() -> None:
    net = network("linear", True).to(torch.bfloat16)
    down, up, _ = matrices(net[0])
    put_in(net, "a", {"0": LowRank(down, up, magnitude=torch.ones(4))})
    assert low_rank_bytes(net) == 2 * (2 * 6 + 4 * 2 + 4)
    assert {name for name, _ in net.named_parameters()} == {"0.weight", "0.bias"}
    with switched_on([net], {"a": 1.0}):
        assert net(torch.ones(1, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_what_is_taken_out_is_gone_and_the_others_stay() -> None:
    net, x = network("linear", True), drawn(5, 6)
    plain, others = net(x), matrices(net[0])
    put_in(net, "one", {"0": LowRank(*others[:2])})
    with switched_on([net], {"one": 1.0}):
        changed = net(x)
    put_in(net, "other", {"0": LowRank(*matrices(net[0])[:2])})
    take_out(net, "other", ["0"])
    with switched_on([net], {"one": 1.0, "other": 1.0}):
        assert torch.equal(net(x), changed)
    take_out(net, "one", ["0"])
    with switched_on([net], {"one": 1.0}):
        assert torch.equal(net(x), plain) and low_rank_bytes(net) == 0
