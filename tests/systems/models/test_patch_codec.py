"""The codec is a linear projection: laws of linear maps, and the interface that diffusers expects."""

import torch

from slipcast.systems.models.latent_spaces import latent_space_of
from slipcast.systems.models.patch_codec import PatchCodec


def codec_fitted_to(pictures: torch.Tensor, channels: int = 16) -> PatchCodec:
    torch.manual_seed(0)
    codec = PatchCodec(latent_channels=channels).requires_grad_(False)
    codec.fit(pictures)
    return codec


def smooth_pictures(count: int = 24) -> torch.Tensor:
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise, size=64, mode="bicubic").clamp(-1, 1)


def test_all_components_reconstruct_exactly():
    pictures = smooth_pictures()
    codec = codec_fitted_to(pictures, channels=192)
    assert torch.allclose(codec.decode_linear(codec.encode(pictures).latents), pictures, atol=2e-4)


def test_fewer_components_reconstruct_no_better():
    pictures = smooth_pictures()
    errors = []
    for channels in (4, 16, 64):
        codec = codec_fitted_to(pictures, channels)
        errors.append(float((codec.decode_linear(codec.encode(pictures).latents) - pictures).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[1] < 0.01


def test_encoding_is_affine():
    a, b = smooth_pictures()[:2].split(1)
    codec = codec_fitted_to(smooth_pictures())
    mixed = codec.encode(0.3 * a + 0.7 * b).latents
    assert torch.allclose(mixed, 0.3 * codec.encode(a).latents + 0.7 * codec.encode(b).latents, atol=1e-5)


def test_latents_have_unit_variance_and_place():
    pictures = smooth_pictures()
    latents = codec_fitted_to(pictures).encode(pictures).latents
    assert latents.shape == (24, 16, 8, 8)
    assert abs(float(latents.std()) - 1) < 0.05
    changed = pictures.clone()
    changed[:, :, 8:16, 16:24] = 0
    difference = (codec_fitted_to(pictures).encode(changed).latents - latents).abs().amax((0, 1))
    assert difference[1, 2] > 0
    assert (difference > 0).sum() == 1


def test_untrained_correction_changes_nothing():
    pictures = smooth_pictures()
    codec = codec_fitted_to(pictures)
    latents = codec.encode(pictures).latents
    assert torch.equal(codec.decode(latents).sample, codec.decode_linear(latents))


def test_save_and_load(tmp_path):
    codec = codec_fitted_to(smooth_pictures())
    codec.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b)
        for a, b in zip(codec.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_a_deeper_decoder_begins_as_the_old_one_and_keeps_the_latents_name(tmp_path):
    pictures = smooth_pictures(2)
    codec = codec_fitted_to(pictures)
    torch.nn.init.normal_(codec.leave.weight, std=0.1)
    deeper = codec.with_detail(2).requires_grad_(False)
    latents = codec.encode(pictures).latents
    assert torch.equal(deeper.encode(pictures).latents, latents)
    assert torch.equal(deeper.decode(latents).sample, codec.decode(latents).sample)
    assert deeper.detail is not None
    torch.nn.init.normal_(deeper.detail[-2].get_parameter("weight"), std=0.1)
    deeper.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path).requires_grad_(False)
    assert latent_space_of(again) == latent_space_of(codec) == latent_space_of(again.with_detail())
    changed = again.decode(latents).sample
    assert not torch.equal(changed, codec.decode(latents).sample)
    assert changed.shape == pictures.shape
    torch.testing.assert_close(changed, deeper.decode(latents).sample)
