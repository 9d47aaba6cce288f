"""The lift's frame: which channel, row and column becomes which cell; and what it refuses."""

import numpy as np
import pytest
import torch

from slipcast.configs.errors import SlipcastError
from slipcast.systems.lift.starter import LiftNetwork, lift_picture, load_lift
from slipcast.systems.types import SubjectImage


class Marked(torch.nn.Module):
    """Puts one large value at (channel, depth, row, column) of the head's output."""

    def __init__(self, depth: int, row: int, column: int, resolution: int) -> None:
        super().__init__()
        self.place, self.resolution = (depth, row, column), resolution

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = torch.full((len(x), 4, self.resolution, self.resolution, self.resolution), -9.0)
        out[:, 0, self.place[0], self.place[1], self.place[2]] = 9.0
        return out.flatten(1, 2)


def small() -> LiftNetwork:
    torch.manual_seed(0)
    return LiftNetwork(resolution=16, widths=(8, 16, 16), size=32).requires_grad_(False).eval()


def test_top_right_of_the_picture_is_plus_x_plus_z_and_near_slices_are_the_front():
    network = small()
    network.leave = torch.nn.Sequential(Marked(depth=2, row=0, column=15, resolution=16))
    logits, _ = network(torch.zeros(1, 4, 32, 32))
    assert logits.shape == (1, 16, 16, 16)
    # x = 15 (right), y = 2 (near the front, -Y), z = 15 (top row)
    assert logits[0].argmax() == (15 * 16 + 2) * 16 + 15


def test_shapes_and_ranges():
    logits, rgb = small()(torch.rand(2, 4, 32, 32))
    assert logits.shape == (2, 16, 16, 16)
    assert rgb.shape == (2, 16, 16, 16, 3)
    assert ((rgb > 0) & (rgb < 1)).all()


def test_what_is_behind_zero_alpha_does_not_matter():
    network, picture = small(), torch.rand(1, 4, 32, 32)
    picture[:, 3, :, :16] = 0
    other = picture.clone()
    other[:, :3, :, :16] = 0.9
    assert torch.equal(network(picture)[0], network(other)[0])


def test_any_picture_size_and_field_resolution():
    subject = SubjectImage(np.full((50, 50, 3), 0.5, np.float32), np.ones((50, 50), np.float32))
    field = lift_picture(small(), subject, 24)
    assert field.occupancy.shape == (24, 24, 24)
    assert field.colours.shape == (24, 24, 24, 3)


def test_round_trip_and_damaged_weights(tmp_path):
    network = small()
    network.save_pretrained(tmp_path)
    picture = torch.rand(1, 4, 32, 32)
    assert torch.equal(load_lift(tmp_path)(picture)[0], network(picture)[0])
    weights = tmp_path / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SlipcastError, match="cannot be read"):
        load_lift(tmp_path)
