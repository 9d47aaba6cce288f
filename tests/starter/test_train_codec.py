"""The codec's training: what it makes better, what a later one leaves alone."""

import pytest
import torch

from slipcast.starter import build
from slipcast.starter.dataset import build_shards
from slipcast.starter.train_codec import MOST_STEPS, CodecTask, draw_mixed, train_codec
from slipcast.systems.models.latent_spaces import latent_space_of
from slipcast.systems.models.learned_codec import LearnedCodec
from slipcast.systems.models.patch_codec import PatchCodec
from slipcast.systems.training.loop import Budget

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [eval]")

BUDGET = Budget(steps=3, batch=2, workers=1, warmup_steps=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    out = tmp_path_factory.mktemp("codec")
    for split in ("prior", "domain"):
        for _ in build_shards(out / split, split=split, count=2, views=2, seed=5):
            pass
    return out / "prior", out / "domain"


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    return out / "codec", train_codec(CodecTask(shards), out / "work", out / "codec", BUDGET)


def test_its_latents_are_standardised_in_the_end(shards, trained):
    codec = LearnedCodec.from_pretrained(trained[0]).requires_grad_(False)
    assert trained[1]["steps"] == 3
    assert trained[1]["psnr_db"] > 3
    task = CodecTask(shards)
    task.open({"codec": codec}, "cpu")
    latents = codec.encode(draw_mixed(task._pictures, 16, torch.Generator().manual_seed(1))).latents
    assert latents.mean((0, 2, 3)).abs().max() < 0.5
    assert ((latents.std((0, 2, 3)) > 0.6) & (latents.std((0, 2, 3)) < 1.6)).all()


def test_a_later_training_moves_the_decoder_alone(shards, trained, tmp_path):
    train_codec(CodecTask(shards, earlier=trained[0]), tmp_path / "work", tmp_path / "codec", BUDGET)
    before, after = (LearnedCodec.from_pretrained(folder) for folder in (trained[0], tmp_path / "codec"))
    assert latent_space_of(after) == latent_space_of(before)
    kept = {
        name for name, value in before.state_dict().items() if torch.equal(value, after.state_dict()[name])
    }
    assert {name for name in before.state_dict() if name.startswith("encoder.")} <= kept
    assert "decoder.0.weight" not in kept


def test_so_does_that_of_a_linear_codec_which_gets_layers_for_it(shards, tmp_path):
    torch.manual_seed(0)
    linear = PatchCodec(width=16, layers=1)
    linear.fit(torch.rand(8, 3, 32, 32) * 2 - 1)
    linear.save_pretrained(tmp_path / "linear")
    train_codec(CodecTask(shards, earlier=tmp_path / "linear"), tmp_path / "work", tmp_path / "codec", BUDGET)
    after = PatchCodec.from_pretrained(tmp_path / "codec")
    assert latent_space_of(after) == latent_space_of(linear)
    for name, value in linear.named_buffers():
        torch.testing.assert_close(after.get_buffer(name), value.half().float(), rtol=0, atol=0)
    assert after.detail is not None
    assert after.detail[-2].get_parameter("weight").abs().max() > 0
    assert not torch.equal(after.enter.weight, linear.enter.weight.half().float())


def test_networks_redraw_what_they_know_and_little_of_it_in_one_step():
    """The shipped networks, on pictures of theirs: one step of twelve leaves latents nearly where they were."""
    weights = build.SHIPPED
    task = CodecTask((), earlier=weights / "prior/vae", networks=weights)
    task.open(task.modules(), "cpu")
    assert task._redraws is not None
    grey = torch.full((2, 3, 128, 128), 0.2)
    latents = task._encodes.encode(grey).latents.split([1, 1])
    one, six = (
        task._redraws(latents, torch.Generator().manual_seed(seed))
        for seed in sorted(range(40), key=steps_drawn)[::39]
    )
    whole = torch.cat(latents)
    assert one.shape == whole.shape
    assert 0 < (one - whole).square().mean() < (six - whole).square().mean() < whole.square().mean()
    assert len(task._redraws(latents[:1], torch.Generator().manual_seed(0))) == 1


def steps_drawn(seed: int) -> int:
    """How many steps a redrawing with this seed takes."""
    return int(torch.randint(1, MOST_STEPS + 1, (), generator=torch.Generator().manual_seed(seed)))


def test_the_loss_can_be_repeated_and_reaches_both_halves(shards):
    task = CodecTask(shards)
    modules = task.modules()
    task.open(modules, "cpu")
    one, two = (task.loss(4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    one.backward()
    for name in ("encoder.layers.1.weight", "decoder.0.weight"):
        gradient = modules["codec"].get_parameter(name).grad
        assert gradient is not None and gradient.abs().max() > 0


def test_a_quarter_of_a_batch_is_porcelain(shards):
    task = CodecTask(shards)
    task.open(task.modules(), "cpu")
    prior, domain = task._pictures
    generator = torch.Generator().manual_seed(0)
    apart = torch.cat([prior.draw_pictures(6, generator), domain.draw_pictures(2, generator)])
    assert torch.equal(draw_mixed(task._pictures, 8, torch.Generator().manual_seed(0)), apart)
    assert len(draw_mixed(task._pictures, 2, torch.Generator().manual_seed(0))) == 2
