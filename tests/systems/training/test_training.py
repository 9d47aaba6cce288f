"""The trainer on a problem whose answer is known; resuming; several workers."""

import pytest
import torch
from fakes.training_tasks import TRUTH, Convolution, Regression
from torch import nn

from slipcast.configs.errors import SlipcastError
from slipcast.systems.training import loop, shard
from slipcast.systems.training.loop import Budget, compute_dtype, train
from slipcast.systems.training.shard import Shard, masters_of, shared_memory


def budget(steps: int, **changes) -> Budget:
    return Budget(**{"steps": steps, "workers": 1, "learning_rate": 0.02, "warmup_steps": 5, **changes})


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adamw8bit"])
def test_it_learns(tmp_path, optimizer):
    net = train(Regression(), tmp_path, budget(300, optimizer=optimizer), label="test")["net"].requires_grad_(
        False
    )
    assert net.get_parameter("weight").dtype == torch.float32
    assert float((net.get_parameter("weight") - TRUTH).square().mean() / TRUTH.square().mean()) < 0.02


def test_two_workers_train_one_network(tmp_path):
    """What both workers' losses say must hold for the weights that are saved."""
    modules = train(Convolution(), tmp_path, budget(300, workers=2), label="test")
    task = Convolution()
    task.parts = modules
    assert task.loss(64, torch.Generator().manual_seed(9)).item() < 0.05 * float(TRUTH.square().sum(1).mean())


def test_more_workers_than_parameters_train_it_all_the_same(tmp_path):
    """Of a new word, which is one tensor, the second worker looks at pictures and moves nothing."""
    start = Regression().modules()["net"]
    workers = 1 + len(list(start.parameters()))
    moved = weights(tmp_path, 40, workers=workers)
    assert (moved - TRUTH).square().mean() < 0.5 * (start.get_parameter("weight") - TRUTH).square().mean()
    assert torch.equal(moved, weights(tmp_path, 40, workers=workers))


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
        def modules(self) -> dict[str, nn.Module]:
            return {"other": nn.Linear(20, 24)}

    train(Regression(), tmp_path, budget(5), label="test")
    with pytest.raises(SlipcastError, match="another network"):
        train(Other(), tmp_path, budget(10), label="test")


def test_nan_stops_with_the_step(tmp_path):
    with pytest.raises(SlipcastError, match="nan at step 0"):
        train(Regression(bad=True), tmp_path, budget(5), label="test")


def test_a_gradient_that_is_no_number_stops_too(tmp_path):
    """The loss may be finite where its slope is not; clipping by a norm of nan would keep it."""

    class Cliff(Regression):
        def loss(self, batch, generator):
            return super().loss(batch, generator) + 0 * self.net.weight.sub(self.net.weight).sqrt().sum()

    with pytest.raises(SlipcastError, match="norm nan"):
        train(Cliff(), tmp_path, budget(5), label="test")


@pytest.mark.parametrize(
    ("native", "dtype"),
    [("bfloat16", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float32)],
)
def test_the_hardware_decides_what_is_computed_in(monkeypatch, tmp_path, native, dtype):
    """float16 alone would need its losses scaled."""
    monkeypatch.setattr(loop, "resolve_dtype", lambda wanted, device: native)
    assert compute_dtype("cpu") == dtype
    seen = []

    class Looks(Regression):
        def open(self, modules, device):
            super().open(modules, device)
            seen.append(self.net.weight.dtype)

    net = train(Looks(), tmp_path, budget(2), label="test")["net"]
    assert seen == [dtype]
    assert net.get_parameter("weight").dtype == torch.float32


def test_a_paused_training_goes_on_as_if_it_had_not_been(tmp_path):
    """The learning rate follows the whole plan, so two slices are one training."""
    whole = weights(tmp_path / "whole", 40)
    first = weights(tmp_path / "sliced", 40, pause=15)
    assert not torch.equal(first, whole)
    assert torch.equal(weights(tmp_path / "sliced", 40), whole)
    assert torch.equal(weights(tmp_path / "sliced", 40, pause=90), whole)


def test_one_worker_keeps_everything_on_its_device(tmp_path):
    """A gradient on the CPU cannot be given to a weight elsewhere; several workers share memory on the CPU."""
    alone = shared_memory(500, budget(1, device="meta"), None)
    assert alone.gradients.device.type == alone.norms.device.type == "meta"
    assert alone.clock.device.type == "cpu"  # both loop and checkpoint read it
    together = shared_memory(500, budget(1, workers=2), None)
    assert together.gradients.is_shared() and together.norms.is_shared() and together.clock.is_shared()
    modules: dict[str, nn.Module] = dict(Regression().modules())
    one = Shard(0, modules, shared_memory(504, budget(1), None), tmp_path, budget(1))
    assert one.masters.keys() == masters_of(modules).keys()
    assert {tensor.device.type for tensor in (*one.masters.values(), *one.average.values())} == {"cpu"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_learns_on_a_gpu_and_goes_on(tmp_path):
    train(Regression(), tmp_path, budget(100, device="cuda"), label="test")
    net = train(Regression(), tmp_path, budget(300, device="cuda"), label="test")["net"].requires_grad_(False)
    weight = net.get_parameter("weight")
    assert weight.device.type == "cpu"
    assert float((weight - TRUTH).square().mean() / TRUTH.square().mean()) < 0.02


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw8bit"},
        {"optimizer": "adamw", "schedule": "constant", "betas": (0.9, 0.999), "weight_decay": 0.01},
        {"accumulate": 3, "ema_on_cpu": True},
        {"ema_decay": 0.0, "precision": "bfloat16"},
    ],
)
def test_every_way_of_training_resumes_to_the_bit(tmp_path, changes, monkeypatch):
    monkeypatch.setattr(shard, "_FEW", 0)
    wide = {"batch": 4, **changes}
    whole = weights(tmp_path / "whole", 23, **wide)
    weights(tmp_path / "sliced", 23, pause=11, **wide)
    assert torch.equal(weights(tmp_path / "sliced", 23, **wide), whole)


def test_batches_that_are_accumulated_are_one_batch(tmp_path):
    class Same(Regression):
        def loss(self, batch, generator):
            return super().loss(batch, torch.Generator().manual_seed(0))

    def trained(name: str, **changes) -> torch.Tensor:
        made = train(
            Same(),
            tmp_path / name,
            budget(5, batch=4, optimizer="adamw", precision="float32", **changes),
            label="test",
        )
        return made["net"].get_parameter("weight").detach()

    torch.testing.assert_close(trained("three", accumulate=3), trained("one"), rtol=0, atol=1e-4)


def test_float16_scales_its_losses_and_passes_over_steps_that_overflow(tmp_path):
    class Small(Regression):
        def loss(self, batch, generator):
            return super().loss(batch, generator) * 4.0

    changes = {"precision": "float16", "optimizer": "adamw"}
    net = train(Small(), tmp_path, budget(300, **changes), label="test")["net"].get_parameter("weight")
    assert float((net.detach() - TRUTH).square().mean() / TRUTH.square().mean()) < 0.05


def test_minutes_stop_a_training_and_never_change_its_schedule(tmp_path):
    weights(tmp_path / "stopped", 40, most_minutes=0.0)
    whole = weights(tmp_path / "whole", 40)
    assert not torch.equal(weights(tmp_path / "one", 40, most_minutes=0.0), whole)
    assert torch.equal(weights(tmp_path / "stopped", 40), whole)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_its_steps_are_those_of_a_loop_by_hand(tmp_path, workers):
    """Kernels lie channels last in the network and as matrices beside it: nothing may be mixed up on the way."""
    plain = {"optimizer": "adamw", "schedule": "constant", "ema_decay": 0.0, "precision": "float32"}
    asked = budget(4, batch=4, warmup_steps=0, betas=(0.9, 0.999), workers=workers, **plain)
    trained = train(Convolution(), tmp_path, asked, label="test")
    task = Convolution()
    task.parts = modules = task.modules()
    weights = [one.get_parameter("weight") for one in modules.values()]
    optimiser = torch.optim.AdamW(weights, lr=0.02, betas=(0.9, 0.999), weight_decay=0.0)
    for step in range(4):
        for rank in range(workers):
            generator = torch.Generator().manual_seed(step * 64 + rank)
            (task.loss(4, generator) / workers).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    for name, module in modules.items():
        made, by_hand = trained[name].get_parameter("weight"), module.get_parameter("weight")
        torch.testing.assert_close(made, by_hand, rtol=0, atol=2e-5)
