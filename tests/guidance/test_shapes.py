"""Shapes that signatures name are checked in the tests, whatever way the rooms are imported."""

from __future__ import annotations

import pytest
import torch
from fakes.shapes import ROOMS
from jaxtyping import TypeCheckError

from slipcast.guidance.distillation import sds_gradient
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.guidance.training import Example
from slipcast.systems.field.cameras import orbit_camera, project
from slipcast.systems.field.voxels import FrozenGrid

SCHEDULE = NoiseSchedule(torch.linspace(0.9, 0.1, 10))
LATENTS, T = torch.zeros(2, 4, 8, 8), torch.tensor([1, 2])

WRONG = {
    "a function": lambda: project(orbit_camera(0.0, 0.0), torch.zeros(5, 2), 8),
    "a method": lambda: SCHEDULE.add_noise(LATENTS, LATENTS[:, :3], T),
    "times of another batch": lambda: SCHEDULE.x0_from_eps(LATENTS, LATENTS, T[:1]),
    "the fields of a dataclass": lambda: Example(LATENTS, T, LATENTS[0]),
    "behind no_grad": lambda: sds_gradient(None, LATENTS, T, LATENTS[0]),  # pyright: ignore[reportArgumentType]
    "integers for numbers": lambda: FrozenGrid(torch.zeros(4, 4, 4).long(), torch.zeros(4, 4, 4, 3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_shape_is_an_error(name: str) -> None:
    with pytest.raises(TypeCheckError):
        WRONG[name]()


@pytest.mark.usefixtures("own_errors")
def test_checks_can_be_left_to_the_functions_themselves() -> None:
    with pytest.raises(RuntimeError, match="must match the size"):
        SCHEDULE.add_noise(LATENTS, LATENTS[:, :3], T)


def test_the_rooms_name_shapes_in_most_of_what_takes_tensors() -> None:
    """What is wrapped: a room that is renamed, or a hook that finds nothing, would check nothing."""
    import sys

    wrapped = dict.fromkeys(ROOMS, 0)
    for name, module in list(sys.modules.items()):
        for room in ROOMS:
            if name.startswith(room):
                held = [
                    *vars(module).values(),
                    *(
                        part
                        for one in vars(module).values()
                        if isinstance(one, type)
                        for part in vars(one).values()
                    ),
                ]
                wrapped[room] += sum(hasattr(one, "__wrapped__") for one in held)
    assert all(count >= 20 for count in wrapped.values()), wrapped
