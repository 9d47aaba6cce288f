"""The trainer on a problem whose answer is known; resuming; several workers."""

import pytest
import torch
from fakes.training_tasks import TRUTH, Convolution, Regression
from torch import nn

from slipcast.configs.errors import SlipcastError
from slipcast.systems.training.loop import Budget, train


def budget(steps: int, **changes) -> Budget:
    return Budget(**{"steps": steps, "workers": 1, "learning_rate": 0.02, "warmup_steps": 5, **changes})


@pytest.mark.parametrize("muon", [True, False])
def test_it_learns(tmp_path, muon):
    net = train(Regression(), tmp_path, budget(300, muon=muon), label="test")["net"].requires_grad_(False)
    assert net.get_parameter("weight").dtype == torch.float32
    assert float((net.get_parameter("weight") - TRUTH).square().mean() / TRUTH.square().mean()) < 0.02


def test_two_workers_train_one_network(tmp_path):
    """What both workers' losses say must hold for the weights that are saved."""
    modules = train(Convolution(), tmp_path, budget(300, workers=2), label="test")
    task = Convolution()
    task.parts = {name: module.bfloat16() for name, module in modules.items()}
    assert task.loss(64, torch.Generator().manual_seed(9)).item() < 0.05 * float(TRUTH.square().sum(1).mean())


def test_a_task_that_moves_parameters_is_refused(tmp_path):
    class Moves(Convolution):
        def open(self, modules, device):
            self.parts = {
                name: module.to(memory_format=torch.contiguous_format) for name, module in modules.items()
            }

    with pytest.raises(ValueError, match="moved parameters"):
        train(Moves(), tmp_path, budget(5), label="test")


def weights(folder, steps, **changes):
    return (
        train(Regression(), folder, budget(steps, **changes), label="test")["net"]
        .get_parameter("weight")
        .detach()
    )


def test_a_finished_training_is_not_repeated(tmp_path):
    assert torch.equal(weights(tmp_path, 20), weights(tmp_path, 20))


def test_a_longer_training_goes_on(tmp_path):
    first, more = weights(tmp_path, 60), weights(tmp_path, 200)
    assert (more - TRUTH).square().mean() < 0.5 * (first - TRUTH).square().mean()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    class Other(Regression):
        def modules(self):
            return {"other": nn.Linear(20, 24)}

    train(Regression(), tmp_path, budget(5), label="test")
    with pytest.raises(SlipcastError, match="another network"):
        train(Other(), tmp_path, budget(10), label="test")


def test_nan_stops_with_the_step(tmp_path):
    with pytest.raises(SlipcastError, match="nan at step 0"):
        train(Regression(bad=True), tmp_path, budget(5), label="test")
