"""Trainings whose answer is known; in a module of their own, so that spawned workers can import them."""

from dataclasses import dataclass

import torch
from torch import nn

TRUTH = 0.2 * torch.randn(24, 20, generator=torch.Generator().manual_seed(7))


@dataclass
class Regression:
    """Learn a matrix; ``slow`` keeps the steps few."""

    width: int = 20
    bad: bool = False

    def modules(self) -> dict[str, nn.Module]:
        torch.manual_seed(0)
        return {"net": nn.Linear(self.width, 24)}

    def open(self, modules, device):
        self.net, self.device = modules["net"], device

    def loss(self, batch, generator):
        x = torch.randn(batch, self.width, generator=generator).to(self.device)
        error = self.net(x.to(self.net.weight.dtype)).float() - x @ TRUTH[:, : self.width].T.to(self.device)
        return error.square().mean() * (float("nan") if self.bad else 1.0)


@dataclass
class Convolution(Regression):
    """Learn a convolution: channels_last kernels are where shared weights could part."""

    def modules(self) -> dict[str, nn.Module]:
        torch.manual_seed(0)
        return {"net": nn.Conv2d(20, 24, 3, bias=False), "more": nn.Conv2d(20, 24, 1, bias=False)}

    def open(self, modules, device):
        self.parts = modules

    def loss(self, batch, generator):
        x = torch.randn(batch, 20, 6, 6, generator=generator).to(self.parts["net"].weight.dtype)
        made = self.parts["net"](x) + self.parts["more"](x)[:, :, 1:-1, 1:-1]
        wanted = torch.nn.functional.conv2d(x.float()[:, :, 1:-1, 1:-1], TRUTH[..., None, None])
        return (made.float() - wanted).square().mean()
