"""The learned codec: the interface that diffusers expects, its size, what ``settle`` promises, and its gradient."""

import torch

from slipcast.systems.models.latent_spaces import latent_space_of
from slipcast.systems.models.learned_codec import LearnedCodec


def small_codec(seed: int = 0) -> LearnedCodec:
    torch.manual_seed(seed)
    return LearnedCodec(encoder_widths=(16, 32), decoder_widths=(16, 32)).requires_grad_(False)


def smooth_pictures(count: int = 12) -> torch.Tensor:
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise, size=64, mode="bicubic").clamp(-1, 1)


def test_it_takes_at_most_eight_megabytes_in_half_precision():
    assert sum(value.numel() for value in LearnedCodec().state_dict().values()) * 2 <= 8_000_000


def test_settled_latents_have_no_mean_and_unit_variance_in_every_channel():
    codec, pictures = small_codec(), smooth_pictures()
    codec.settle(pictures, batch=5)
    latents = codec.encode(pictures).latents
    assert latents.shape == (12, 8, 8, 8)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-5)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(8), atol=1e-5)


def test_round_trip_keeps_the_shape_and_is_never_random():
    codec, pictures = small_codec(), smooth_pictures(2)
    made = codec(pictures)
    assert made.shape == pictures.shape
    assert torch.equal(made, codec(pictures))
    assert torch.equal(made, codec.decode(codec.encode(pictures).latents, return_dict=False)[0])


def test_other_picture_sizes_go_through():
    assert small_codec()(torch.zeros(1, 3, 96, 160)).shape == (1, 3, 96, 160)


def test_the_encoders_gradient_is_that_of_finite_differences():
    codec = small_codec().double()
    pictures = smooth_pictures(1).double().requires_grad_()
    weight = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (codec.encode(pictures).latents * weight).sum().backward()
    assert pictures.grad is not None
    step = torch.zeros_like(pictures)
    step[0, 1, 20, 30] = 1e-6
    with torch.no_grad():
        ahead, behind = (codec.encode(pictures + sign * step).latents for sign in (1, -1))
    slope = float(((ahead - behind) * weight).sum() / 2e-6)
    assert abs(slope - float(pictures.grad[0, 1, 20, 30])) < 1e-5 * max(1.0, abs(slope))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    codec = small_codec()
    codec.settle(smooth_pictures())
    codec.save_pretrained(tmp_path)
    again = LearnedCodec.from_pretrained(tmp_path)
    assert codec.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in codec.state_dict().items())
    assert again.config["latent_channels"] == 8
    assert again.config["scaling_factor"] == 1.0


def test_the_decoder_may_learn_on_without_leaving_the_latent_space():
    codec = small_codec()
    before = latent_space_of(codec)
    codec.decoder[0].get_parameter("bias").add_(1)
    assert latent_space_of(codec) == before
    codec.settle(smooth_pictures())
    assert latent_space_of(codec) != before


def test_diffusers_reads_its_factor_from_the_configuration():
    assert 2 ** (len(small_codec().config["block_out_channels"]) - 1) == 8
