"""The double of a second device computes what the CPU computes, and refuses what a real one would refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fakes.accelerator import ACCELERATOR, WrongDevice, on_accelerator
from torch import nn

TABLE = torch.arange(6.0).view(2, 3)


def there() -> torch.Tensor:
    return TABLE.to(ACCELERATOR)


FACTORIES: dict[str, Callable[[], torch.Tensor]] = {
    "zeros": lambda: torch.zeros(3, device=ACCELERATOR),
    "full": lambda: torch.full((3,), 2.0, device=ACCELERATOR),
    "arange": lambda: torch.arange(1, 4, device=ACCELERATOR),
    "linspace": lambda: torch.linspace(0, 1, 3, device=ACCELERATOR),
    "tensor": lambda: torch.tensor([1.0, 2.0], device=ACCELERATOR),
    "zeros_like": lambda: torch.zeros_like(there()),
    "new_zeros": lambda: there().new_zeros(3),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_make_tensors_of_the_device_that_they_are_told(name: str) -> None:
    assert FACTORIES[name]().device.type == ACCELERATOR


REFUSED: dict[str, Callable[[], object]] = {
    "adding": lambda: there() + torch.ones(3),
    "concatenating": lambda: torch.cat([there(), torch.ones(2, 3)]),
    "indices from the CPU": lambda: there()[torch.tensor([0])],
    "indexing the CPU": lambda: torch.ones(4)[there()[0].long()],
    "copy_ here": lambda: torch.ones(2, 3).copy_(there()),
    "copy_ there": lambda: there().copy_(torch.ones(2, 3)),
    "an item set": lambda: there().__setitem__(0, torch.ones(3)),
    "randn": lambda: torch.randn(3, device=ACCELERATOR),
    "a CPU generator": lambda: torch.randn(3, device=ACCELERATOR, generator=torch.Generator()),
    "randn_like": lambda: torch.randn_like(there()),
    "normal_": lambda: there().normal_(generator=torch.Generator()),
    "randperm": lambda: torch.randperm(3, device=ACCELERATOR),
    "a convolution of another device": lambda: on_accelerator(nn.Conv2d(1, 1, 1))(torch.ones(1, 1, 2, 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_crosses_devices_without_saying_so_is_refused(name: str) -> None:
    with pytest.raises(WrongDevice):
        REFUSED[name]()


def test_numpy_does_not_read_another_device() -> None:
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        there().numpy()
    assert there().cpu().numpy().tolist() == TABLE.tolist()


def test_a_round_trip_and_scalars_of_the_cpu_give_the_cpu_s_values() -> None:
    moved = there()
    assert (moved.device.type, type(moved.cpu())) == (ACCELERATOR, torch.Tensor)
    assert (moved * torch.tensor(2.0) + 1).cpu().equal(TABLE * 2 + 1)
    assert moved[0, 2].item() == 2.0
    assert moved.tolist() == TABLE.tolist()
    view = moved[0]
    view += 1  # a view shares its values with what it is of
    assert moved.cpu()[0].tolist() == [1.0, 2.0, 3.0]


def test_training_there_equals_training_here() -> None:
    def trained(device: str) -> torch.Tensor:
        torch.manual_seed(0)
        network: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
        for _ in range(2):
            loss = network(torch.linspace(-1, 1, 108).view(1, 3, 6, 6).to(device)).square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return network[0].weight.detach().cpu()

    # Adam steps tensor by tensor there, and all at once here: not the same bits.
    torch.testing.assert_close(trained(ACCELERATOR), trained("cpu"), rtol=1e-5, atol=1e-6)


def test_gradients_come_back_across_devices() -> None:
    here = torch.ones(3, requires_grad=True)
    (here.to(ACCELERATOR) * 3).sum().backward()
    assert here.grad is not None and here.grad.tolist() == [3.0, 3.0, 3.0]


def test_a_copied_network_has_parameters_of_its_own_there() -> None:
    network: Any = on_accelerator(nn.Linear(2, 2).requires_grad_(False))
    other: Any = copy.deepcopy(network)
    assert isinstance(other.weight, nn.Parameter) and not other.weight.requires_grad
    assert other.weight.device.type == ACCELERATOR and other.weight.cpu().equal(network.weight.cpu())
    other.weight.add_(1)
    assert not other.weight.cpu().equal(network.weight.cpu())
